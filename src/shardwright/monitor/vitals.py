"""How each shard is at one moment: does it answer, how fast, how full, how busy, at which revision."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from shardwright.catalog.ask import ask_each
from shardwright.catalog.roots import find_table
from shardwright.config import FleetConfig
from shardwright.dsn import redact
from shardwright.migration.history import State
from shardwright.migration.versions import CONNECT_TIMEOUT, read_state
from shardwright.pg.connect import connect
from shardwright.pg.faults import Fault, explain
from shardwright.pg.queries import load
from shardwright.runs.results import revisions_text
from shardwright.shard import Shard

T = TypeVar("T")

# Whoever looks every few seconds may keep nobody waiting, and waits for nobody.
_SETTINGS = {"lock_timeout": "500ms", "statement_timeout": "3s", "client_encoding": "UTF8"}
_NAME = "shardwright monitor"
_EXCERPT = 120
_queries = load(__package__, "vitals.sql")


@dataclass(frozen=True, slots=True)
class LongTransaction:
    """The oldest open transaction of a shard: its session, its age in seconds, the beginning of its last query."""

    pid: int
    age: float
    query: str


@dataclass(frozen=True, slots=True)
class Vitals:
    """One shard at one moment. Where `fault` says why it did not answer, the rest is None; else None is: not known.

    `seconds`: of a round trip that does nothing. `connections`: of its server, of `connections_allowed`.
    `lag`: seconds that the slowest standby is behind, or this server itself where it is one; None without standbys.
    `bytes`: of the database. `disk`: the used share of what [monitor] disk says. `cache`: the share of blocks found in
    memory. `rows`: an estimate, `tenants`: one from 100,000 on. `writes`: rows written since the statistics began.
    """

    shard: str
    host: str
    at: datetime
    seconds: float | None = None
    fault: Fault | None = None
    version: str | None = None
    in_recovery: bool | None = None
    connections: int | None = None
    connections_allowed: int | None = None
    longest: LongTransaction | None = None
    lag: float | None = None
    bytes: int | None = None
    disk: float | None = None
    cache: float | None = None
    tenants: int | None = None
    rows: int | None = None
    writes: int | None = None
    writes_per_second: float | None = None
    state: State | None = None

    @property
    def is_up(self) -> bool:
        """Whether the shard answered."""
        return self.fault is None

    @property
    def revision(self) -> str | None:
        """The state as people write it; None where it is not known."""
        return None if self.state is None else revisions_text(self.state) or "base"

    @property
    def longest_transaction(self) -> float | None:
        """The age of the oldest open transaction, in seconds; None where there is none, or it may not be seen."""
        return self.longest.age if self.longest else None

    def as_dict(self) -> dict[str, Any]:
        """The shard as `--json` prints it."""
        longest = self.longest
        return {
            "shard": self.shard,
            "host": self.host,
            "at": self.at.isoformat(),
            "up": self.is_up,
            "error": self.fault.reason if self.fault else None,
            "hint": (self.fault.hint or None) if self.fault else None,
            "seconds": self.seconds,
            "version": self.version,
            "in_recovery": self.in_recovery,
            "connections": self.connections,
            "connections_allowed": self.connections_allowed,
            "longest_transaction": (
                {"pid": longest.pid, "seconds": longest.age, "query": longest.query} if longest else None
            ),
            "lag_seconds": self.lag,
            "bytes": self.bytes,
            "disk": self.disk,
            "cache": self.cache,
            "tenants": self.tenants,
            "rows": self.rows,
            "writes_per_second": self.writes_per_second,
            "revision": self.revision,
        }


def read_vitals(
    fleet: FleetConfig, shards: Sequence[Shard], before: Mapping[str, Vitals] | None = None
) -> tuple[Vitals, ...]:
    """How each of `shards` is, in their order; asked concurrently within the budget of each host.

    `before`: the vitals of an earlier moment by shard, from which writes per second are counted.
    """
    earlier = before or {}
    found = ask_each(
        shards,
        lambda shard: _read(fleet, shard),
        connections_per_host=fleet.config.limits.connections_per_host,
        failed=lambda shard, error: Vitals(shard.name, shard.host, datetime.now(UTC), fault=explain(error)),
    )
    return _with_disks(fleet, [_with_rate(each, earlier.get(name)) for name, each in found.items()])


def _read(fleet: FleetConfig, shard: Shard) -> Vitals:
    with connect(shard.url, application_name=_NAME, settings=_SETTINGS, connect_timeout=CONNECT_TIMEOUT) as connection:
        began = time.monotonic()
        connection.execute(_queries["nothing"])
        seconds = time.monotonic() - began
        pulse = _one(connection, "pulse")
        return Vitals(
            shard=shard.name,
            host=shard.host,
            at=datetime.now(UTC),
            seconds=seconds,
            longest=_longest(pulse),
            tenants=_unless_refused(connection, lambda: _tenants(connection, fleet)),
            state=_unless_refused(connection, lambda: read_state(connection, fleet.config.fleet.version_table)),
            **{name: pulse[name] for name in _PULSE},
            **(_unless_refused(connection, lambda: _one(connection, "size")) or {}),
        )


_PULSE = ("version", "in_recovery", "connections", "connections_allowed", "lag", "cache", "writes")


def _one(connection: psycopg.Connection[Any], query: str) -> dict[str, Any]:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_queries[query]).fetchone()
    assert row is not None  # noqa: S101 a SELECT without FROM gives a row
    return row


def _unless_refused(connection: psycopg.Connection[Any], read: Callable[[], T]) -> T | None:
    """What `read` gives; None where it takes too long, is not allowed, or somebody holds the table, as a rollout does
    while it is at work there: no reason to call a shard away."""
    try:
        return read()
    except psycopg.Error:
        if connection.broken:
            raise
        return None


def _longest(pulse: Mapping[str, Any]) -> LongTransaction | None:
    if pulse["longest_pid"] is None:
        return None
    query = " ".join(redact(pulse["longest_query"] or "").split())
    return LongTransaction(pulse["longest_pid"], pulse["longest_age"], query[:_EXCERPT])


def _tenants(connection: psycopg.Connection[Any], fleet: FleetConfig) -> int | None:
    """How many tenants live there: counted, or of many the server's own estimate."""
    section = fleet.config.tenants
    if section is None:
        return None
    table = find_table(connection, section.root)
    if table is None:
        return None
    name = sql.Literal(table.as_string(connection))
    row = connection.execute(_queries["tenants"].format(table=table, name=name)).fetchone()
    return row[0] if row else None


def _with_rate(now: Vitals, before: Vitals | None) -> Vitals:
    if before is None or before.writes is None or now.writes is None or now.writes < before.writes:
        return now
    seconds = (now.at - before.at).total_seconds()
    return replace(now, writes_per_second=(now.writes - before.writes) / seconds) if seconds > 0 else now


def _with_disks(fleet: FleetConfig, vitals: Sequence[Vitals]) -> tuple[Vitals, ...]:
    """Of a host whose capacity is configured, its shards' share of it together."""
    used: dict[str, int] = {}
    for each in vitals:
        used[each.host] = used.get(each.host, 0) + (each.bytes or 0)
    capacity = fleet.config.monitor.disk
    return tuple(
        replace(each, disk=used[each.host] / capacity[each.host]) if each.is_up and each.host in capacity else each
        for each in vitals
    )
