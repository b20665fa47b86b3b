"""The control database's table of moves. No other module names it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from shardwright import errors
from shardwright.catalog.placement import move_placement, require_id
from shardwright.pg.queries import load
from shardwright.runs.board import Board

OVER = ("kept", "undone")
_queries = load(__package__, "store.sql")


@dataclass(frozen=True)
class Move:
    """One move as it stands. `phase`: moving (the source takes writes), given_up (and never will be switched), switched
    (the target does), cleaning (the source's rows are being deleted), returned (the source takes writes again, for
    good), and at the end kept or undone. `epoch` is the placement's at the start."""

    run: int
    tenant: str
    source: str
    target: str
    epoch: int
    phase: str
    throttle: Mapping[str, Any]
    write_gap: Mapping[str, Any] | None
    certificate: Mapping[str, Any] | None
    switched_at: datetime | None
    keep_until: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether anything of it is left on a shard."""
        return self.phase not in OVER

    def as_dict(self) -> dict[str, Any]:
        """The move as `--json` prints it."""
        moments = {name: at.isoformat() if at else None for name, at in (
            ("switched_at", self.switched_at), ("keep_until", self.keep_until)
        )}  # fmt: skip
        return {**vars(self), **moments}


class Moves:
    """The moves of one shard set, over a connection to the control database in autocommit."""

    def __init__(self, connection: psycopg.Connection[Any], shard_set: str) -> None:
        self._connection = connection
        self._shard_set = shard_set

    def create(self, run: int, tenant: str, source: str, target: str, epoch: int, throttle: Mapping[str, Any]) -> None:
        """The run is the tenant's move. Raises MoveUnderWay."""
        values = {
            "run": run, "shard_set": self._shard_set, "tenant": tenant, "source": source, "target": target,
            "epoch": epoch, "throttle": json.dumps(throttle),
        }  # fmt: skip
        try:
            with self._connection.transaction():
                self._connection.execute(_queries["create"], values)
        except psycopg.errors.UniqueViolation:
            present = self.of_tenant(tenant)
            raise errors.MoveUnderWay(tenant=tenant, run=present.run if present else 0) from None

    def move(self, run: int) -> Move:
        """The move of that run. Raises NoSuchMove."""
        row = self._connection.execute(_queries["move"], {"run": run, "shard_set": self._shard_set}).fetchone()
        if row is None:
            raise errors.NoSuchMove(what=f"run {run}")
        return Move(*row)

    def of_tenant(self, tenant: str) -> Move | None:
        """The tenant's open move, else its last; None where it never had one. Raises BadTenantId."""
        require_id(tenant)
        values = {"shard_set": self._shard_set, "tenant": tenant}
        row = self._connection.execute(_queries["of_tenant"], values).fetchone()
        return Move(*row) if row else None

    def open(self) -> list[Move]:
        """The moves that have something on a shard, the oldest first."""
        return [Move(*row) for row in self._connection.execute(_queries["open"], {"shard_set": self._shard_set})]

    def tenants_since(self, moment: datetime) -> list[str]:
        """Who is on the move, or was at any time since `moment` (by the control database's clock)."""
        values = {"shard_set": self._shard_set, "since": moment}
        return [row[0] for row in self._connection.execute(_queries["tenants_since"], values)]

    def carried_since(self, moment: datetime) -> list[tuple[str, str, str]]:
        """Tenants of whom a mover may have written or deleted rows since `moment`, each with source and target."""
        values = {"shard_set": self._shard_set, "since": moment}
        return [tuple(row) for row in self._connection.execute(_queries["carried_since"], values)]

    def switch(self, run: int, runner: int, *, changed_by: str, keep: float) -> int:
        """The tenant's placement is the target, the way back open for `keep` seconds; gives the epoch.

        One transaction, guarded by the runner's number and the phase; done again it changes nothing. Raises
        Superseded, PlacementChanged, NoSuchTenant; Undecided where it may have been done or not.
        """
        with Board(self._connection, self._shard_set).deciding(run, runner):
            move = self.move(run)
            if move.phase != "switched":
                self._require_phase(move, "moving")
                self._place(move, move.source, move.target, move.epoch, changed_by)
                self._connection.execute(_queries["switched"], {"run": run, "keep": keep})
        return move.epoch + 1

    def switch_back(self, run: int, runner: int, *, changed_by: str) -> int:
        """The tenant's placement is the source again; gives the epoch. Raises what `switch` raises."""
        with Board(self._connection, self._shard_set).deciding(run, runner):
            move = self.move(run)
            if move.phase != "returned":
                self._require_phase(move, "switched")
                self._place(move, move.target, move.source, move.epoch + 1, changed_by)
                self._connection.execute(_queries["phase"], {"run": run, "phase": "returned"})
        return move.epoch + 2

    def give_up(self, run: int, runner: int) -> str:
        """A move that is not switched never will be; gives the phase. A decision that is still on its way to the
        database is waited for: it holds the run's row. Raises Superseded."""
        with self._held(run, runner) as move:
            if move.phase != "moving":
                return move.phase
            self._connection.execute(_queries["phase"], {"run": run, "phase": "given_up"})
        return "given_up"

    def held_phase(self, run: int, runner: int) -> str:
        """The phase, once no decision can be on its way any more. Raises Superseded."""
        with self._held(run, runner) as move:
            return move.phase

    @contextmanager
    def _held(self, run: int, runner: int) -> Iterator[Move]:
        """The move, in these hands until the transaction ends. Raises Superseded."""
        with self._connection.transaction():
            Board(self._connection, self._shard_set).hold(run, runner)
            yield self.move(run)

    def _require_phase(self, move: Move, phase: str) -> None:
        if move.phase != phase:
            raise AssertionError(f"move {move.run} is {move.phase}, and not {phase}")

    def _place(self, move: Move, here: str, there: str, epoch: int, changed_by: str) -> None:
        move_placement(
            self._connection, self._shard_set, move.tenant, here, there,
            expected_epoch=epoch, changed_by=changed_by, run=move.run,
        )  # fmt: skip

    def write_phase(self, run: int, runner: int, phase: str) -> None:
        """The move is in that phase. Raises Superseded."""
        with self._held(run, runner):
            self._connection.execute(_queries["phase"], {"run": run, "phase": phase})

    def set_throttle(self, run: int, throttle: Mapping[str, Any]) -> None:
        """The move goes as fast as these values say, from its next part on."""
        self._connection.execute(_queries["throttle"], {"run": run, "throttle": json.dumps(throttle)})

    def note_write_gap(self, run: int, write_gap: Mapping[str, Any]) -> None:
        """How long the tenant could not write; more words are added to those that are there."""
        self._connection.execute(_queries["write_gap"], {"run": run, "write_gap": json.dumps(write_gap)})

    def note_certificate(self, run: int, certificate: Mapping[str, Any]) -> None:
        """The proof that both sides held the same rows at the switch."""
        self._connection.execute(_queries["certificate"], {"run": run, "certificate": json.dumps(certificate)})
