"""Rows that belong to no tenant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from psycopg import sql

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground, Side
from shardwright.move.preflight.said import counted
from shardwright.transfer.graph import PlacedTable
from shardwright.transfer.rows import rows_with_tenant

_READ: Final = 200_000  # rows; of a larger table a sample of so many


@check("note", cure="NOT NULL, if there should be none")
def rows_of_nobody(ground: Ground) -> Iterator[Finding]:
    """Rows whose tenant key is null, or whose references end in null, move with nobody: they stay on the source.

    Counted in tables whose rows may have no tenant; of large tables estimated from a sample.
    """
    for placed in ground.tables:
        if placed.way.is_whole:
            continue
        if told := of_nobody(ground.source_side, placed):
            yield rows_of_nobody.note(f"{told} belong to no tenant, and stay there", shard=ground.source.name)


def of_nobody(side: Side, placed: PlacedTable) -> str:
    """How many rows of a table on a shard are nobody's: `3 rows of tasks on shard_0`; empty where there are none."""
    share = min(1.0, _READ / max(placed.rows, 1))
    count = _count(side, placed, share)
    rows = counted(count, "row") if share == 1 else f"about {counted(round(count / share), 'row')}"
    return f"{rows} of {side.shown(placed.table.name)} on {side.name}" if count else ""


def _count(side: Side, placed: PlacedTable, share: float) -> int:
    sample = sql.SQL("TABLESAMPLE SYSTEM ({})").format(sql.Literal(100 * share)) if share < 1 else sql.SQL("")
    query = sql.SQL("SELECT count(*) FROM {} AS r {} WHERE ({}) IS NOT TRUE").format(
        placed.table.source, sample, rows_with_tenant(side.graph, placed.table.name)
    )
    return int(side.one(query)[0])
