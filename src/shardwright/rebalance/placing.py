"""Units on shards while a plan is being made: what each shard carries, what room is left; sand is put in its places."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from shardwright.rebalance.model import STAY
from shardwright.rebalance.problem import Problem, Unit

_DUST = 1e-9  # loads are sums of floats


class Placing:
    """Where every unit is to be; begins with all of them staying."""

    def __init__(self, problem: Problem, *, frees: bool = False) -> None:
        self.problem, self.frees = problem, frees
        self.targets: dict[str, str] = {}
        self.carried = dict(problem.carried)
        self.level = problem.level()
        self.room = dict(problem.room)
        self.budget: float = inf if problem.rules.most_bytes is None else problem.rules.most_bytes

    def move(self, unit: Unit, target: str) -> None:
        """All of `unit` to `target`."""
        self.targets[unit.name] = target
        self._book(unit, target, 1)

    def undo(self, unit: Unit) -> str:
        """`unit` stays after all. Gives where it was to go."""
        target = self.targets.pop(unit.name)
        self._book(unit, target, -1)
        return target

    def _book(self, unit: Unit, target: str, sign: int) -> None:
        if unit.home in self.level:
            self.level[unit.home] += sign * unit.excess
        if target in self.level:
            self.level[target] -= sign * unit.excess
        for each in unit.leaving_for(target):
            self._carry(each.shard, -sign * self.problem.load[each.tenant])
            self._carry(target, sign * self.problem.load[each.tenant])
            self.budget -= sign * each.bytes
            self._fill(target, sign * each.bytes)
            if self.frees:
                self._fill(each.shard, -sign * each.bytes)

    def _carry(self, shard: str, load: float) -> None:
        self.carried[shard] += load
        if shard in self.problem.due:
            self.level[shard] += load / self.problem.due[shard]

    def _fill(self, shard: str, size: int) -> None:
        host = self.problem.host(shard)
        if host in self.room:
            self.room[host] -= size

    @property
    def cost(self) -> int:
        """Of all moves, in bytes; a write gap counts as some."""
        units = (unit for unit in self.problem.units if unit.name in self.targets)
        return sum(self.problem.cost(unit.leaving_for(self.targets[unit.name])) for unit in units)

    @property
    def worst(self) -> float:
        """The imbalance that is left and could be less, or what a shard to be filled will lack, if that is more."""
        return max(self.avoidable, self.lacking)

    @property
    def avoidable(self) -> float:
        """How much the most loaded shard has above its due, what is in excess left out."""
        return max((self.level[name] - 1 for name in self.problem.due), default=0.0)

    @property
    def lacking(self) -> float:
        """How much of its due the emptiest shard that is to be filled has not."""
        due = self.problem.due
        return max((1 - self.carried[name] / due[name] for name in self.problem.filled & due.keys()), default=0.0)

    @property
    def is_within(self) -> bool:
        """Whether budget and disks hold it, to the byte."""
        begun = self.problem.room
        return self.budget >= 0 and all(room >= min(0, begun[host]) for host, room in self.room.items())

    def place(self, units: Iterable[Unit], most: float) -> list[Unit]:
        """Each to the shard that carries least for its due, the largest first, none above `most`.

        Gives those who fit nowhere.
        """
        left = []
        for unit in sorted(units, key=lambda unit: (-unit.load, unit.name)):
            target = self._emptiest(unit, most)
            if target is None:
                left.append(unit)
            else:
                self.move(unit, target)
        return left

    def _emptiest(self, unit: Unit, most: float) -> str | None:
        size = sum(each.bytes for each in unit.members)
        fitting = [
            (self.level.get(target, 0.0) + self.problem.weight(unit, target), target)
            for target in unit.targets
            if size <= self.room.get(self.problem.host(target), size)
        ]
        level, target = min(fitting, default=(inf, STAY))
        return target if level <= 1 + most + _DUST and size <= self.budget else None

    def prune(self, most: float) -> None:
        """Takes out each move without which the shards are still no less even than `most`, the dearest first."""
        watched = {tenant for group in self.problem.apart for tenant in group}
        units = [unit for unit in self.problem.units if unit.name in self.targets]
        for unit in sorted(units, key=lambda unit: (-self.problem.cost(unit.members), unit.name)):
            is_free = (
                unit.home is not None and not unit.must and watched.isdisjoint(each.tenant for each in unit.members)
            )
            if is_free and self._could_stay(unit, most):
                self.undo(unit)

    def _could_stay(self, unit: Unit, most: float) -> bool:
        home, target, due = unit.home or "", self.targets[unit.name], self.problem.due
        if home in due and self.level[home] + self.problem.weight(unit, home) > 1 + most + _DUST:
            return False
        if self.frees:
            return False
        is_filled = target in self.problem.filled and target in due
        return not is_filled or (self.carried[target] - unit.load) / due[target] >= 1 - most - _DUST
