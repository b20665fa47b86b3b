"""The target has rows of the tenant already."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from psycopg import sql

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground
from shardwright.move.preflight.said import counted, script
from shardwright.transfer.graph import PlacedTable

_COUNTED: Final = 10_000


@check("error", cure="DELETE them, children first, once it is sure that they are of no use")
def target_rows(ground: Ground) -> Iterator[Finding]:
    """Rows of the tenant on the target are what somebody wrote in the wrong place, or what a move left behind.

    The move would not know whose they are, and its comparison would fail.
    """
    found = {each: count for each in ground.tables if (count := ground.count(ground.target_side, each, _COUNTED))}
    if found:
        told = ", ".join(
            f"{ground.target_side.shown(each.table.name)} ({counted(count, 'row', _COUNTED)})"
            for each, count in found.items()
        )
        fact = f"{ground.target.name} has rows of the tenant already: {told}"
        cure = script(_delete(ground, each) for each in reversed(found))
        yield target_rows.error(fact, cure, shard=ground.target.name)


def _delete(ground: Ground, placed: PlacedTable) -> str:
    condition = ground.is_of_tenant(placed.table.name)
    return sql.SQL("DELETE FROM {} AS r WHERE {}").format(placed.table.source, condition).as_string(ground.on_target)
