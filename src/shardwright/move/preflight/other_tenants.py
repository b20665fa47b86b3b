"""References between rows of this tenant and rows of others."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground
from shardwright.move.preflight.references import Reference
from shardwright.transfer.graph import PlacedTable, with_partitions
from shardwright.transfer.notes import loose_references


@check("error", cure="an UPDATE of the reference; a composite foreign key with the tenant key keeps it so")
def other_tenants(ground: Ground) -> Iterator[Finding]:
    """A reference to another tenant's row can't be kept when one of the two moves.

    It would break on the target, or on the source when the tenant's rows are cleaned away there; with
    `ON DELETE CASCADE` the other tenant's row would go with them. Asked of every foreign key that does not carry the
    tenant key, in both directions.
    """
    for placed in ground.tables:
        for reference in _references(ground, placed):
            for own_is_child in (True, False):
                if found := reference.crossing(own_is_child=own_is_child):
                    fact = f"{found.told}: {_consequence(reference, ground, own_is_child=own_is_child)}"
                    yield other_tenants.error(fact, found.cure, shard=ground.source.name)


def _references(ground: Ground, placed: PlacedTable) -> Iterator[Reference]:
    """Those between rows of tenants. Of several that may each say whose a row is, two can say different things."""
    keys = set(loose_references(ground.graph, placed))
    if len(placed.way.steps) > 1:
        keys |= set(placed.way.steps)
    for table in with_partitions(placed):
        for key in table.foreign_keys:
            there = ground.graph.find(key.table)
            if key in keys and there is not None and there.is_of_tenants:
                yield Reference(ground, table, key)


def _consequence(reference: Reference, ground: Ground, *, own_is_child: bool) -> str:
    if own_is_child:
        return f"it would refer to nothing on {ground.target.name}"
    action = reference.key.on_delete
    if action in {"cascade", "set null", "set default"}:
        return f"ON DELETE {action.upper()} would change them at the clean-up"
    return "it would refer to nothing after the clean-up"
