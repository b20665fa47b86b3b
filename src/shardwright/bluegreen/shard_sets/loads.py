"""How much each tenant of a shard has: rows and bytes, from one GROUP BY for each table that has the tenant key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from shardwright.pg.queries import load
from shardwright.transfer.graph import PlacedTable, TableGraph

SAMPLE = 1_000_000  # rows: of a table with more (by its statistics) about as many are read, and the rest is reckoned
_queries = load(__package__, "loads.sql")


class Load(NamedTuple):
    """What one tenant takes on `shard`; rows of tables without the tenant key count by the tables they refer to."""

    shard: str
    rows: int
    bytes: int


def read_loads(
    connection: psycopg.Connection[Any], graph: TableGraph, shard: str, *, sample: int = SAMPLE
) -> dict[str, Load]:
    """Every tenant in the root table with its load, an estimate good enough to level shards by; only reads.

    Bytes are the tables' sizes on disk with their indexes, by each tenant's part of the rows. Raises psycopg.Error.
    """
    shares: dict[str, Mapping[str, float]] = {}
    totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    root = next(each for each in graph.tables if each.kind == "root")
    for name in (name for group in graph.copy_order for name in group):
        placed = graph[name]
        counts = _counts(connection, placed, sample) if placed.way.key else _spread(graph, placed, shares)
        whole = sum(counts.values())
        shares[str(name)] = {tenant: rows / whole for tenant, rows in counts.items()} if whole else {}
        for tenant, share in shares[str(name)].items():
            totals[tenant][0] += counts[tenant]
            totals[tenant][1] += share * placed.bytes
    tenants = (row[0] for row in connection.execute(_ids(root)))
    return {tenant: Load(shard, round(totals[tenant][0]), round(totals[tenant][1])) for tenant in tenants}


def _counts(connection: psycopg.Connection[Any], placed: PlacedTable, sample: int) -> dict[str, float]:
    """How many rows each tenant has in a table with the tenant key."""
    percent = min(100.0, 100.0 * sample / placed.rows) if placed.rows > sample else 100.0
    query = _queries["rows_by_tenant"].format(
        key=sql.Identifier("r", str(placed.way.key)),
        table=placed.table.source,
        sample=sql.SQL("TABLESAMPLE SYSTEM ({}) REPEATABLE (1)").format(sql.Literal(percent))
        if percent < 100.0
        else sql.SQL(""),
    )
    return {tenant: rows * 100.0 / percent for tenant, rows in connection.execute(query)}


def _spread(graph: TableGraph, placed: PlacedTable, shares: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The table's rows as those of the table it leads to are spread."""
    parent = graph[placed.way.steps[0].table].table.name
    return {tenant: share * max(0, placed.rows) for tenant, share in shares.get(str(parent), {}).items()}


def _ids(root: PlacedTable) -> sql.Composed:
    return _queries["ids"].format(key=sql.Identifier("r", str(root.way.key)), table=root.table.source)
