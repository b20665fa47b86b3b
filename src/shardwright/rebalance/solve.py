"""Which moves: the cheapest that reach the tolerance, or the most even there are where nothing does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor, inf
from typing import Final

from shardwright.rebalance.model import Model, Tightening, is_open, model_of
from shardwright.rebalance.placing import Placing
from shardwright.rebalance.problem import Problem, Unit
from shardwright.rebalance.program import Answer
from shardwright.rebalance.proposal import Bound

_FINE: Final = 1e-9
_COARSE: Final = 5e-3  # of the cost: closing the rest would take longer than copying it
_SMALL: Final = 400  # columns up to which a program is solved to its end
_TIGHTER: Final = (0.0, 1e-7), (0.5, 1e-6), (1.0, 1e-5)  # shares of the largest grain, of budget and disk
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
        least, tolerance = self._least_worst(), self.problem.rules.tolerance
        goal = max(least, tolerance)
        lowest = self._relaxed_worst(least)
        if lowest <= goal + _NEAR and (found := self._cheapest(goal)):
            return self._solution(found, lowest)
        evenest, bound = self._evenest(goal)
        goal = max(goal, evenest.worst)
        found = self._cheapest(goal)
        if found is None or found[0].cost > evenest.cost:
            evenest.prune(goal)
            found = evenest, found[1] if found else 0.0
        return self._solution(found, max(bound, lowest) if bound > tolerance + _NEAR else lowest)

    def _solution(self, found: tuple[Placing, float], imbalance: float) -> Solution:
        placing, cost = found
        return Solution(placing.targets, Bound(imbalance, max(0, floor(cost + _NEAR)), _METHOD))

    # --- who has to leave -----------------------------------------------------------------

    def _settle_who_leaves(self) -> None:
        """From here on as few tenants as possible stay where they ought not to."""
        if not self.model.penalties:
            return
        self.model.aim_at_penalties()
        answer = self.model.program.solved(gap=_FINE)
        self.start = answer.values or None
        self.model.keep_penalties(self.model.left_behind(answer) if answer.is_found else inf)

    # --- how even -------------------------------------------------------------------------

    def _least_worst(self) -> float:
        """A tenant can't be divided: some shard carries all of it."""
        return max((self._alone(unit) for unit in self.problem.units), default=0.0)

    def _alone(self, unit: Unit) -> float:
        due = self.problem.due
        places = [*(unit.targets if is_open(unit) else ()), *([unit.home] if unit.home else ())]
        if unit.home is None or any(name not in due for name in places):
            return 0.0
        return min(unit.load / due[name] for name in places) - 1

    def _relaxed_worst(self, least: float) -> float:
        self.model.aim_at_worst(max(0.0, least))
        return max(0.0, least, self.model.program.relaxed().bound)

    def _evenest(self, goal: float) -> tuple[Placing, float]:
        """The most even placing found, and what none can be below."""
        self.model.aim_at_worst(goal)
        answer = self.model.program.solved(gap=self.gap, start=self.start)
        self.start = answer.values or self.start
        placing = self._placing(self.model, answer, inf) or self._evenest_with_margin(goal)
        return placing, answer.bound

    def _evenest_with_margin(self, goal: float) -> Placing:
        """Budget and disk a little smaller, since the answer passed them by what floats are inexact."""
        for _, margin in _TIGHTER:
            model = self._tighter(0.0, margin, goal)
            model.aim_at_worst(goal)
            if placing := self._placing(model, model.program.solved(gap=self.gap), inf):
                return placing
        return Placing(self.problem, frees=self.tight.frees)

    def _tighter(self, reserve: float, margin: float, goal: float) -> Model:
        model = model_of(self.problem, replace(self.tight, reserve=reserve, margin=margin), goal)
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
        placing = self._placing(self.model, answer, goal) or self._cheapest_with_reserve(goal)
        return (placing, bound) if placing else None

    def _cheapest_with_reserve(self, goal: float) -> Placing | None:
        grain = max((self.units[name].load for name in self.model.leaving), default=0.0)
        for reserve, margin in _TIGHTER:
            model = self._tighter(reserve * grain, margin, goal)
            model.aim_at_cost(goal)
            if placing := self._placing(model, model.program.solved(gap=self.gap), goal):
                return placing
        return None

    def _placing(self, model: Model, answer: Answer, most: float) -> Placing | None:
        """The answer with the sand in its places; None where it does not fit in."""
        if not answer.is_found:
            return None
        placing = Placing(self.problem, frees=self.tight.frees)
        for name, target in model.choices_made(answer.values):
            placing.move(self.units[name], target)
        left = placing.place((self.units[name] for name in model.sand_leaving(answer.values)), most)
        if (left and most < inf) or not placing.is_within:
            return None
        if most < inf:
            placing.prune(most)
        return placing
