"""How fast a transfer may go: by its own limits, which may change while it runs, and by how the servers are."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any, Self

import psycopg
from psycopg import sql

from shardwright.config import MovesSection
from shardwright.errors import ControlUnavailable
from shardwright.pg.queries import load
from shardwright.runs.kinds import StepContext

_queries = load(__package__, "throttle.sql")
_LOOK_EVERY = 1.0
_REST = 0.5


@dataclass(frozen=True)
class Limits:
    """What a transfer keeps to; None: no such limit. Bytes in a second; sessions at work beside ours; lag in seconds.

    `probe` is a SELECT of one boolean, asked on both shards: while it is not true, the transfer rests.
    """

    bytes_per_second: int | None = None
    active: int | None = None
    lag: float | None = None
    probe: str | None = None

    def changed(self, values: Mapping[str, Any]) -> Self:
        """The same with these values in their place; what is no limit is left out."""
        known = {each.name for each in fields(self)}
        return type(self)(**{**vars(self), **{name: value for name, value in values.items() if name in known}})


def limits_now(usual: MovesSection, said: Callable[[], Mapping[str, Any]]) -> Limits:
    """Those of the configuration, with what `said` gives in their place; it may raise ControlUnavailable."""
    lag = usual.lag.total_seconds() if usual.lag else None
    limits = Limits(usual.bytes_per_second, usual.active, lag, usual.probe)
    with suppress(ControlUnavailable):
        return limits.changed(said())
    return limits


@dataclass(frozen=True)
class Load:
    """How a server is: sessions at work beside ours, and the replication lag of its slowest replica in seconds."""

    active: int
    lag: float


class Throttle:
    """Asked after each block: returns when the next may follow."""

    def __init__(
        self,
        context: StepContext,
        limits: Callable[[], Limits],
        shards: Mapping[str, psycopg.Connection[Any]],
    ) -> None:
        self._context = context
        self._ask_limits = limits
        self._limits = limits()
        self._shards = shards
        self._looked_at = time.monotonic()
        self._owed_until = time.monotonic()
        self._told: str | None = None

    def __call__(self, size: int) -> None:
        """`size` bytes were brought. Raises Stopped."""
        self._look()
        if rate := self._limits.bytes_per_second:
            self._owed_until = max(self._owed_until, time.monotonic() - _LOOK_EVERY) + size / rate
            while (left := self._owed_until - time.monotonic()) > 0:
                self._context.rest(min(left, _LOOK_EVERY))
                self._look()
                if self._limits.bytes_per_second != rate:
                    self._owed_until = time.monotonic()

    def _look(self) -> None:
        if time.monotonic() - self._looked_at < _LOOK_EVERY:
            return
        self._limits = self._ask_limits()
        while reason := self._reason():
            if reason != self._told:
                self._context.tell(f"rests: {reason}")
            self._told = reason
            self._context.rest(_REST)
            self._limits = self._ask_limits()
        self._told = None
        self._looked_at = time.monotonic()

    def _reason(self) -> str | None:
        """Why the transfer should rest."""
        for name, connection in self._shards.items():
            load = load_of(connection)
            if self._limits.active is not None and load.active > self._limits.active:
                return f"{name} has {load.active} sessions at work, and {self._limits.active} are allowed"
            if self._limits.lag is not None and load.lag > self._limits.lag:
                return f"a replica of {name} is {load.lag:.1f} s behind, and {self._limits.lag:.1f} s are allowed"
            if self._limits.probe and not _probe(connection, self._limits.probe):
                return f"the probe on {name} says no"
        return None


def load_of(connection: psycopg.Connection[Any]) -> Load:
    """How the server of that session is. A role without pg_monitor sees no lag."""
    row = connection.execute(_queries["load"]).fetchone()
    assert row is not None  # noqa: S101 an aggregate gives a row
    return Load(row[0], row[1])


def _probe(connection: psycopg.Connection[Any], query: str) -> bool:
    """Read only, and no longer than a second; what fails says no."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("SET TRANSACTION READ ONLY")
            connection.execute("SET LOCAL statement_timeout = '1s'")
            row = connection.execute(sql.SQL(query)).fetchone()  # the operator's own words
    except psycopg.Error:
        return False
    return bool(row and row[0] is True)
