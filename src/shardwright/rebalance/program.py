"""A linear program, written down column by column, and HiGHS, which solves it; nothing here knows of tenants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from shardwright import errors

_NODES = 100_000  # by columns; limits are counts and never seconds: the same plan on a slow machine and on a fast one


@dataclass(frozen=True, slots=True)
class Answer:
    """`values` of all columns, empty where none were found; no values can have an objective below `bound`.

    `is_final`: it was solved to the end, so without values there are none.
    """

    values: Sequence[float]
    objective: float
    bound: float
    is_final: bool

    @property
    def is_found(self) -> bool:
        """Whether there are values."""
        return bool(self.values)


@dataclass(slots=True)
class Program:
    """Columns between 0 (or `lower`) and `upper`, rows between two limits, a sum to make small."""

    costs: list[float] = field(default_factory=list)
    lowers: list[float] = field(default_factory=list)
    uppers: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    entries: list[dict[int, float]] = field(default_factory=list)
    limits: list[tuple[float, float]] = field(default_factory=list)

    def row(self, lower: float = -inf, upper: float = inf) -> int:
        """A new row's number."""
        self.limits.append((lower, upper))
        return len(self.limits) - 1

    def column(
        self,
        entries: Mapping[int, float],
        *,
        cost: float = 0.0,
        lower: float = 0.0,
        upper: float = 1.0,
        whole: bool = False,
    ) -> int:
        """A new column's number; `entries` are its factors by row."""
        self.entries.append({row: factor for row, factor in entries.items() if factor})
        self.costs.append(cost)
        self.lowers.append(lower)
        self.uppers.append(upper)
        self.whole.append(whole)
        return len(self.costs) - 1

    def relaxed(self) -> Answer:
        """The least sum where columns need not be whole."""
        return self._solve({}, is_mixed=False, start=None)

    def solved(self, *, gap: float, start: Sequence[float] | None = None, nodes: int | None = None) -> Answer:
        """The least sum found: within `gap` of the least there is, as a share of it, unless the limits come first.

        `start` are values that are known to do; `nodes` limits the search instead of the usual number.
        """
        nodes = nodes or max(20, _NODES // len(self.costs))
        options = {"mip_rel_gap": gap, "mip_abs_gap": gap * 1e-3, "mip_max_nodes": nodes}
        return self._solve(options, is_mixed=any(self.whole), start=start)

    def _solve(self, options: Mapping[str, Any], *, is_mixed: bool, start: Sequence[float] | None) -> Answer:
        highspy = load()
        solver = highspy.Highs()
        for name, value in {**_OPTIONS, **options}.items():
            solver.setOptionValue(name, value)
        solver.passModel(self._model(highspy, is_mixed=is_mixed))
        if start is not None and is_mixed:
            solution = highspy.HighsSolution()
            solution.col_value = list(start)
            solver.setSolution(solution)
        solver.run()
        return _answer(highspy, solver, is_mixed=is_mixed)

    def _model(self, highspy: Any, *, is_mixed: bool) -> Any:
        import numpy  # noqa: PLC0415 an extra brings it

        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = len(self.costs), len(self.limits)
        model.col_cost_, model.col_lower_ = numpy.array(self.costs), numpy.array(self.lowers)
        model.col_upper_ = numpy.array(self.uppers)
        model.row_lower_ = numpy.array([lower for lower, _ in self.limits])
        model.row_upper_ = numpy.array([upper for _, upper in self.limits])
        model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        model.a_matrix_.start_ = numpy.cumsum([0, *(len(each) for each in self.entries)])
        model.a_matrix_.index_ = numpy.array([row for each in self.entries for row in each], dtype=numpy.int32)
        model.a_matrix_.value_ = numpy.array([factor for each in self.entries for factor in each.values()])
        if is_mixed:
            kinds = highspy.HighsVarType
            model.integrality_ = [kinds.kInteger if whole else kinds.kContinuous for whole in self.whole]
        return model


_OPTIONS: Mapping[str, Any] = {
    "output_flag": False,
    "threads": 1,
    "parallel": "off",
    "random_seed": 1,
    "mip_allow_restart": False,
    "primal_feasibility_tolerance": 1e-9,
    "mip_feasibility_tolerance": 1e-9,
    "small_matrix_value": 1e-12,
}


def load() -> Any:
    """The solver's package. Raises ExtraMissing where it is not installed."""
    try:
        import highspy  # noqa: PLC0415 an extra
    except ImportError as error:
        raise errors.ExtraMissing(what="the plan of a rebalance", extra="rebalance") from error
    return highspy


def _answer(highspy: Any, solver: Any, *, is_mixed: bool) -> Answer:
    status, info = solver.getModelStatus(), solver.getInfo()
    statuses = highspy.HighsModelStatus
    is_final = status in (statuses.kOptimal, statuses.kInfeasible, statuses.kUnboundedOrInfeasible)
    if status == statuses.kModelEmpty:
        return Answer((), 0.0, 0.0, is_final=True)
    has_values = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    values = tuple(solver.getSolution().col_value) if has_values else ()
    objective = float(info.objective_function_value) if has_values else inf
    bound = float(info.mip_dual_bound) if is_mixed else objective if status == statuses.kOptimal else -inf
    return Answer(values, objective, bound, is_final)
