"""The plan of a rebalance: measured world and rules in, moves in rounds out. Touches nothing, knows no database."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Final

from shardwright import errors
from shardwright.rebalance import check, explain
from shardwright.rebalance.balance import Balance
from shardwright.rebalance.model import Tightening
from shardwright.rebalance.order import Order, order
from shardwright.rebalance.placing import Placing
from shardwright.rebalance.problem import Problem, Unit, pose
from shardwright.rebalance.proposal import Bound, PlannedMove, RebalancePlan, RefusedTenant
from shardwright.rebalance.rules import Rules
from shardwright.rebalance.solve import Solution, solve
from shardwright.rebalance.world import TenantLoad, World

__all__ = ["Bound", "PlannedMove", "RebalancePlan", "RefusedTenant", "plan"]

_TRIES: Final = 30


def plan(world: World, rules: Rules, *, empty: Collection[str] = (), only_to: Collection[str] = ()) -> RebalancePlan:
    """The moves that bring every shard within the tolerance most cheaply, or as near as the rules let them.

    `empty` are shards that no tenant is to be left on; with `only_to` all moves go to these, and they are filled up to
    their share. The plan is the same whatever the order of the world's tuples. Raises NoSuchShard for a name that is
    not there, ExtraMissing where the solver is not installed, NoSoundPlan where none was found that keeps every rule.
    """
    _require_known(world, {*empty, *only_to})
    problem = pose(world, rules, empty=empty, only_to=only_to)
    solution, found = _ordered(problem)
    moves = tuple(_moves(problem, solution, found))
    faults = check.broken(world, rules, moves, empty=empty, only_to=only_to)
    if faults:
        raise errors.NoSoundPlan(reason=faults[0])
    return _proposal(problem, solution, moves)


def _require_known(world: World, names: Collection[str]) -> None:
    known = sorted(each.name for each in world.shards)
    for name in sorted(set(names) - set(known)):
        raise errors.NoSuchShard(name=name, known=", ".join(known))


def _ordered(problem: Problem) -> tuple[Solution, Order]:
    """The best solution that has an order; moves that wait for one another are forbidden together, one circle a try."""
    tight = Tightening(frees=problem.rules.frees_after is not None)
    for _ in range(_TRIES):
        solution = solve(problem, tight)
        found = order(problem, solution.targets, frees=tight.frees)
        if found.blocked:
            tight = replace(tight, cuts=(*tight.cuts, found.blocked))
        elif not found.has_room:
            tight = replace(tight, frees=False)
        else:
            return solution, found
    raise errors.NoSoundPlan(reason="tenants that are to be apart wait for one another in too many ways")


def _moves(problem: Problem, solution: Solution, found: Order) -> Iterator[PlannedMove]:
    units = {unit.name: unit for unit in problem.units}
    going = [
        (each, units[name], target)
        for name, target in solution.targets.items()
        for each in units[name].leaving_for(target)
    ]
    going.sort(key=lambda each: (found.rounds[each[0].tenant], -each[0].bytes, each[0].tenant))
    for number, (tenant, unit, target) in enumerate(going, 1):
        yield _move(problem, number, tenant, unit, target, found.rounds)


def _move(
    problem: Problem, number: int, tenant: TenantLoad, unit: Unit, target: str, rounds: Mapping[str, int]
) -> PlannedMove:
    return PlannedMove(
        number=number,
        tenant=tenant.tenant,
        source=tenant.shard,
        target=target,
        bytes=tenant.bytes,
        rows=tenant.rows,
        writes=tenant.writes,
        load=problem.load[tenant.tenant],
        round=rounds[tenant.tenant],
        why=explain.why(problem, unit, tenant, target),
    )


def _proposal(problem: Problem, solution: Solution, moves: tuple[PlannedMove, ...]) -> RebalancePlan:
    rules = problem.rules
    units = {unit.name: unit for unit in problem.units}
    placing = Placing(problem)
    before = _balance(placing)
    for name, target in solution.targets.items():
        placing.move(units[name], target)
    size = sum(move.bytes for move in moves)
    longest: dict[int, float] = {}
    for move in moves:
        seconds = rules.move_seconds + move.bytes / rules.bytes_per_second
        longest[move.round] = max(longest.get(move.round, 0.0), seconds)
    return RebalancePlan(
        moves=moves,
        before=before,
        after=_balance(placing),
        bound=solution.bound,
        bytes=size,
        cost=size + len(moves) * rules.gap_bytes,
        seconds=sum(longest.values()),
        gap_ms=len(moves) * rules.gap_ms,
        refused=tuple(explain.refused(problem, solution.targets)),
    )


def _balance(placing: Placing) -> Balance:
    due, carried = placing.problem.due, placing.carried
    return Balance(
        loads={name: carried[name] / share for name, share in due.items()},
        avoidable=max(0.0, placing.avoidable),
        lacking=max(0.0, placing.lacking),
    )
