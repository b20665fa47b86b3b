"""How evenly the shards carry: the load of tenants and shards, and the imbalance."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from shardwright.config import Measure
from shardwright.rebalance.rules import Rules
from shardwright.rebalance.world import ShardState, TenantLoad, World

_OF: Final[Mapping[Measure, Callable[[TenantLoad], float]]] = {
    "tenants": lambda _: 1.0,
    "rows": lambda each: float(each.rows),
    "bytes": lambda each: float(each.bytes),
    "writes": lambda each: each.writes,
    "custom": lambda each: each.custom,
}


@dataclass(frozen=True, slots=True)
class Balance:
    """What each shard carries, in shares of its due: 1.0 is exactly that.

    A shard that is to be empty has no due, and is not among them. `avoidable` is the imbalance as a plan counts it: a
    tenant that is by itself more than a full shard, tolerance included, counts as a full one. `lacking` is how much of
    its due the emptiest of the shards that were to be filled has not; 0 where none was to be.
    """

    loads: Mapping[str, float]
    avoidable: float
    lacking: float = 0.0

    @property
    def imbalance(self) -> float:
        """How much the most loaded shard has above its due, as a share of it; 0.25 is a quarter."""
        return max(self.loads.values(), default=1.0) - 1.0

    @property
    def worst(self) -> float:
        """What a plan makes small: the avoidable imbalance, or what a shard to be filled lacks."""
        return max(self.avoidable, self.lacking)

    def as_dict(self) -> dict[str, Any]:
        """The balance as `--json` prints it."""
        loads = {name: round(load, 4) for name, load in self.loads.items()}
        figures = {"imbalance": self.imbalance, "avoidable": self.avoidable, "lacking": self.lacking}
        return {**{name: round(figure, 4) for name, figure in figures.items()}, "loads": loads}


def loads(world: World, rules: Rules) -> dict[str, float]:
    """Each tenant's load as a share of the fleet's: all together are 1, or 0 where nothing was measured.

    A measure in which the whole fleet has nothing does not count.
    """
    totals = {measure: sum(sorted(map(_OF[measure], world.tenants))) for measure in sorted(rules.measures)}
    weights = {measure: rules.measures[measure] for measure, total in totals.items() if total > 0}
    whole = sum(weights.values())
    return {
        each.tenant: sum(weight / whole * _OF[measure](each) / totals[measure] for measure, weight in weights.items())
        for each in world.tenants
    }


def dues(world: World, rules: Rules, empty: Collection[str] = ()) -> dict[str, float]:
    """What share of the fleet's load each shard is to carry; those of `empty` are not among them."""
    weights = {each.name: weight(each, rules) for each in sorted_shards(world) if each.name not in empty}
    whole = sum(weights.values())
    return {name: each / whole for name, each in weights.items()}


def weight(shard: ShardState, rules: Rules) -> float:
    """How much it is to carry beside the others."""
    return rules.shares.get(shard.name, shard.weight)


def sorted_shards(world: World) -> list[ShardState]:
    """The shards in an order that is always the same."""
    return sorted(world.shards, key=lambda each: each.name)
