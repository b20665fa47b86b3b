"""Tenants that come after the start: the change takes them along, on the side where their rows are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shardwright.bluegreen.lanes import Lane
from shardwright.bluegreen.sets import Sets
from shardwright.runs.store import operator
from shardwright.transfer.everyone import Tenant


def write_down(sets: Sets, lanes: Sequence[Lane], shard: str, tenants: Iterable[str]) -> list[Tenant]:
    """The control database has these tenants, whose rows are on `shard`, in the change: a new one in the shard's lane
    with the fewest. Their shards still have to be told. Raises Superseded."""
    if not (names := {*tenants}):
        return []
    run, runner, pairs = sets.context.run, sets.context.runner, [lane.pair for lane in lanes]
    with sets.control() as changes:
        found = changes.tenants(run, pairs, named=names)  # whoever wrote them down may have died over the shards
        counts = {(each.blue, each.green): each.tenants for each in changes.lanes(run)}
        for name in sorted(names - {each.tenant for each in found}):
            blue, green = min((pair for pair in pairs if shard in pair), key=lambda pair: counts[pair])
            counts[blue, green] += 1
            found.append(Tenant(name, blue, green, at_green=shard == green))
            changes.adopt(run, runner, found[-1], by=operator())
    return found
