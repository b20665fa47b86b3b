"""Does each moment of a plan keep the rules? Reads world, rules and moves alone, and shares no code with the solver."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations

from shardwright.rebalance.proposal import PlannedMove
from shardwright.rebalance.rules import Rules
from shardwright.rebalance.world import ShardState, TenantLoad, World


def broken(
    world: World,
    rules: Rules,
    moves: Sequence[PlannedMove],
    *,
    empty: Collection[str] = (),
    only_to: Collection[str] = (),
) -> tuple[str, ...]:
    """Every rule that `moves` would break at some moment, as a sentence; none where the plan is sound.

    Moves of one round are taken to happen in any order, and a copy to take its room from the begin of its round.
    """
    return tuple(_Watch(world, rules, moves, empty, only_to).faults())


class _Watch:
    def __init__(
        self,
        world: World,
        rules: Rules,
        moves: Sequence[PlannedMove],
        empty: Collection[str],
        only_to: Collection[str],
    ) -> None:
        self.rules, self.moves, self.empty, self.only_to = rules, moves, empty, only_to
        self.world = world
        self.tenants: Mapping[str, TenantLoad] = {each.tenant: each for each in world.tenants}
        self.shards: Mapping[str, ShardState] = {each.name: each for each in world.shards}
        self.by_tenant = {move.tenant: move for move in moves}
        self.last = max((move.round for move in moves), default=0)

    def faults(self) -> Iterator[str]:
        unfit = list(self._each_move())
        yield from unfit
        if any(move.target not in self.shards or move.tenant not in self.tenants for move in self.moves):
            return
        yield from self._numbers()
        yield from self._budget()
        yield from self._at_once()
        yield from self._disks()
        yield from self._groups_apart()
        yield from self._groups_together()

    # --- move by move ---------------------------------------------------------------------

    def _each_move(self) -> Iterator[str]:
        for tenant, count in Counter(move.tenant for move in self.moves).items():
            if count > 1:
                yield f"{tenant} moves {count} times"
        for move in self.moves:
            if move.tenant in self.tenants and move.target in self.shards:
                yield from self._of_move(move, self.tenants[move.tenant], self.shards[move.target])
            else:
                yield f"{move.tenant} or {move.target} is not there"

    def _of_move(self, move: PlannedMove, tenant: TenantLoad, target: ShardState) -> Iterator[str]:
        if move.source != tenant.shard or move.source == move.target:
            yield f"{move.tenant} does not go from {move.source} to {move.target}"
        if (move.bytes, move.rows) != (tenant.bytes, tenant.rows):
            yield f"{move.tenant} has other bytes or rows than its move says"
        if tenant.tenant in self.rules.pinned:
            yield f"{move.tenant} is pinned"
        if tenant.is_moving:
            yield f"{move.tenant} is moving already"
        if not target.takes_new or move.target in self.empty:
            yield f"{move.target} takes no tenants"
        if self.only_to and move.target not in self.only_to:
            yield f"{move.target} is not one of those to go to"
        for label, value in tenant.labels.items():
            if target.labels.get(label) != value:
                yield f"{move.tenant} is {label}={value}, and {move.target} is not"

    def _numbers(self) -> Iterator[str]:
        if [move.number for move in self.moves] != list(range(1, len(self.moves) + 1)):
            yield "the moves are not numbered in their order"
        rounds = [move.round for move in self.moves]
        if rounds != sorted(rounds) or (rounds and rounds[0] < 1):
            yield "the rounds are not in order"

    def _budget(self) -> Iterator[str]:
        size = sum(move.bytes for move in self.moves)
        if self.rules.most_bytes is not None and size > self.rules.most_bytes:
            yield f"{size} bytes are more than {self.rules.most_bytes}"

    # --- moment by moment -----------------------------------------------------------------

    def _at_once(self) -> Iterator[str]:
        touching: Counter[tuple[int, str]] = Counter()
        for move in self.moves:
            for host in {self._host(move.source), self._host(move.target)}:
                touching[move.round, host] += 1
        for (number, host), count in touching.items():
            if count > self.rules.per_host:
                yield f"in round {number} {count} moves touch {host}"

    def _disks(self) -> Iterator[str]:
        used: Counter[str] = Counter()
        disk: dict[str, int] = {}
        for shard in self.world.shards:
            used[shard.host] += shard.bytes
            if shard.disk is not None:
                disk[shard.host] = min(disk.get(shard.host, shard.disk), shard.disk)
        for number in range(1, self.last + 1):
            comes: Counter[str] = Counter()
            for move in self.moves:
                if move.round == number:
                    comes[self._host(move.target)] += move.bytes
                if self.rules.frees_after is not None and move.round + 1 + self.rules.frees_after == number:
                    used[self._host(move.source)] -= move.bytes
            used.update(comes)
            for host, size in comes.items():
                if size and host in disk and used[host] > disk[host] * self.rules.high_water:
                    yield f"in round {number} {host} is above its high-water mark"

    def _groups_apart(self) -> Iterator[str]:
        for group in self.rules.apart:
            known = sorted({tenant for tenant in group if tenant in self.tenants})
            for one, other in combinations(known, 2):
                begun = {self.tenants[one].shard} & {self.tenants[other].shard}
                for number in range(self.last + 1):
                    met = (self._places(one, number) & self._places(other, number)) - begun
                    if met:
                        yield f"{one} and {other} meet on {min(met)} in round {number}"

    def _places(self, tenant: str, number: int) -> set[str]:
        """Where it may be while round `number` goes on."""
        move = self.by_tenant.get(tenant)
        if move is None or number < move.round:
            return {self.tenants[tenant].shard}
        return {move.source, move.target} if number == move.round else {move.target}

    def _groups_together(self) -> Iterator[str]:
        for group in self._joined():
            begun = {self.tenants[tenant].shard for tenant in group}
            moved = {tenant: self.by_tenant[tenant] for tenant in group if tenant in self.by_tenant}
            if not moved:
                continue
            end = {moved[tenant].target if tenant in moved else self.tenants[tenant].shard for tenant in group}
            if len(end) > 1:
                yield f"{', '.join(sorted(group))} are not together in the end"
            for tenant in sorted(group - moved.keys()):
                if self.tenants[tenant].is_moving:
                    yield f"{tenant} is moving, and others join it where it is no longer, perhaps"
                labels = self.shards[min(end)].labels
                if any(labels.get(label) != value for label, value in self.tenants[tenant].labels.items()):
                    yield f"{tenant} is joined on {min(end)}, where it can't be"
            rounds = {move.round for move in moved.values()}
            if len(begun) == 1 and rounds != set(range(min(rounds), max(rounds) + 1)):
                yield f"{', '.join(sorted(group))} are parted for longer than their moves take"

    def _joined(self) -> list[set[str]]:
        """The groups of tenants that are to be together, directly or by others."""
        beside: dict[str, set[str]] = defaultdict(set)
        for group in self.rules.together:
            for tenant in group:
                beside[tenant] |= set(group) - {tenant}
        found, seen = [], set[str]()
        for tenant in sorted(beside):
            if tenant not in seen:
                whole = _reached(tenant, beside)
                seen |= whole
                found.append({each for each in whole if each in self.tenants})
        return [group for group in found if len(group) > 1]

    def _host(self, shard: str) -> str:
        return self.shards[shard].host


def _reached(tenant: str, beside: Mapping[str, set[str]]) -> set[str]:
    found, left = {tenant}, [tenant]
    while left:
        fresh = beside[left.pop()] - found
        found |= fresh
        left += sorted(fresh)
    return found
