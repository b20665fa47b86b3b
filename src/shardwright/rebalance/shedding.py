"""What leaves a shard that carries too much: the cheapest of its tenants that bring it down; a knapsack for each shard.

The sum over all shards is a bound: whatever a plan does, each shard has to give away so much at least. Where all that
leaves finds a place the bound is reached, and the plan is proven the cheapest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import inf
from typing import Final

from shardwright.rebalance.model import is_open
from shardwright.rebalance.placing import Placing
from shardwright.rebalance.problem import Problem, Unit
from shardwright.rebalance.program import Answer, Program

_FINE, _COARSELY, _MANY = 1e-6, 1e-2, 20  # the gap of a knapsack, and of one with so many tenants in it
_TRIES: Final = 12
_NODES: Final = 20
_COARSE: Final = 0.25, inf  # of a shard: from here on place is made, and not others taken in its stead; both are tried
_DUST: Final = 1e-9


class Shedding:
    """The problem shard by shard, as long as no rule ties shards together otherwise than by what they carry."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.level = problem.level()
        special = {tenant for group in problem.apart for tenant in group}
        self.items: dict[str, list[Unit]] = defaultdict(list)
        self.answers: dict[tuple[object, ...], Answer] = {}
        self.is_tied = False
        for unit in problem.units:
            if unit.home is not None and is_open(unit):
                self.items[unit.home].append(unit)
            self.is_tied |= unit.home is None or (
                is_open(unit) and any(each.tenant in special for each in unit.members)
            )
            self.is_tied |= bool(unit.must) and not is_open(unit)

    def placed(self, most: float) -> tuple[Placing, float] | None:
        """The cheapest placing that leaves no shard above `most`, and what none costs less than; None: not found."""
        problem = self.problem
        if self.is_tied or any(problem.carried[name] < problem.due[name] * (1 - most) for name in self._filled()):
            return None
        bound = _Attempt(self, most, inf).choose()
        if bound is None:
            return None
        found = [placing for coarse in _COARSE if (placing := self._tried(_Attempt(self, most, coarse)))]
        return (min(found, key=lambda placing: placing.cost), bound) if found else None

    def _tried(self, attempt: _Attempt) -> Placing | None:
        for _ in range(_TRIES):
            if attempt.choose() is None:
                return None
            placing, left = attempt.place()
            if not left and placing.is_within and placing.worst <= attempt.most + _DUST * 10:
                placing.prune(attempt.most)
                return placing
            if not attempt.learn(placing, left):
                return None
        return None

    def _filled(self) -> Iterator[str]:
        return (name for name in sorted(self.problem.filled) if name in self.problem.due)


class _Attempt:
    """Who leaves each shard, as far as is known: `stay` found no place, and are so small that others do as well;
    `fixed` found none either and are large: place is made for them where it is cheapest to make.
    """

    def __init__(self, shedding: Shedding, most: float, coarse: float) -> None:
        self.shedding, self.problem, self.most, self.coarse = shedding, shedding.problem, most, coarse
        self.leaving: dict[str, list[Unit]] = {}
        self.costs: dict[str, float] = {}
        self.stay: set[str] = set()
        self.fixed: dict[str, str] = {}
        self.coming: dict[str, float] = defaultdict(float)

    def choose(self) -> float | None:
        """Answers for each shard that has none that still holds; what all cost at least. None: there is none."""
        for shard in sorted(self.shedding.items):
            if shard not in self.leaving and self._has_to_give(shard) and not self._knapsack(shard):
                return None
        return sum(self.costs.values())

    def place(self) -> tuple[Placing, list[Unit]]:
        """All who leave in their places, and those who have found none."""
        placing = Placing(self.problem, frees=self.problem.rules.frees_after is not None)
        units = [unit for units in self.leaving.values() for unit in units]
        for unit in units:
            if unit.name in self.fixed:
                placing.move(unit, self.fixed[unit.name])
        return placing, placing.place((unit for unit in units if unit.name not in self.fixed), self.most)

    def learn(self, placing: Placing, left: Sequence[Unit]) -> bool:
        """What to do otherwise next time. False: nothing."""
        for unit in left:
            self.leaving.pop(unit.home or "", None)
            if self.problem.weight(unit, unit.home or "") < self.coarse and not unit.must:
                self.stay.add(unit.name)
            elif not self._make_place(unit, placing):
                return False
        return bool(left)

    def _make_place(self, unit: Unit, placing: Placing) -> bool:
        size = sum(each.bytes for each in unit.members)
        level = self.shedding.level
        fitting = [
            (level[target] + self.coming[target] + self.problem.weight(unit, target), target)
            for target in unit.targets
            if target in level and size <= placing.room.get(self.problem.host(target), size)
        ]
        if not fitting:
            return False
        target = min(fitting)[1]
        self.fixed[unit.name] = target
        self.coming[target] += self.problem.weight(unit, target)
        self.leaving.pop(target, None)
        return True

    def _too_much(self, shard: str) -> float:
        return self.shedding.level.get(shard, 0.0) + self.coming[shard] - 1 - self.most

    def _has_to_give(self, shard: str) -> bool:
        return self._too_much(shard) > _DUST or any(
            unit.must or unit.name in self.fixed for unit in self.shedding.items[shard]
        )

    def _knapsack(self, shard: str) -> bool:
        """Who leaves `shard`, the cheapest; False: whoever leaves, it is not enough."""
        units = self.shedding.items[shard]
        costs = [self.problem.cost(unit.members) for unit in units]
        scale = max(1.0, sum(costs) / len(costs))
        program = Program()
        row = program.row(lower=self._too_much(shard))
        for unit, cost in zip(units, costs, strict=True):
            is_bound = bool(unit.must) or unit.name in self.fixed
            is_free = unit.name not in self.stay
            program.column(
                {row: self.problem.weight(unit, shard)},
                cost=cost / scale,
                lower=float(is_bound),
                upper=float(is_free),
                whole=True,
            )
        answer = self._answer(program, shard)
        self.leaving[shard] = [unit for unit, value in zip(units, answer.values, strict=False) if value > 0.5]
        self.costs[shard] = answer.bound * scale
        return answer.is_found

    def _answer(self, program: Program, shard: str) -> Answer:
        """The program's; that of an earlier attempt where it was asked the same."""
        asked = (shard, tuple(program.lowers), tuple(program.uppers), *program.limits)
        if asked not in self.shedding.answers:
            is_small = len(program.costs) <= _MANY
            answer = program.solved(gap=_FINE) if is_small else program.solved(gap=_COARSELY, nodes=_NODES)
            self.shedding.answers[asked] = answer
        return self.shedding.answers[asked]
