"""Which moves: the cheapest that reach the tolerance, or the most even there are where nothing does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor, inf
from typing import Final

from shardwright.rebalance.model import Model, Tightening, model_of
from shardwright.rebalance.placing import Placing
from shardwright.rebalance.problem import Problem
from shardwright.rebalance.program import Answer
from shardwright.rebalance.proposal import Bound
from shardwright.rebalance.shedding import Shedding

_FINE: Final = 1e-9
_COARSE: Final = 1e-2  # of the cost: closing the rest would take longer than copying it
_SMALL: Final = 400  # columns up to which a program is solved to its end
_MARGINS: Final = 0.0, 1e-7, 1e-5, 1e-5, 1e-5
_LARGE: Final = 1200  # columns from which on the best shard by shard is taken
_NEAR: Final = 1e-7
_METHOD: Final = "linear relaxation, raised by branch and bound (HiGHS)"


@dataclass(frozen=True, slots=True)
class Solution:
    """Each unit that goes, by name, with its target; and what no other solution does better."""

    targets: Mapping[str, str]
    bound: Bound


def solve(problem: Problem, tight: Tightening) -> Solution:
    """The best moves under `tight`. Raises ExtraMissing where the solver is not installed."""
    return _Search(problem, tight).run()


class _Search:
    """One model, aimed at one thing after the other: who has to leave, evenness, cost."""

    def __init__(self, problem: Problem, tight: Tightening) -> None:
        self.problem, self.tight = problem, tight
        self.model = model_of(problem, tight)
        self.units = {unit.name: unit for unit in problem.units}
        self.gap = _FINE if len(self.model.program.costs) <= _SMALL else _COARSE
        self.start: Sequence[float] | None = None

    def run(self) -> Solution:
        self._settle_who_leaves()
        goal = tolerance = self.problem.rules.tolerance
        lowest = self._relaxed_worst()
        for step in self._steps(max(goal, lowest)):
            if shed := self._shed(step):
                return self._solution(shed, lowest)
        if lowest <= goal + _NEAR and (found := self._cheapest(goal)):
            return self._solution(found, lowest)
        evenest, bound = self._evenest(goal)
        goal = max(goal, evenest.worst)
        found = self._cheapest(goal)
        if found is None or found[0].cost > evenest.cost:
            evenest.prune(goal)
            found = evenest, found[1] if found else 0.0
        return self._solution(found, max(bound, lowest) if bound > tolerance + _NEAR else lowest)

    def _steps(self, goal: float) -> list[float]:
        """How even a plan is tried to be, shard by shard: as can be; if the problem is large, nearly so as well."""
        if self.tight.cuts or self.left_behind:
            return []
        return [goal] if self.gap == _FINE else [goal + step for step in (0.0, 0.002, 0.005, 0.01, 0.02)]

    def _shed(self, goal: float) -> tuple[Placing, float] | None:
        """Where it is the best there is, or the problem so large that nothing better is looked for."""
        found = Shedding(self.problem).placed(goal)
        if found is None:
            return None
        placing, cost = found
        if placing.cost <= cost * (1 + self.gap) + 1 or len(self.model.program.costs) > _LARGE:
            return placing, cost
        return None

    def _solution(self, found: tuple[Placing, float], imbalance: float) -> Solution:
        placing, cost = found
        return Solution(placing.targets, Bound(imbalance, max(0, floor(cost + _NEAR)), _METHOD))

    # --- who has to leave -----------------------------------------------------------------

    def _settle_who_leaves(self) -> None:
        """From here on as few tenants as possible stay where they ought not to."""
        self.left_behind = False
        if not self.model.penalties:
            return
        self.model.aim_at_penalties()
        answer = self.model.program.solved(gap=_FINE)
        self.start = answer.values or None
        most = self.model.left_behind(answer) if answer.is_found else inf
        self.model.keep_penalties(most)
        self.left_behind = most > sum(min(0.0, weight) for weight in self.model.penalties.values())

    # --- how even -------------------------------------------------------------------------

    def _relaxed_worst(self) -> float:
        """What none can be below, budget and disks kept."""
        self.model.aim_at_worst(0.0)
        return max(0.0, self.model.program.relaxed().bound)

    def _evenest(self, goal: float) -> tuple[Placing, float]:
        """The most even placing found, and what none can be below."""
        self.model.aim_at_worst(goal)
        answer = self.model.program.solved(gap=self.gap, start=self.start)
        self.start = answer.values or self.start
        placing, _ = self._placing(self.model, answer, inf)
        return placing or self._evenest_with_margin(goal), answer.bound

    def _evenest_with_margin(self, goal: float) -> Placing:
        """Budget and disk a little smaller, since the answer passed them by what floats are inexact."""
        for margin in _MARGINS:
            model = self._tighter(margin, frozenset())
            model.aim_at_worst(goal)
            placing, _ = self._placing(model, model.program.solved(gap=self.gap), inf)
            if placing is not None:
                return placing
        return Placing(self.problem, frees=self.tight.frees)

    def _tighter(self, margin: float, staying: frozenset[str]) -> Model:
        model = model_of(self.problem, replace(self.tight, margin=margin, staying=staying))
        model.program.limits[model.penalty_row] = self.model.program.limits[self.model.penalty_row]
        return model

    # --- at what cost ----------------------------------------------------------------------

    def _cheapest(self, goal: float) -> tuple[Placing, float] | None:
        """The cheapest placing found that is no less even than `goal`, and what none costs less than."""
        self.model.aim_at_cost(goal)
        answer = self.model.program.solved(gap=self.gap, start=self.start)
        if not answer.is_found:
            return None
        bound = answer.bound * self.model.cost_scale
        placing, left = self._placing(self.model, answer, goal)
        for margin in _MARGINS:
            if placing is not None:
                break
            model = self._tighter(margin, left)
            model.aim_at_cost(goal)
            placing, more = self._placing(model, model.program.solved(gap=self.gap), goal)
            left |= more
        return (placing, bound) if placing else None

    def _placing(self, model: Model, answer: Answer, most: float) -> tuple[Placing | None, frozenset[str]]:
        """The answer with the sand in its places; None where that does not fit in, and then what did not."""
        if not answer.is_found:
            return None, frozenset()
        placing = Placing(self.problem, frees=self.tight.frees)
        for name, target in model.choices_made(answer.values):
            placing.move(self.units[name], target)
        left = placing.place((self.units[name] for name in model.sand_leaving(answer.values)), most)
        if (left and most < inf) or not placing.is_within:
            return None, frozenset(unit.name for unit in left if not unit.must)
        if most < inf:
            placing.prune(most)
        return placing, frozenset()
