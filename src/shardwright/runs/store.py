"""The ledger's tables: runs, and each shard's result in them. No other module names them."""

from __future__ import annotations

import getpass
import json
import os
import socket
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import psycopg

from shardwright import errors
from shardwright.pg import locks
from shardwright.pg.queries import load
from shardwright.runs.results import ShardResult, Status

_queries = load(__package__)
_SET_LOCKS = 1 << 16  # set locks are numbers from here on, below are locks of other things
_asked_by: ContextVar[str | None] = ContextVar("asked_by", default=None)
Decision = Literal["commit", "abort"]


@dataclass(frozen=True)
class Run:
    """One line of the ledger. `state`: the table `run_arrow` of the control schema has them all.

    `is_durable`: it has steps and can be carried on by any worker.
    """

    id: int
    kind: str
    shard_set: str
    state: str
    target: str | None
    undoes: int | None
    started_by: str
    started_on: str
    process: int
    started_at: datetime
    finished_at: datetime | None
    exit_code: int | None
    note: str | None
    is_durable: bool = False

    @property
    def has_all_results(self) -> bool:
        """Whether the ledger knows how each shard ended; a run whose process died may have gone further."""
        return self.state in ("finished", "interrupted")

    def as_dict(self) -> dict[str, Any]:
        """The run as `--json` prints it."""
        return {
            "run": self.id,
            "kind": self.kind,
            "set": self.shard_set,
            "state": self.state,
            "target": self.target,
            "undoes": self.undoes,
            "by": self.started_by,
            "on": self.started_on,
            "process": self.process,
            "started_at": self.started_at.isoformat(),
            "finished_at": self.finished_at.isoformat() if self.finished_at else None,
            "exit_code": self.exit_code,
            "note": self.note,
            "durable": self.is_durable,
        }


@dataclass(frozen=True)
class Seen:
    """Where a revision first came from: the run, when it began, and who started it."""

    run: int
    at: datetime
    by: str


@dataclass(frozen=True)
class Unsettled:
    """A run of all shards or none that may have left prepared transactions; `again` where it was finished before."""

    run: int
    again: bool
    plan: Mapping[str, Any]


@dataclass(frozen=True)
class OpenRollout:
    """A rollout, or a rollback, that is under way or rests by an operator's wish; `plan` as the ledger keeps it."""

    run: Run
    plan: Mapping[str, Any]

    @property
    def waves(self) -> list[dict[str, str]]:
        """The shards of each wave, with the revision that each is brought to."""
        return [{shard["shard"]: shard["to"] for shard in wave} for wave in self.plan.get("waves", ())]

    @property
    def ways(self) -> dict[str, set[str]]:
        """The revisions that each shard comes by, its first and its last among them."""
        shards = (shard for wave in self.plan.get("waves", ()) for shard in wave)
        return {each["shard"]: {each["from"], each["to"], *each.get("steps", ())} for each in shards}


class Ledger:
    """The ledger of one shard set, over a connection to the control database in autocommit."""

    def __init__(self, connection: psycopg.Connection[Any], shard_set: str) -> None:
        self._connection = connection
        self._shard_set = shard_set

    def begin(
        self,
        kind: str,
        *,
        target: str | None,
        plan: Mapping[str, Any],
        results: Iterable[ShardResult],
        undoes: int | None = None,
        is_atomic: bool = False,
    ) -> int:
        """A new run stands in the ledger with every shard's present revision, before any shard is touched.

        `is_atomic`: it is one of all shards or none, and nothing is decided yet.

        Its number is returned. Runs whose process died are marked abandoned: the caller holds the set's lock.
        """
        with self._connection.transaction():
            self.abandon("its process ended without a word; the shards say how far it came")
            row = self._connection.execute(
                _queries["begin_run"],
                {
                    "kind": kind,
                    "shard_set": self._shard_set,
                    "target": target,
                    "plan": json.dumps(plan),
                    "undoes": undoes,
                    "started_by": operator(),
                    "started_on": socket.gethostname(),
                    "process": os.getpid(),
                },
            ).fetchone()
            assert row is not None  # noqa: S101 INSERT … RETURNING gives a row
            self.write(row[0], list(results))
            if is_atomic:
                self._connection.execute(_queries["open_decision"], {"run": row[0]})
        return int(row[0])

    def adopt(self, run: int, *, target: str | None, plan: Mapping[str, Any], results: Sequence[ShardResult]) -> None:
        """The durable run of that number is this operation; what it knew of shards before stays known."""
        with self._connection.transaction():
            self.abandon("its process ended without a word; the shards say how far it came")
            self._connection.execute(_queries["adopt_run"], {"run": run, "target": target, "plan": json.dumps(plan)})
            self.write(run, results)

    def abandon(self, note: str) -> None:
        """No run of the set is open any more: the caller holds its lock, so whoever began one is done with it."""
        self._connection.execute(_queries["abandon_runs"], {"shard_set": self._shard_set, "note": note})

    def write(self, run: int, results: Sequence[ShardResult]) -> None:
        """The ledger holds these results of `run`, in place of earlier ones of the same shards."""
        if not results:
            return
        self._connection.execute(
            _queries["write_results"],
            {
                "run": run,
                "shards": [result.shard for result in results],
                "statuses": [result.status.value for result in results],
                "from": [_joined(result.before) for result in results],
                "to": [_joined(result.after) for result in results],
                "seconds": [result.seconds for result in results],
                "attempts": [result.attempts for result in results],
                "errors": [result.error for result in results],
                "hints": [result.hint for result in results],
            },
        )

    def end(self, run: int, *, exit_code: int, note: str | None, interrupted: bool) -> None:
        """The run is closed, with the exit code of its command."""
        state = "interrupted" if interrupted else "finished"
        values = {"run": run, "state": state, "exit_code": exit_code, "note": note}
        self._connection.execute(_queries["end_run"], values)

    def close(self, run: int, *, exit_code: int, note: str) -> None:
        """A run whose process died has been brought to its end by another one."""
        self._connection.execute(_queries["close_run"], {"run": run, "exit_code": exit_code, "note": note})

    # --- all shards or none -------------------------------------------------------------------

    def token(self) -> str:
        """What tells this set's prepared transactions from those of other fleets on the same server."""
        row = self._connection.execute(_queries["set_token"], {"shard_set": self._shard_set}).fetchone()
        assert row is not None  # noqa: S101 recorded at the begin of every operation
        return str(row[0])

    def known_token(self) -> str | None:
        """The same, for whoever only asks; None where the set was never worked on."""
        row = self._connection.execute(_queries["set_token"], {"shard_set": self._shard_set}).fetchone()
        return str(row[0]) if row else None

    def decide(self, run: int, decision: Decision) -> Decision:
        """The decision that stands, durably: this one, unless another was made before."""
        with self._connection.transaction():
            self._connection.execute(_queries["durable_commit"])
            self._connection.execute(_queries["decide"], {"run": run, "decision": decision})
            row = self._connection.execute(_queries["decision"], {"run": run}).fetchone()
        return "commit" if row is not None and row[0] == "commit" else "abort"

    def settle(self, run: int, *, taken_over: bool = False) -> None:
        """Nothing of the run is prepared on any shard any more."""
        self._connection.execute(_queries["settle_decision"], {"run": run, "taken_over": taken_over})

    def unsettled(self) -> list[Unsettled]:
        """The runs of the set that may have left something prepared, oldest first."""
        return [
            Unsettled(*row) for row in self._connection.execute(_queries["unsettled"], {"shard_set": self._shard_set})
        ]

    # --- to read ------------------------------------------------------------------------------

    def run(self, run: int) -> Run:
        """The run of that number; raises NoSuchRun."""
        row = self._connection.execute(_queries["run"], {"run": run}).fetchone()
        if row is None:
            raise errors.NoSuchRun(run=run)
        return Run(*row)

    def runs(self, limit: int = 20, *, before: int | None = None) -> list[Run]:
        """The newest runs of the set, newest first; with `before`, of those with a smaller number."""
        values = {"shard_set": self._shard_set, "limit": limit, "before": before}
        return [Run(*row) for row in self._connection.execute(_queries["runs"], values)]

    def open_runs(self) -> list[tuple[Run, float]]:
        """Every run of the set that is not at its end, oldest first, and how many seconds ago it was last heard of."""
        rows = self._connection.execute(_queries["open_runs"], {"shard_set": self._shard_set})
        return [(Run(*row[:-1]), row[-1]) for row in rows]

    def as_it_is(self, run: Run) -> Run:
        """A run whose process was killed stays open until the next operation; nobody holds its lock any more."""
        if run.is_durable or run.state != "running" or self.is_held(set_lock(self._shard_set)):
            return run
        return replace(run, state="abandoned", note="its process ended without a word; the shards say how far it came")

    def running(self) -> Run | None:
        """The run that is not closed yet, if any; its process may be dead."""
        return self._one("running")

    def open_rollout(self) -> OpenRollout | None:
        """The rollout or rollback that is not at its end, and not parked; the process of one that is not durable may be
        dead."""
        row = self._connection.execute(_queries["open_rollout"], {"shard_set": self._shard_set}).fetchone()
        return OpenRollout(Run(*row[:-1]), row[-1]) if row else None

    def last_rollout(self) -> Run | None:
        """The newest `migrate` that began with a shard."""
        return self._one("last_rollout")

    def plan(self, run: int) -> Mapping[str, Any]:
        """What the run was to do, as it was written down at its begin. Raises NoSuchRun."""
        row = self._connection.execute(_queries["plan"], {"run": run}).fetchone()
        if row is None:
            raise errors.NoSuchRun(run=run)
        found: Mapping[str, Any] = row[0]
        return found

    def mark(self) -> tuple[Any, ...]:
        """Another value than before, whenever something has happened in any run."""
        return tuple(self._connection.execute(_queries["mark"]).fetchone() or ())

    def results(self, run: int) -> list[ShardResult]:
        """Every shard's result in that run, by name."""
        rows = self._connection.execute(_queries["results"], {"run": run})
        return [ShardResult(row[0], Status(row[1]), _tuple(row[2]), _tuple(row[3]), *row[4:]) for row in rows]

    def moved_since(self, run: int) -> dict[str, int]:
        """The shards that runs after `run` have moved, each with the first of those runs."""
        rows = self._connection.execute(_queries["moved_since"], {"shard_set": self._shard_set, "run": run})
        return {row[0]: row[1] for row in rows}

    def ways_up(self, shards: Sequence[str]) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
        """Each step up of these shards, by rollouts, from what to what; the newest first."""
        rows = self._connection.execute(_queries["ways_up"], {"shard_set": self._shard_set, "shards": list(shards)})
        return [(row[0], tuple(row[1]), tuple(row[2])) for row in rows]

    def is_held(self, lock: int) -> bool:
        """Whether somebody holds that advisory lock of the control database."""
        return locks.holder(self._connection, lock) is not None

    def first_seen(self, revisions: Iterable[str]) -> dict[str, Seen]:
        """Which of these revisions a rollout has brought to a shard, and where each first came from."""
        rows = self._connection.execute(_queries["first_seen"], {"revisions": list(revisions)})
        return {row[0]: Seen(*row[1:]) for row in rows}

    def _one(self, query: str) -> Run | None:
        row = self._connection.execute(_queries[query], {"shard_set": self._shard_set}).fetchone()
        return Run(*row) if row else None


def set_lock(shard_set: str) -> int:
    """The advisory lock, in the control database, of whoever works on the set."""
    return _SET_LOCKS + zlib.crc32(shard_set.encode()) % (1 << 30)


@contextmanager
def acting_for(who: str) -> Iterator[None]:
    """Within, in this thread, whatever is recorded was done by `who`."""
    before = _asked_by.set(who)
    try:
        yield
    finally:
        _asked_by.reset(before)


def operator() -> str:
    """Who is at work: whom this thread acts for, else $SHARDWRIGHT_OPERATOR, or the user's name."""
    if (who := _asked_by.get()) is not None:
        return who
    try:
        return os.environ.get("SHARDWRIGHT_OPERATOR") or getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _joined(revisions: tuple[str, ...] | None) -> str | None:
    """unnest() takes no arrays of arrays of different lengths, so revisions travel as one text each."""
    return None if revisions is None else ",".join(revisions)


def _tuple(revisions: list[str] | None) -> tuple[str, ...] | None:
    return None if revisions is None else tuple(revisions)
