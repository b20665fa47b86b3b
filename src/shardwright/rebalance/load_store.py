"""What was measured: the control database's tables of load and its history. No other module names them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg

from shardwright.pg.queries import load
from shardwright.rebalance.rates import Baseline

SINCE = 11  # the file of the control schema that made the tables; whoever only reads them needs no newer one
_queries = load(__package__, "load_store.sql")


@dataclass(frozen=True, slots=True)
class Measured:
    """One tenant as last measured, on `shard`; `writes` in rows a second, None: not known yet.

    `rows_of`: rows by table; only written, and asked for by `before`.
    """

    tenant: str
    shard: str
    rows: int
    bytes: int
    writes: float | None
    custom: float
    labels: Mapping[str, str]
    measured_at: datetime
    rows_of: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MeasuredShard:
    """One shard as last measured: what its tenants have there together, `writes` in rows a second.

    `strangers`: tenants with rows there that the directory has elsewhere, or not at all; they are in `database_bytes`
    alone. `sampled`: tables of which only a share was read, with it; `unread`: tables that are not in it, and why.
    """

    shard: str
    measured_at: datetime
    seconds: float
    database_bytes: int
    tenants: int
    rows: int
    bytes: int
    writes: float
    custom: float
    strangers: int = 0
    sampled: Mapping[str, float] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The shard as `--json` prints it."""
        named = {name: getattr(self, name) for name in self.__slots__}
        return {**named, "measured_at": self.measured_at.isoformat(), "seconds": round(self.seconds, 3)}


@dataclass(frozen=True, slots=True)
class Before:
    """One tenant at the measurement before: where it was, what it wrote a second, its rows by table."""

    shard: str
    writes: float | None
    rows_of: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Moment:
    """A tenant or a shard at the end of an hour, a day, a month; `grain` says which, `at` when it began."""

    at: datetime
    grain: str
    rows: int
    bytes: int
    writes: float | None
    custom: float


class Loads:
    """The measurements of one shard set, over a connection to the control database in autocommit."""

    def __init__(self, connection: psycopg.Connection[Any], shard_set: str) -> None:
        self._connection = connection
        self._shard_set = shard_set

    def tenants(self) -> dict[str, Measured]:
        """Each tenant that was ever measured, by id."""
        return {row[0]: Measured(*row) for row in self._ask("tenants")}

    def shards(self) -> dict[str, MeasuredShard]:
        """Each shard that was ever measured, by name."""
        return {row[0]: MeasuredShard(*row) for row in self._ask("shards")}

    def ages(self) -> dict[str, float]:
        """How many seconds ago each shard was measured; one that never was is not in it."""
        return dict(self._ask("ages"))

    def baselines(self) -> dict[str, Baseline]:
        """What each shard's writes are counted from."""
        return {
            shard: Baseline(shard, since, at, xid, {name: tuple(each) for name, each in counters.items()})
            for shard, since, at, xid, counters in self._ask("baselines")
        }

    def before(self) -> dict[str, Before]:
        """Each tenant at its last measurement."""
        return {tenant: Before(*rest) for tenant, *rest in self._ask("before")}

    def history_of_tenant(self, tenant: str) -> list[Moment]:
        """The last 24 hours and the last 30 days in which it was measured, oldest first."""
        return [Moment(at, grain, *rest) for at, grain, _, *rest in self._ask("tenant_history", tenant=tenant)]

    def history_of_shard(self, shard: str) -> list[Moment]:
        """The last 24 hours, the last 90 days and all months in which it was measured, oldest first."""
        return [Moment(at, grain, *rest) for at, grain, _, *rest in self._ask("shard_history", shard=shard)]

    def write(
        self,
        at: datetime,
        shards: Mapping[str, tuple[MeasuredShard, Baseline]],
        tenants: Iterable[Measured],
        *,
        known: Collection[str],
        fleet: Sequence[str],
    ) -> None:
        """These shards and tenants are as measured, and their history; what is too old for that is gone.

        `known`: every tenant of the directory, `fleet`: every shard of the set; of others nothing is kept but history.
        A shard that somebody has measured later meanwhile stays as it is, and so do its tenants.
        """
        with self._connection.transaction():
            self._connection.execute(_queries["lock"])
            newer = {row[0] for row in self._ask("newer", measured_at=at, shards=list(shards))}
            written = [name for name in shards if name not in newer]
            for name in written:
                self._write_shard(*shards[name])
            self._connection.execute(_queries["make_incoming"])
            self._copy(each for each in tenants if each.shard not in newer)
            for query in ("write_tenants", "write_tenant_history"):
                self._connection.execute(_queries[query])
            self._do("forget_tenants", tenants=list(known))
            self._do("forget_shards", shards=list(fleet))
            self._do("write_shard_history", shards=written)
            self._do("thin_tenant_history", measured_at=at)
            self._do("thin_shard_history", measured_at=at)

    def _ask(self, query: str, **values: Any) -> list[Any]:
        return self._connection.execute(_queries[query], {"shard_set": self._shard_set, **values}).fetchall()

    def _do(self, query: str, **values: Any) -> None:
        self._connection.execute(_queries[query], {"shard_set": self._shard_set, **values})

    def _write_shard(self, shard: MeasuredShard, baseline: Baseline) -> None:
        values = {name: getattr(shard, name) for name in MeasuredShard.__slots__}
        values |= {name: json.dumps(values[name]) for name in ("sampled", "unread")}
        self._do(
            "write_shard", **values, counted_from=baseline.since, counted_at=baseline.at, xid=baseline.xid,
            counters=json.dumps(baseline.counters),
        )  # fmt: skip

    def _copy(self, tenants: Iterable[Measured]) -> None:
        with self._connection.cursor().copy(_queries["copy_incoming"]) as copy:
            for each in tenants:
                copy.write_row((
                    self._shard_set, each.tenant, each.shard, each.measured_at, each.rows, each.bytes, each.writes,
                    each.custom, json.dumps(each.labels), json.dumps(each.rows_of),
                ))  # fmt: skip
