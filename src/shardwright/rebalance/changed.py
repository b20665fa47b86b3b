"""Whether the fleet is still as the moves that are left were planned for; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shardwright.rebalance.check import broken
from shardwright.rebalance.options import RebalanceOptions
from shardwright.rebalance.proposal import PlannedMove
from shardwright.rebalance.rules import Rules
from shardwright.rebalance.store import Line
from shardwright.rebalance.world import World


def changed(world: World, rules: Rules, options: RebalanceOptions, todo: Sequence[Line]) -> list[str]:
    """What speaks against these moves now, in words; empty where they are as good as when they were planned."""
    if elsewhere := list(_elsewhere(world, todo)):
        return elsewhere
    return list(broken(world, rules, list(_moves(world, todo)), empty=options.empty, only_to=options.only_to))


def _elsewhere(world: World, todo: Sequence[Line]) -> Iterator[str]:
    tenants = {each.tenant: each for each in world.tenants}
    for line in todo:
        present = tenants.get(line.tenant)
        if present is None:
            yield f"{line.tenant} is gone"
        elif (present.shard, present.epoch) != (line.source, line.epoch):
            yield f"{line.tenant} is on {present.shard} since epoch {present.epoch}"
        elif present.is_moving:
            yield f"{line.tenant} is on the move"


def _moves(world: World, todo: Sequence[Line]) -> Iterator[PlannedMove]:
    """The moves with the figures of now, as a plan that begins with them."""
    tenants = {each.tenant: each for each in world.tenants}
    first = min((line.round for line in todo), default=1)
    for number, line in enumerate(todo, start=1):
        now = tenants[line.tenant]
        yield PlannedMove(
            number, line.tenant, line.source, line.target, now.bytes, now.rows, now.writes, line.load,
            line.round - first + 1, line.why,
        )  # fmt: skip
