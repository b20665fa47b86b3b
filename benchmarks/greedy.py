"""The greedy planner that plans are compared with: how Citus rebalances by size.

After `FindAndMoveShardCost` in citusdata/citus, src/backend/distributed/operations/shard_rebalancer.c (a04750a), with
its strategy `by_disk_size`: cost is bytes and 100 MB besides, threshold 10 %, improvement threshold 50 %. What Citus
calls a shard group is a tenant here, its node a shard of ours, all of one capacity.
"""

from __future__ import annotations

from collections.abc import Mapping

from shardwright.rebalance.world import World

BASE_COST = 100 * 2**20
THRESHOLD = 0.1
IMPROVEMENT = 0.5


class Greedy:
    """Moves one after the other, each the first that is good enough."""

    def __init__(self, world: World) -> None:
        self.costs: dict[str, dict[str, int]] = {each.name: {} for each in world.shards}
        for each in world.tenants:
            self.costs[each.shard][each.tenant] = each.bytes + BASE_COST
        self.used = {name: sum(costs.values()) for name, costs in self.costs.items()}
        self.average = sum(self.used.values()) / len(self.used)
        self.moves: dict[str, str] = {}

    def plan(self) -> Mapping[str, str]:
        """The last target of each tenant that moves."""
        while self._move():
            pass
        return self.moves

    def _move(self) -> bool:
        low, high = self.average * (1 - THRESHOLD), self.average * (1 + THRESHOLD)
        fullest = sorted(self.used, key=lambda name: (-self.used[name], name))
        for source in fullest:
            if self.used[source] <= low:
                return False
            for target in reversed(fullest):
                if self.used[target] >= high or (self.used[target] >= low and self.used[source] <= high):
                    break
                if self._first_good(source, target):
                    return True
        return False

    def _first_good(self, source: str, target: str) -> bool:
        for tenant, cost in sorted(self.costs[source].items(), key=lambda each: (-each[1], each[0])):
            if self._is_good(self.used[source], self.used[target], cost):
                self.costs[target][tenant] = self.costs[source].pop(tenant)
                self.used[source] -= cost
                self.used[target] += cost
                self.moves[tenant] = target
                return True
        return False

    @staticmethod
    def _is_good(source: int, target: int, cost: int) -> bool:
        if target + cost <= source - cost:
            return True
        if target + cost >= source:
            return False
        return (source - target - cost) / cost >= IMPROVEMENT
