"""Small worlds for the planner, and what the best plan of one is, found by trying every one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import permutations, product

from hypothesis import strategies as st

from shardwright.rebalance.check import broken
from shardwright.rebalance.plan import PlannedMove
from shardwright.rebalance.rules import Rules
from shardwright.rebalance.world import ShardState, TenantLoad, World

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
BY_BYTES = Rules(measures={"bytes": 1.0}, gap_bytes=1)


def tenant(name: str, shard: str, size: int = 10, **more: object) -> TenantLoad:
    return replace(TenantLoad(name, shard, 1, rows=size, bytes=size), **more)  # type: ignore[arg-type]


def world(tenants: Sequence[TenantLoad], shards: Sequence[str | ShardState]) -> World:
    """Each shard on a host of its own, with the bytes of its tenants, where nothing else is said."""
    states = [each if isinstance(each, ShardState) else ShardState(each, f"host-{each}") for each in shards]
    used = {name: sum(each.bytes for each in tenants if each.shard == name) for name in (each.name for each in states)}
    sized = tuple(replace(each, bytes=each.bytes or used[each.name]) for each in states)
    return World("main", NOON, tuple(tenants), sized)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, Rules, frozenset[str], frozenset[str]]:
    """A world of two to four shards and up to five tenants, rules of every kind, and shards to empty or to fill."""
    names = [f"s{number}" for number in range(draw(st.integers(2, 4)))]
    regions = st.sampled_from(["", "", "eu", "us"])
    shards = [
        ShardState(
            name,
            f"h{number // draw(st.sampled_from([1, 2]))}",
            labels=_label(draw(regions)),
            weight=draw(st.sampled_from([1.0, 1.0, 2.0])),
            takes_new=draw(st.sampled_from([True, True, True, False])),
        )
        for number, name in enumerate(names)
    ]
    tenants = [
        tenant(
            f"t{number}",
            draw(st.sampled_from(names)),
            draw(st.integers(0, 12)),
            writes=float(draw(st.integers(0, 5))),
            labels=_label(draw(regions)),
            is_moving=draw(st.sampled_from([False] * 9 + [True])),
        )
        for number in range(draw(st.integers(1, 5)))
    ]
    made = world(tenants, shards)
    disk = draw(st.sampled_from([None, None, 20, 30, 60]))
    made = replace(made, shards=tuple(replace(each, disk=disk) for each in made.shards))
    some = st.lists(st.sampled_from([each.tenant for each in tenants]), unique=True, max_size=3)
    together, apart = draw(some), draw(some)
    if len(set(together) & set(apart)) > 1:
        apart = []
    rules = Rules(
        measures=draw(st.sampled_from([{"bytes": 1.0}, {"bytes": 1.0, "writes": 1.0}, {"tenants": 1.0}])),
        tolerance=draw(st.sampled_from([0.1, 0.3])),
        most_bytes=draw(st.sampled_from([None, None, 5, 15])),
        per_host=draw(st.sampled_from([1, 2])),
        pinned=frozenset(draw(st.lists(st.sampled_from([each.tenant for each in tenants]), max_size=1))),
        together=(tuple(together),) if len(together) > 1 else (),
        apart=(tuple(apart),) if len(apart) > 1 else (),
        shares=draw(st.sampled_from([{}, {"s0": 3.0}])),
        frees_after=draw(st.sampled_from([None, None, None, 0, 1])),
        gap_bytes=1,
    )
    empty = frozenset(draw(st.lists(st.sampled_from(names), max_size=1)))
    only_to = frozenset(draw(st.lists(st.sampled_from(names), max_size=draw(st.sampled_from([0, 0, 0, 1])))))
    return made, rules, empty, only_to - empty


def _label(region: str) -> Mapping[str, str]:
    return {"region": region} if region else {}


# --- every plan there is ----------------------------------------------------------------------
# Written from the documentation, and with the checker, so that it shares nothing with the solver.

Score = tuple[int, float, int]  # tenants left where they ought not to be, evenness beyond the tolerance, cost


class Every:
    """Every placement of the tenants of a world that rules let pass, and how good each is."""

    def __init__(self, made: World, rules: Rules, empty: Collection[str] = (), only_to: Collection[str] = ()) -> None:
        self.made, self.rules, self.empty, self.only_to = made, rules, empty, only_to
        self.tenants = sorted(made.tenants, key=lambda each: each.tenant)
        self.shards = {each.name: each for each in made.shards}
        self.loads = self._loads()
        weights = {name: rules.shares.get(name, each.weight) for name, each in self.shards.items() if name not in empty}
        self.due = {name: weight / sum(weights.values()) for name, weight in weights.items()}
        self.groups = self._groups()
        self.excess = [self._excess(group) for group in self.groups]

    def best(self) -> Score:
        """The score of the best plan."""
        all_targets = product(sorted(self.shards), repeat=len(self.tenants))
        names = [each.tenant for each in self.tenants]
        scored: list[tuple[Score, dict[str, str]]] = [
            (self.score(places), places)
            for targets in all_targets
            if (places := dict(zip(names, targets, strict=True)))
        ]
        scored.sort(key=lambda each: each[0])
        for score, places in scored:
            if self._is_possible(places):
                return score
        raise AssertionError("to move nobody is always possible")

    def score(self, places: Mapping[str, str]) -> Score:
        """How good it is that tenants end there; less is better."""
        cost = sum(each.bytes + self.rules.gap_bytes for each in self.tenants if places[each.tenant] != each.shard)
        worst = max(self.avoidable(places), self.lacking(places), self.rules.tolerance)
        return self._misplaced(places), round(worst, 6), cost

    def avoidable(self, places: Mapping[str, str]) -> float:
        """The imbalance without what is in excess."""
        level = {name: self._carried(places, name) / due for name, due in self.due.items()}
        for group, excess in zip(self.groups, self.excess, strict=True):
            ends = {places[each.tenant] for each in group}
            if len(ends) == 1 and (end := ends.pop()) in level:
                level[end] -= excess
        return max((each - 1 for each in level.values()), default=0.0) if any(self.loads.values()) else 0.0

    def lacking(self, places: Mapping[str, str]) -> float:
        """What the emptiest shard that is to be filled lacks."""
        found = (1 - self._carried(places, name) / self.due[name] for name in self.only_to if name in self.due)
        return max(found, default=0.0) if any(self.loads.values()) else 0.0

    def _misplaced(self, places: Mapping[str, str]) -> int:
        wrong = sum(len(group) for group in self.groups if self._is_misplaced(group, places))
        apart = (Counter(places[name] for name in set(group) & places.keys()) for group in self.rules.apart)
        return wrong + sum(max(0, count - 1) for counts in apart for count in counts.values())

    def _is_misplaced(self, group: Sequence[TenantLoad], places: Mapping[str, str]) -> bool:
        ends = {places[each.tenant] for each in group}
        return len(ends) > 1 or bool(ends & set(self.empty)) or any(self._is_unfit(each, places) for each in group)

    def _is_unfit(self, each: TenantLoad, places: Mapping[str, str]) -> bool:
        return not each.labels.items() <= self.shards[places[each.tenant]].labels.items()

    def _carried(self, places: Mapping[str, str], name: str) -> float:
        return sum(self.loads[tenant] for tenant, place in places.items() if place == name)

    def _loads(self) -> dict[str, float]:
        found = dict.fromkeys((each.tenant for each in self.tenants), 0.0)
        values: dict[str, Callable[[TenantLoad], float]] = {
            "tenants": lambda _: 1.0,
            "bytes": lambda each: each.bytes,
            "writes": lambda each: each.writes,
        }
        totals = {name: sum(map(values[name], self.tenants)) for name in self.rules.measures}
        counted = [name for name, total in totals.items() if total]
        for each in self.tenants:
            for name in counted:
                found[each.tenant] += values[name](each) / totals[name] / len(counted)
        return found

    def _groups(self) -> list[list[TenantLoad]]:
        named = [set(group) for group in self.rules.together]
        alone = [{each.tenant} for each in self.tenants if not any(each.tenant in group for group in named)]
        found = ([each for each in self.tenants if each.tenant in group] for group in [*named, *alone])
        return [group for group in found if group]

    def _excess(self, group: Sequence[TenantLoad]) -> float:
        """How much more than full a shard is that has this group alone, the best one it could be on."""
        load = sum(self.loads[each.tenant] for each in group)
        homes = {each.shard for each in group}
        ends = [name for name in self.due if homes == {name} or self._may_go(group, name)]
        return max(0.0, min((load / self.due[name] for name in ends), default=0.0) - 1 - self.rules.tolerance)

    def _may_go(self, group: Sequence[TenantLoad], name: str) -> bool:
        places = {each.tenant: each.shard for each in self.tenants} | {each.tenant: name for each in group}
        rules = replace(self.rules, apart=(), per_host=99)
        is_whole = not any(each.is_moving or (each.tenant in rules.pinned and each.shard != name) for each in group)
        return is_whole and not self._broken(rules, places, [1] * len(self.tenants))

    # --- what the rules let pass ----------------------------------------------------------

    def _is_possible(self, places: Mapping[str, str]) -> bool:
        """Whether the moves that lead there keep every rule in some order, one at a time."""
        if self._broken(replace(self.rules, apart=(), per_host=99), places, [1] * len(self.tenants)):
            return False
        movers = sum(places[each.tenant] != each.shard for each in self.tenants)
        orders = permutations(range(1, movers + 1)) if self.rules.apart else [tuple(range(1, movers + 1))]
        return any(not self._broken(replace(self.rules, together=()), places, rounds) for rounds in orders)

    def _broken(self, rules: Rules, places: Mapping[str, str], rounds: Sequence[int]) -> bool:
        movers = [each for each in self.tenants if places[each.tenant] != each.shard]
        ordered = sorted(zip(rounds, movers, strict=False), key=lambda each: each[0])
        moves = [move(number, each, places[each.tenant], at) for number, (at, each) in enumerate(ordered, 1)]
        return bool(broken(self.made, rules, moves, empty=self.empty, only_to=self.only_to))


def move(number: int, each: TenantLoad, target: str, at: int) -> PlannedMove:
    return PlannedMove(number, each.tenant, each.shard, target, each.bytes, each.rows, each.writes, 0.0, at, "")
