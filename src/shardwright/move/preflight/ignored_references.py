"""References from ignored tables to the tenant's rows."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground
from shardwright.move.preflight.references import Reference
from shardwright.transfer.graph import with_partitions


@check("warning", cure="an UPDATE of the reference; or take the table out of tenants.ignored")
def ignored_references(ground: Ground) -> Iterator[Finding]:
    """Rows of ignored tables stay where they are, and what they refer to would be gone after the move."""
    for placed in ground.graph.tables:
        if placed.kind != "ignored":
            continue
        for table in with_partitions(placed):
            for key in table.foreign_keys:
                there = ground.graph.find(key.table)
                if there is None or not there.is_of_tenants:
                    continue
                if found := Reference(ground, table, key).crossing(own_is_child=False):
                    fact = f"{found.told}: they stay, and refer to nothing after the move"
                    yield ignored_references.warning(fact, found.cure, shard=ground.source.name)
