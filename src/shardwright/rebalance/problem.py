"""The plan as a question: which units may go where, which ought to leave, and how much room each host has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shardwright.rebalance.balance import dues, loads, sorted_shards
from shardwright.rebalance.rules import Rules
from shardwright.rebalance.world import ShardState, TenantLoad, World


@dataclass(frozen=True, slots=True)
class Unit:
    """Tenants that go together, most often one.

    `home` is the shard all of them are on, None where they are on several; `kin` are the shards they fit on, home
    among them where it takes tenants. `frozen` says why it can't go anywhere,
    `must` why it ought not to stay; both are empty most often. `excess` is how much more than a full shard it is on the
    shard that is best for it, in shares of that one's due: no plan can help that, so it does not count.
    """

    members: tuple[TenantLoad, ...]
    home: str | None
    targets: tuple[str, ...]
    kin: frozenset[str]
    load: float
    frozen: str = ""
    must: str = ""
    excess: float = 0.0

    @property
    def name(self) -> str:
        """Of its first tenant: no other unit has it."""
        return self.members[0].tenant

    def leaving_for(self, target: str) -> tuple[TenantLoad, ...]:
        """Those that would have to move for all to be on `target`."""
        return tuple(each for each in self.members if each.shard != target)


@dataclass(frozen=True, slots=True)
class Problem:
    """What a plan is to be made of. Sums are per shard or host; `due` has the shards that are to carry something."""

    rules: Rules
    units: tuple[Unit, ...]
    shards: Mapping[str, ShardState]
    load: Mapping[str, float]
    carried: Mapping[str, float]
    due: Mapping[str, float]
    room: Mapping[str, int]
    empty: frozenset[str]
    filled: frozenset[str]
    apart: tuple[frozenset[str], ...]
    at: Mapping[str, TenantLoad] = field(repr=False)

    def cost(self, movers: Sequence[TenantLoad]) -> int:
        """What their moves cost, in bytes; each write gap counts as some."""
        return sum(each.bytes + self.rules.gap_bytes for each in movers)

    def host(self, shard: str) -> str:
        """The server of that shard."""
        return self.shards[shard].host

    def weight(self, unit: Unit, shard: str) -> float:
        """How much it adds to what `shard` carries, in shares of that one's due, without what is in excess."""
        return unit.load / self.due[shard] - unit.excess if shard in self.due else 0.0

    def level(self) -> dict[str, float]:
        """What each shard carries, in shares of its due, without what is in excess."""
        found = {name: self.carried[name] / due for name, due in self.due.items()}
        for unit in self.units:
            if unit.home in found:
                found[unit.home] -= unit.excess
        return found

    @property
    def crowded(self) -> Iterator[tuple[frozenset[str], str]]:
        """Groups that are to be apart, with each shard on which more than one of them is."""
        for group in self.apart:
            places = [self.at[tenant].shard for tenant in sorted(group)]
            yield from ((group, shard) for shard in sorted(set(places)) if places.count(shard) > 1)


def pose(world: World, rules: Rules, *, empty: Collection[str] = (), only_to: Collection[str] = ()) -> Problem:
    """The question of `world` under `rules`; the same for the same world in whatever order its tuples are."""
    shards = {each.name: each for each in sorted_shards(world)}
    at = {each.tenant: each for each in sorted(world.tenants, key=lambda each: each.tenant)}
    load = loads(world, rules)
    takers = [name for name, each in shards.items() if each.takes_new and name not in empty]
    takers = [name for name in takers if not only_to or name in only_to]
    carried = dict.fromkeys(shards, 0.0)
    for each in at.values():
        carried[each.shard] += load[each.tenant]
    groups = _joined(group for group in rules.together)
    room = _room(world, rules)
    due = dues(world, rules, empty) if any(load.values()) else {}
    units = [
        _with_room(
            _unit([at[tenant] for tenant in sorted(group)], rules, shards, takers, empty, load), rules, shards, room
        )
        for group in _whole(groups, at)
    ]
    return Problem(
        rules=rules,
        units=tuple(_measured(each, due, rules) for each in sorted(units, key=lambda each: each.name)),
        shards=shards,
        load=load,
        carried=carried,
        due=due,
        room=room,
        empty=frozenset(empty),
        filled=frozenset(only_to) - frozenset(empty),
        apart=tuple(group for names in rules.apart if len(group := frozenset(names).intersection(at)) > 1),
        at=at,
    )


def _whole(groups: Sequence[set[str]], at: Mapping[str, TenantLoad]) -> Iterator[set[str]]:
    """Each tenant in exactly one group, those without one alone."""
    grouped = [known for group in groups if (known := group & at.keys())]
    yield from grouped
    in_one = set[str]().union(*grouped)
    yield from ({tenant} for tenant in at if tenant not in in_one)


def _joined(groups: Iterator[Sequence[str]]) -> list[set[str]]:
    """Groups that share a tenant are one."""
    found: list[set[str]] = []
    for names in groups:
        touching = [group for group in found if not group.isdisjoint(names)]
        found = [group for group in found if group.isdisjoint(names)]
        found.append(set(names).union(*touching))
    return found


def _unit(
    members: Sequence[TenantLoad],
    rules: Rules,
    shards: Mapping[str, ShardState],
    takers: Sequence[str],
    empty: Collection[str],
    load: Mapping[str, float],
) -> Unit:
    places = {each.shard for each in members}
    home = members[0].shard if len(places) == 1 else None
    labels = {label for each in members for label in each.labels.items()}
    fitting = [name for name in takers if labels <= shards[name].labels.items()] if labels else list(takers)
    pins = {each.shard for each in members if each.tenant in rules.pinned}
    if pins:
        fitting = [name for name in fitting if pins == {name}]
    frozen = _frozen(members, home, pins)
    return Unit(
        members=tuple(members),
        home=home,
        targets=() if frozen else tuple(name for name in fitting if name != home),
        kin=frozenset(fitting),
        load=sum(load[each.tenant] for each in members),
        frozen=frozen,
        must=_must(members, home, shards, empty),
    )


def _with_room(unit: Unit, rules: Rules, shards: Mapping[str, ShardState], room: Mapping[str, int]) -> Unit:
    """Without the targets that it is too large for, were it the only one to move."""

    if rules.most_bytes is None and not room:
        return unit

    def has_room(target: str) -> bool:
        size = sum(each.bytes for each in unit.leaving_for(target))
        is_within = rules.most_bytes is None or size <= rules.most_bytes
        host = shards[target].host
        return is_within and (rules.frees_after is not None or size <= max(0, room.get(host, size)))

    return replace(unit, targets=tuple(filter(has_room, unit.targets)))


def _measured(unit: Unit, due: Mapping[str, float], rules: Rules) -> Unit:
    """With its excess."""
    largest = max((due.get(name, 0.0) for name in (*unit.targets, unit.home or "")), default=0.0)
    excess = unit.load / largest - 1 - rules.tolerance if largest else 0.0
    return replace(unit, excess=excess) if excess > 0 else unit


def unlike(tenant: TenantLoad, shard: ShardState) -> list[str]:
    """The labels in which they differ."""
    return sorted(name for name, value in tenant.labels.items() if shard.labels.get(name) != value)


def _frozen(members: Sequence[TenantLoad], home: str | None, pins: Collection[str]) -> str:
    moving = [each.tenant for each in members if each.is_moving]
    if moving:
        return f"a move of {moving[0]} is open"
    if len(pins) > 1:
        return f"its group is pinned to {' and '.join(sorted(pins))}"
    return "pinned" if pins and home else ""


def _must(
    members: Sequence[TenantLoad], home: str | None, shards: Mapping[str, ShardState], empty: Collection[str]
) -> str:
    if home is None:
        return f"{' and '.join(each.tenant for each in members)} are to be together"
    if home in empty:
        return f"{home} is to be empty"
    for each in members:
        for name in unlike(each, shards[home]):
            there = shards[home].labels.get(name)
            return f"{each.tenant}'s {name} is {each.labels[name]}, and {home}'s is {there or 'not said'}"
    return ""


def _room(world: World, rules: Rules) -> dict[str, int]:
    """How many bytes may still come to each host whose disk is known; negative where it is too full already."""
    used: dict[str, int] = defaultdict(int)
    disk: dict[str, int] = {}
    for shard in world.shards:
        used[shard.host] += shard.bytes
        if shard.disk is not None:
            disk[shard.host] = min(shard.disk, disk.get(shard.host, shard.disk))
    return {host: int(size * rules.high_water) - used[host] for host, size in sorted(disk.items())}
