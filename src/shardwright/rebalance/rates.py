"""Whose the writes were that a shard's statistics count since the last measurement; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from shardwright.rebalance.measure import Counters, Part, ShardReading, TableReading


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the writes of a shard are counted from: its counters by table or partition, then.

    `since` by the control database's clock, `at` by the shard's own; `xid`: the first transaction not begun then.
    """

    shard: str
    since: datetime
    at: datetime
    xid: int
    counters: Mapping[str, Counters] = field(default_factory=dict)


RowsBefore = Mapping[str, Mapping[str, int]]  # of each tenant by table, as last measured on the same shard


def writes_of(reading: ShardReading, baseline: Baseline, before: RowsBefore, *, with_deletes: bool) -> dict[str, float]:
    """Rows that each tenant wrote since `baseline`; a tenant without any is not in it.

    Rows inserted and updated by the row versions that are new, rows deleted by what is gone. Without `with_deletes`
    those are left out: a move has cleaned up there.
    """
    writes: dict[str | None, float] = defaultdict(float)
    for table in reading.tables:
        inserted, updated, deleted = _since(table, baseline)
        parts = {tenant: part for tenant, part in table.parts.items() if part.rows}
        new = {tenant: part.new for tenant, part in parts.items() if part.new}
        by_size = {tenant: part.rows for tenant, part in parts.items()}
        _share(writes, inserted + updated, new or by_size)
        if with_deletes:
            of_new = inserted / (inserted + updated) if inserted + updated else 0.0
            lost = {} if table.sampled else _lost(table.name, parts, before, of_new)
            _share(writes, deleted, lost or new or by_size)
    return {tenant: count for tenant, count in writes.items() if tenant is not None}


def _since(table: TableReading, baseline: Baseline) -> tuple[int, int, int]:
    """Counters that are lower than they were have begun anew, as after a crash of the server."""
    total = [0, 0, 0]
    for name, now in table.counters.items():
        then = baseline.counters.get(name, (0, 0, 0))
        is_anew = any(new < old for new, old in zip(now, then, strict=True))
        for place, (new, old) in enumerate(zip(now, then, strict=True)):
            total[place] += new if is_anew else new - old
    inserted, updated, deleted = total
    return inserted, updated, deleted


def _lost(
    table: str, parts: Mapping[str | None, Part], before: RowsBefore, share_inserted: float
) -> dict[str | None, float]:
    """Rows that each tenant had or got, and has no more."""
    lost: dict[str | None, float] = {}
    for tenant, rows_of in before.items():
        part = parts.get(tenant, Part())
        gone = rows_of.get(table, 0) + part.new * share_inserted - part.rows
        if gone > 0:
            lost[tenant] = gone
    return lost


def _share(writes: dict[str | None, float], count: int, weights: Mapping[str | None, float]) -> None:
    total = sum(weights.values())
    for tenant, weight in weights.items() if count and total else ():
        writes[tenant] += count * weight / total
