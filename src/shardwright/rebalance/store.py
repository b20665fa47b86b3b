"""The control database's tables of rebalances. No other module names them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import psycopg

from shardwright import errors
from shardwright.catalog.changes import require_none_open
from shardwright.catalog.control import open_control
from shardwright.pg.queries import load
from shardwright.runs.board import Board, Superseded
from shardwright.runs.kinds import StepContext

NAME = "shardwright rebalance"  # of its connections to the control database
OVER = ("done", "undone")
NEVER_BEGUN = ("planned", "refused", "dropped")
AMISS = ("failed", "refused")
_queries = load(__package__, "store.sql")


@dataclass(frozen=True)
class Rebalance:
    """One rebalance as it stands. `phase`: moving, stopping (nothing more is begun), moved (the way back is open),
    returning, finishing (sources are being cleaned), and at the end done or undone."""

    run: int
    phase: str
    emptied: tuple[str, ...]

    @property
    def is_open(self) -> bool:
        """Whether it is not at its end."""
        return self.phase not in OVER


@dataclass(frozen=True)
class NewLine:
    """A move that is planned; `epoch` is that of the placement it was planned for, `load` a share of the fleet's."""

    round: int
    tenant: str
    source: str
    target: str
    epoch: int
    bytes: int = 0
    rows: int = 0
    writes: float = 0.0
    load: float = 0.0
    why: str = ""


@dataclass(frozen=True)
class Line:
    """One planned move as it stands. `state`: planned, begun (its run goes on), moved, failed, returned, kept (its
    source is cleaned); refused (by its preflight), dropped (by a later plan, or an operator). `note` says why."""

    number: int
    round: int
    tenant: str
    source: str
    target: str
    epoch: int
    bytes: int
    rows: int
    writes: float
    load: float
    why: str
    state: str
    run: int | None
    note: str | None = None

    @property
    def its_run(self) -> int:
        """The number of its run; it has one."""
        if self.run is None:
            raise AssertionError(f"move {self.number} of tenant {self.tenant} was never begun")
        return self.run

    def as_dict(self) -> dict[str, Any]:
        """The line as `--json` prints it."""
        return asdict(self)


@contextmanager
def control_of(context: StepContext) -> Iterator[psycopg.Connection[Any]]:
    """A step's connection to the control database, kept for as long as the run is in the same hands."""
    with context.shelf.lend("rebalance", lambda: open_control(context.fleet.control, application_name=NAME)) as control:
        yield control


class Rebalances:
    """The rebalances of one shard set, over a connection to the control database in autocommit."""

    def __init__(self, connection: psycopg.Connection[Any], shard_set: str) -> None:
        self._connection = connection
        self._shard_set = shard_set

    def last(self) -> Rebalance | None:
        """The open one, else the last; None where there never was one."""
        row = self._connection.execute(_queries["last"], {"shard_set": self._shard_set}).fetchone()
        return _rebalance(row) if row else None

    def open(self) -> Rebalance | None:
        """The one that is not at its end."""
        found = self.last()
        return found if found and found.is_open else None

    def rebalance(self, run: int) -> Rebalance:
        """The one of that run. Raises NoSuchRebalance."""
        row = self._connection.execute(_queries["rebalance"], {"run": run, "shard_set": self._shard_set}).fetchone()
        if row is None:
            raise errors.NoSuchRebalance(what=f"run {run}")
        return _rebalance(row)

    def lines(self, run: int) -> list[Line]:
        """Its moves by number, those that were dropped among them."""
        return [Line(*row) for row in self._connection.execute(_queries["lines"], {"run": run})]

    # --- writing --------------------------------------------------------------------------------

    def create(self, run: int, lines: Iterable[NewLine], emptied: Iterable[str] = ()) -> None:
        """The run is a rebalance of the set with these moves. Raises RebalanceUnderWay, ChangeUnderWay."""
        values = {"run": run, "shard_set": self._shard_set, "emptied": sorted(emptied)}
        try:
            with self._connection.transaction():
                self._connection.execute(_queries["create"], values)
                self._add(run, lines)
        except psycopg.errors.CheckViolation:
            require_none_open(self._connection, self._shard_set, "a rebalance")
            raise
        except psycopg.errors.UniqueViolation:
            present = self.last()
            raise errors.RebalanceUnderWay(action="a new rebalance", run=present.run if present else 0) from None

    def begin(self, run: int, runner: int, number: int, move: int) -> None:
        """The planned move has its run. Within the transaction that makes that, so that neither is without the other.

        Raises Superseded, also where it was begun already.
        """
        Board(self._connection, self._shard_set).hold(run, runner)
        values = {"run": run, "number": number, "move": move}
        if self._connection.execute(_queries["begin"], values).fetchone() is None:
            raise Superseded(f"move {number} of rebalance {run} is not to be begun any more")

    def note(self, run: int, runner: int, number: int, state: str, note: str | None = None) -> None:
        """The move is in that state. Raises Superseded."""
        with self._held(run, runner):
            self._connection.execute(_queries["note"], {"run": run, "number": number, "state": state, "note": note})

    def replan(self, run: int, runner: int, lines: Iterable[NewLine], note: str) -> None:
        """What was not begun is dropped for that reason, and these are planned in its place. Raises Superseded."""
        with self._held(run, runner):
            self._connection.execute(_queries["drop"], {"run": run, "note": note})
            self._add(run, lines)

    def write_phase(self, run: int, runner: int, phase: str, *, after: Iterable[str]) -> bool:
        """Whether the rebalance is in that phase, to which it came from one of `after`. Raises Superseded."""
        with self._held(run, runner):
            return self._phase(run, phase, after)

    def stop(self, run: int) -> bool:
        """Whether nothing more is begun from now on, by an operator's word."""
        return self._phase(run, "stopping", ("moving", "stopping"))

    def _phase(self, run: int, phase: str, before: Iterable[str]) -> bool:
        values = {"run": run, "phase": phase, "before": [*before]}
        return self._connection.execute(_queries["phase"], values).fetchone() is not None

    def _add(self, run: int, lines: Iterable[NewLine]) -> None:
        """After those that are there, their rounds too."""
        row = self._connection.execute(_queries["last_numbers"], {"run": run}).fetchone()
        last, rounds = row or (0, 0)
        with (
            self._connection.cursor() as cursor,
            cursor.copy(
                "COPY shardwright.rebalance_move (rebalance, number, round, tenant, source, target, epoch, bytes, rows,"
                " writes, load, why) FROM STDIN"
            ) as rows,
        ):
            for number, line in enumerate(lines, start=last + 1):
                rows.write_row((run, number, *{**asdict(line), "round": rounds + line.round}.values()))

    @contextmanager
    def _held(self, run: int, runner: int) -> Iterator[None]:
        with self._connection.transaction():
            Board(self._connection, self._shard_set).hold(run, runner)
            yield


def _rebalance(row: tuple[Any, ...]) -> Rebalance:
    return Rebalance(row[0], row[1], tuple(row[2]))
