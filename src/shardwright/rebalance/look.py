"""The fleet as it is now, and what the planner says to it."""

from __future__ import annotations

from datetime import timedelta

from shardwright.config import FleetConfig
from shardwright.rebalance.load import ensure_measured
from shardwright.rebalance.options import RebalanceOptions
from shardwright.rebalance.plan import plan
from shardwright.rebalance.proposal import RebalancePlan
from shardwright.rebalance.read import read_world
from shardwright.rebalance.rules import Rules
from shardwright.rebalance.store import NewLine
from shardwright.rebalance.world import World


def look(fleet: FleetConfig, *, fresh: timedelta | None = None) -> World:
    """Where everybody is, and how large the shards are; tenants measured anew where their figures are older than
    `fresh`. Raises ShardsSilent."""
    if fresh is not None:
        ensure_measured(fleet, fresh)
    return read_world(fleet)


def plan_for(world: World, rules: Rules, options: RebalanceOptions) -> RebalancePlan:
    """What is to be moved, as far as the rules let. Raises what `plan` raises."""
    return plan(world, rules, empty=options.empty, only_to=options.only_to)


def new_lines(world: World, found: RebalancePlan) -> list[NewLine]:
    """The moves of the plan as they are kept."""
    epochs = {each.tenant: each.epoch for each in world.tenants}
    return [
        NewLine(
            each.round, each.tenant, each.source, each.target, epochs[each.tenant],
            bytes=each.bytes, rows=each.rows, writes=each.writes, load=each.load, why=each.why,
        )
        for each in found.moves
    ]  # fmt: skip
