"""What leaves a shard that carries too much: the cheapest of its tenants that bring it down; a knapsack for each shard.

The sum over all shards is a bound: whatever a plan does, each shard has to give away so much at least. Where all that
leaves finds a place the bound is reached, and the plan is proven the cheapest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from shardwright.rebalance.model import is_open
from shardwright.rebalance.placing import Placing
from shardwright.rebalance.problem import Problem, Unit
from shardwright.rebalance.program import Program

_GAP: Final = 1e-6
_TRIES: Final = 8
_DUST: Final = 1e-9


class Shedding:
    """The problem shard by shard, as long as no rule ties shards together otherwise than by what they carry."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.level = problem.level()
        special = {tenant for group in problem.apart for tenant in group}
        self.items: dict[str, list[Unit]] = defaultdict(list)
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
        leaving: dict[str, list[Unit]] = {}
        bound, stay = 0.0, set[str]()
        for attempt in range(_TRIES):
            for shard in self._to_solve(leaving, stay, most):
                found = self._knapsack(shard, most, stay)
                if found is None:
                    return None
                leaving[shard], least = found
                bound += least if attempt == 0 else 0.0
            placing = Placing(problem, frees=problem.rules.frees_after is not None)
            left = placing.place((unit for units in leaving.values() for unit in units), most)
            if not placing.is_within or any(unit.must for unit in left):
                return None
            if not left:
                placing.prune(most)
                return placing, bound
            stay |= {unit.name for unit in left}
        return None

    def _filled(self) -> Iterator[str]:
        return (name for name in sorted(self.problem.filled) if name in self.problem.due)

    def _to_solve(self, leaving: Mapping[str, Sequence[Unit]], stay: Collection[str], most: float) -> list[str]:
        """Shards that carry too much, or are to be empty, and have no answer that still holds."""
        return [
            shard
            for shard, units in sorted(self.items.items())
            if (self.level.get(shard, 0.0) > 1 + most + _DUST or any(unit.must for unit in units))
            and (shard not in leaving or any(unit.name in stay for unit in leaving[shard]))
        ]

    def _knapsack(self, shard: str, most: float, stay: Collection[str]) -> tuple[list[Unit], float] | None:
        """Who leaves `shard`, and what that costs at least; `stay` may not."""
        due, units = self.problem.due.get(shard, 1.0), self.items[shard]
        costs = [self.problem.cost(unit.members) for unit in units]
        scale = max(1.0, sum(costs) / len(costs))
        program = Program()
        row = program.row(lower=self.level.get(shard, 0.0) - 1 - most)
        for unit, cost in zip(units, costs, strict=True):
            may_go = unit.name not in stay
            weight = unit.load / due - unit.excess
            is_bound = bool(unit.must)
            program.column({row: weight}, cost=cost / scale, lower=float(is_bound), upper=float(may_go), whole=True)
        answer = program.solved(gap=_GAP)
        if not answer.is_found:
            return None
        chosen = [unit for unit, value in zip(units, answer.values, strict=True) if value > 0.5]
        return chosen, answer.bound * scale
