"""Whether the fleet is still as the moves that are left were planned for; pure."""

from __future__ import annotations

from collections.abc import Sequence

from shardwright.rebalance.rules import Rules
from shardwright.rebalance.store import Line
from shardwright.rebalance.world import World


def changed(world: World, rules: Rules, todo: Sequence[Line]) -> list[str]:
    """What speaks against these moves now, in words; empty where they are as good as when they were planned."""
    return [*_placed_elsewhere(world, todo), *_closed(world, todo), *_too_full(world, rules, todo)]


def _placed_elsewhere(world: World, todo: Sequence[Line]) -> list[str]:
    tenants = {each.tenant: each for each in world.tenants}
    reasons = []
    for line in todo:
        present = tenants.get(line.tenant)
        if present is None:
            reasons.append(f"{line.tenant} is gone")
        elif (present.shard, present.epoch) != (line.source, line.epoch):
            reasons.append(f"{line.tenant} is on {present.shard} since epoch {present.epoch}")
        elif present.is_moving:
            reasons.append(f"{line.tenant} is on the move")
    return reasons


def _closed(world: World, todo: Sequence[Line]) -> list[str]:
    takes_new = {shard.name: shard.takes_new for shard in world.shards}
    targets = sorted({line.target for line in todo})
    return [f"{name} takes no tenants any more" for name in targets if not takes_new.get(name, False)]


def _too_full(world: World, rules: Rules, todo: Sequence[Line]) -> list[str]:
    """Hosts whose disk would be fuller than the high water once all that is left has come, nothing being freed."""
    hosts = {shard.name: shard.host for shard in world.shards}
    full = []
    for host in sorted({*hosts.values()}):
        shards = [shard for shard in world.shards if shard.host == host]
        disk = next((shard.disk for shard in shards if shard.disk is not None), None)
        coming = sum(line.bytes for line in todo if hosts.get(line.target) == host)
        used = sum(shard.bytes for shard in shards)
        if disk is not None and coming and used + coming > rules.high_water * disk:
            full.append(f"{host} would be fuller than {rules.high_water:.0%}")
    return full
