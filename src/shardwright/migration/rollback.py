"""`rollback`: each shard back to the revision it had, never "N steps on all"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from shardwright import errors
from shardwright.config import FleetConfig
from shardwright.migration.history import History, State
from shardwright.migration.operation import Operation, not_tried, operation
from shardwright.migration.outcome import ask_again, result_of
from shardwright.migration.plan import Plan, ShardPlan, Way, plan_shard, plan_shards
from shardwright.migration.rollout import return_job, script_location
from shardwright.migration.versions import survey
from shardwright.runs.events import Listener
from shardwright.runs.fanout import FanOutLimits
from shardwright.runs.results import RunResult, ShardResult, Status, revisions_text
from shardwright.runs.stopping import StopRequest
from shardwright.runs.store import Ledger, Run
from shardwright.shard import Shard


@dataclass(frozen=True)
class RollbackOptions:
    """Where to go back to: one of `run` (undo that rollout), `steps`, `to`; none of them: the last rollout."""

    run: int | None = None
    steps: int | None = None
    to: str | None = None
    shards: str | None = None
    jobs: int | None = None
    timeout: timedelta | None = None
    lock_timeout: timedelta | None = None
    verbose: bool = False

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.run, self.steps, self.to)) > 1:
            raise errors.UsageError(reason="--run, --steps and --to exclude one another")
        if self.steps is not None and self.steps < 1:
            raise errors.UsageError(reason="--steps takes a number from 1")


def plan_rollback(
    fleet: FleetConfig, history: History, ledger: Ledger, options: RollbackOptions
) -> tuple[Plan, Run | None]:
    """What `rollback` would do, and the run it would undo; changes nothing.

    Raises NoSuchShard, NoSuchRun, NoSuchRevision, NothingToRollBack.
    """
    if options.steps is not None or options.to is not None:
        target = f"-{options.steps}" if options.steps is not None else str(options.to)
        if options.to is not None:
            history.resolve(options.to)
        shards = fleet.select(options.shards)
        return _plan(fleet, history, target, shards, _by_name(history, target)), None
    return _plan_undo(fleet, history, ledger, options)


def _by_name(history: History, target: str) -> Way:
    def way(shard: Shard, state: State) -> ShardPlan:
        return plan_shard(history, shard, state, history.downgrade(state, target) if state else [])

    return way


def _plan_undo(fleet: FleetConfig, history: History, ledger: Ledger, options: RollbackOptions) -> tuple[Plan, Run]:
    run = ledger.run(options.run) if options.run is not None else ledger.last_rollout()
    if run is None:
        raise errors.NothingToRollBack(reason="the ledger has no rollout that changed anything")
    recorded = {result.shard: result for result in ledger.results(run.id) if _was_begun(run, result)}
    shards = tuple(shard for shard in fleet.select(options.shards) if shard.name in recorded)
    target = f"the revisions before run {run.id}"
    plan = _plan(fleet, history, target, shards, _by_record(history, run, recorded, ledger.moved_since(run.id)))
    if not plan.todo and not plan.not_well:
        raise errors.NothingToRollBack(reason=f"no shard is above the revision it had before run {run.id}")
    return plan, run


def _was_begun(run: Run, result: ShardResult) -> bool:
    """Whether the run may have moved the shard: one that ended without a word may have, whatever it noted last."""
    noted_last = result.status is Status.NOT_TRIED and not run.has_all_results
    return result.before is not None and (result.attempts > 0 or noted_last)


def _by_record(history: History, run: Run, recorded: Mapping[str, ShardResult], moved_since: Mapping[str, int]) -> Way:
    def way(shard: Shard, state: State) -> ShardPlan | ShardResult:
        result = recorded[shard.name]
        earlier = result.before or ()
        if state != earlier and (reason := _moved_on(history, run, result, state, moved_since.get(shard.name))):
            hint = f"shardwright rollback --shards {shard.name} --to {revisions_text(earlier)}"
            return ShardResult(shard.name, Status.FAILED, state, state, error=reason, hint=hint)
        return plan_shard(history, shard, state, history.return_to(state, earlier))

    return way


def _moved_on(history: History, run: Run, result: ShardResult, state: State, later: int | None) -> str | None:
    """Why undoing `run` would take more from the shard than `run` brought; None where it would not."""
    at = f"it is at {revisions_text(state)}"
    left_at = result.after if result.attempts > 0 else None
    if left_at is not None:
        within = history.ancestry(state) <= history.ancestry(left_at)
        return None if within else f"{at}; run {run.id} left it at {revisions_text(left_at)}"
    return f"{at}; run {later} has moved it since run {run.id}" if later is not None else None


def _plan(fleet: FleetConfig, history: History, target: str, shards: tuple[Shard, ...], way: Way) -> Plan:
    limit = fleet.config.limits.connections_per_host
    readings = survey(shards, history.location.version_table, connections_per_host=limit)
    todo, settled = plan_shards(history, shards, readings, way)
    return Plan("rollback", target, (tuple(todo),), tuple(settled))


def rollback(fleet: FleetConfig, options: RollbackOptions, *, stop: StopRequest, on_event: Listener) -> RunResult:
    """Every chosen shard is back where it was, or its result says why not; shards that never moved are untouched.

    One that can't go back does not stop the others. Raises what `plan_rollback` and `operation` raise.
    """
    history = History(script_location(fleet))
    with operation(fleet, "rollback", stop=stop, on_event=on_event) as op:
        plan, run = plan_rollback(fleet, history, op.ledger, options)
        op.begin(
            target=plan.target,
            plan=plan.as_dict(),
            todo=[not_tried(each.shard.name, each.before) for each in plan.todo],
            settled=plan.settled,
            undoes=run.id if run else None,
        )
        _execute(op, history, plan, options)
        return op.finish(refused=any(result.status in _NOT_BACK for result in op.results.values()))


_NOT_BACK = frozenset({Status.FAILED, Status.UNKNOWN})


def _execute(op: Operation, history: History, plan: Plan, options: RollbackOptions) -> None:
    plans = {each.shard.name: each for each in plan.todo}
    op.fan_out(
        [[return_job(history, each.shard, each.after) for each in plan.todo]],
        limits=FanOutLimits.from_config(
            op.fleet.config.limits, jobs=options.jobs, timeout=options.timeout, lock_timeout=options.lock_timeout
        ),
        max_failures=None,
        result_of=lambda ended: result_of(history, plans[ended.job.shard.name], ended, success=Status.ROLLED_BACK),
        verbose=options.verbose,
    )
    ask_again(op, history, plans, success=Status.ROLLED_BACK)
