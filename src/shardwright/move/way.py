"""The way of one move: its two shards with their sessions, what is moved, and the checks that hold before each step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property, partial
from typing import Any

import psycopg
from psycopg import sql

from shardwright import errors
from shardwright.catalog.control import open_control
from shardwright.catalog.tenants import require_tenants
from shardwright.move.store import Moves
from shardwright.pg.connect import connect, milliseconds
from shardwright.pg.fingerprint import Fingerprint, differences, fingerprint
from shardwright.pg.tables import read_tables
from shardwright.runs.kinds import StepContext
from shardwright.shard import Shard
from shardwright.transfer import capture
from shardwright.transfer.graph import TableGraph
from shardwright.transfer.place import table_graph
from shardwright.transfer.scope import Scope
from shardwright.transfer.sessions import Sessions
from shardwright.transfer.shard_lock import shard_lock

_SHOWN = 5


@dataclass(frozen=True)
class Way:
    """One move from `source` to `target`, for the runner of `context`."""

    context: StepContext
    source: Sessions
    target: Sessions

    @classmethod
    def of(cls, context: StepContext) -> Way:
        """The way that the run's plan names. Raises NoSuchShard."""
        source, target = (_sessions(context, str(context.plan[side])) for side in ("source", "target"))
        return cls(context, source, target)

    @property
    def tenant(self) -> str:
        """The tenant's id."""
        return str(self.context.plan["tenant"])

    @property
    def epoch(self) -> int:
        """The placement's at the start."""
        return int(self.context.plan["epoch"])

    @property
    def patience(self) -> timedelta:
        """For how long anybody may wait behind us at a table's lock."""
        return self.context.fleet.config.limits.lock_timeout

    @property
    def write_gap(self) -> timedelta:
        """For how long the tenant's writers may be held up at a switch."""
        return self.context.fleet.config.limits.write_gap

    @property
    def offline(self) -> bool:
        """Whether the tenant's writers are shut out for the whole of it."""
        return bool(self.context.plan.get("offline"))

    @cached_property
    def scope(self) -> Scope:
        """What is moved, as the source's catalogs have it now."""
        return Scope.of_tenant(self.context.run, self.tenant, self._graph)

    @cached_property
    def _graph(self) -> TableGraph:
        return self.context.shelf.keep("graph", self._read_graph)

    def _read_graph(self) -> TableGraph:
        with self._asking(self.source.shard) as connection:
            tables = read_tables(connection, self.context.fleet.config.fleet.version_table)
        return table_graph(tables, require_tenants(self.context.fleet.config))

    def back(self) -> Way:
        """The same way in the other direction; always while the tenant works."""
        context = replace(self.context, plan={**self.context.plan, "offline": False})
        turned = replace(self, context=context, source=self.target, target=self.source)
        turned.__dict__["scope"] = self.scope
        return turned

    def take_over(self) -> None:
        """Nobody else works for this move, on either shard. Raises Superseded."""
        self.source.take_over()
        self.target.take_over()

    def is_known_at(self, sessions: Sessions) -> bool:
        """Whether the shard knows of the move. Raises psycopg.Error."""
        with self._asking(sessions.shard) as connection:
            return capture.is_registered(connection, self.context.run)

    def require_schema(self) -> None:
        """Both schemas are what they were at the start. Raises SchemaChanged."""
        for sessions in (self.source, self.target):
            with self._asking(sessions.shard) as connection:
                present = fingerprint(connection)
            if present.digest != self.context.plan["fingerprints"][sessions.shard.name]:
                raise errors.SchemaChanged(
                    shard=sessions.shard.name, run=self.context.run, objects=self._changed(sessions.shard, present)
                )

    def _asking(self, shard: Shard) -> AbstractContextManager[psycopg.Connection[Any]]:
        return self.context.shelf.lend(f"asking {shard.name}", lambda: asking(shard))

    def _changed(self, shard: Shard, present: Fingerprint) -> str:
        """What differs from the other side, which may have changed as well."""
        other = self.target if shard == self.source.shard else self.source
        with self._asking(other.shard) as connection:
            found = differences(fingerprint(connection), present)
        told = [f"{each.kind} {each.name}" for each in found[:_SHOWN]]
        return ", ".join(told) + (" …" if len(found) > _SHOWN else "") or "both shards have changed alike"

    def phase(self) -> str:
        """How far the move is by the control database, once no decision can be on its way there any more.

        Raises Superseded, ControlUnavailable.
        """
        with self.control() as moves:
            return moves.held_phase(self.context.run, self.context.runner)

    @contextmanager
    def control(self, *, patience: timedelta | None = None) -> Iterator[Moves]:
        """The moves in the control database, where no statement takes longer than `patience`.

        Raises ControlUnavailable.
        """
        control = partial(open_control, self.context.fleet.control, application_name="shardwright move")
        with control() if patience else self.context.shelf.lend("control", control) as connection:
            if patience is not None:
                limit = sql.Literal(f"{milliseconds(patience)}ms")
                connection.execute(sql.SQL("SET statement_timeout = {}").format(limit))
            yield Moves(connection, self.context.fleet.shard_set)

    def shard_lock(self, sessions: Sessions) -> AbstractContextManager[psycopg.Connection[Any]]:
        """A session with the shard's lock. Raises Stopped, Superseded."""
        return shard_lock(self.context, sessions, self.phase)


@contextmanager
def asking(shard: Shard) -> Iterator[psycopg.Connection[Any]]:
    """A session that only reads catalogs."""
    settings = {"lock_timeout": "2s", "statement_timeout": "60s", "client_encoding": "UTF8"}
    with connect(shard.url, application_name="shardwright move plan", settings=settings) as connection:
        yield connection


def _sessions(context: StepContext, name: str) -> Sessions:
    shard = context.fleet.select(name)[0]
    with context.shelf.lend(
        f"sessions {name}", lambda: Sessions(shard, context.run, context.runner, keeps=True)
    ) as sessions:
        return sessions
