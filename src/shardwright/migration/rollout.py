"""`migrate`: one rollout over the fleet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from shardwright import errors
from shardwright.config import FleetConfig
from shardwright.migration.atomic import Outcome, all_or_none
from shardwright.migration.history import History, ScriptLocation, State
from shardwright.migration.lint import lint_plan
from shardwright.migration.operation import Operation, not_tried, operation
from shardwright.migration.outcome import ask_again, result_of
from shardwright.migration.plan import (
    Plan,
    ShardPlan,
    in_waves,
    name_those_ahead,
    parse_waves,
    plan_shard,
    plan_shards,
)
from shardwright.migration.recorder import Rendering
from shardwright.migration.rehearse import Rehearsal, rehearse
from shardwright.migration.render import Way, render
from shardwright.migration.trial import require_feasible, try_out
from shardwright.migration.versions import survey
from shardwright.migration.ways import Ways, choose
from shardwright.runs.events import Listener, Warned, WaysChosen
from shardwright.runs.fanout import FanOutLimits, Job, JobResult
from shardwright.runs.results import RunResult, ShardResult, Status
from shardwright.runs.stopping import StopRequest
from shardwright.shard import Shard

ATOMIC_TIMEOUT = timedelta(seconds=10)
OnFailure = Literal["stop", "continue", "rollback"]


@dataclass(frozen=True)
class MigrateOptions:
    """What a rollout may do; the defaults are those of the command line.

    `max_failures`: how many shards may fail before nothing new is started (and, with `rollback`, those done go
    back); None means 0 for `stop` and `rollback`, any number for `continue`. `timeout` is per shard, over all its
    tries. `allow`: rules of lint that are let pass. `rehearse_rows` asks for a rehearsal as `rehearse` does. `atomic`:
    all shards or none; `atomic_timeout` is how long locks may be held until all are prepared, None means 10 s.
    """

    target: str = "head"
    shards: str | None = None
    jobs: int | None = None
    canary: int = 0
    waves: str | None = None
    on_failure: OnFailure = "stop"
    max_failures: int | None = None
    timeout: timedelta | None = None
    lock_timeout: timedelta | None = None
    online: bool = False
    allow: tuple[str, ...] = ()
    atomic: bool = False
    atomic_timeout: timedelta | None = None
    rehearse: bool = False
    rehearse_rows: int | None = None
    verbose: bool = False

    def __post_init__(self) -> None:
        if self.atomic and (self.canary or self.waves or self.max_failures or self.on_failure == "continue"):
            raise errors.UsageError(
                reason="--atomic is all shards or none: no canaries, waves or failures that are let pass",
                help="migrate without --atomic, or without those",
            )

    @property
    def tolerated(self) -> int | None:
        """How many shards may fail before nothing new is started; None: any number."""
        if self.max_failures is not None:
            return self.max_failures
        return None if self.on_failure == "continue" else 0


def script_location(fleet: FleetConfig) -> ScriptLocation:
    """Where the fleet's Alembic history is."""
    return ScriptLocation.from_config(fleet.config)


def plan_migrate(fleet: FleetConfig, history: History, options: MigrateOptions) -> Plan:
    """What `migrate` would do, from what each shard says now; changes nothing.

    Raises UsageError, NoSuchShard, SeveralHeads, NoSuchRevision.
    """
    shares = parse_waves(options.waves)
    target = history.resolve(options.target)
    shards = fleet.select(options.shards)
    readings = survey(
        shards,
        history.location.version_table,
        connections_per_host=fleet.config.limits.connections_per_host,
    )

    def way(shard: Shard, state: State) -> ShardPlan:
        return plan_shard(history, shard, state, history.upgrade(state, options.target))

    todo, settled = plan_shards(history, shards, readings, way)
    waves = in_waves(todo, canary=options.canary, shares=shares)
    return Plan("migrate", ", ".join(target), waves, tuple(settled))


def migrate(
    fleet: FleetConfig, options: MigrateOptions, *, stop: StopRequest, on_event: Listener, adopts: int | None = None
) -> RunResult:
    """Every chosen shard is at the target, or its result says why not; the ledger has it all.

    `adopts`: the number of the durable run whose work it is.

    Raises LintFoundErrors, RehearsalFailed, NotAtomic, what `rehearse`, `plan_migrate` and `operation` raise; nothing
    has been touched then.
    """
    history = History(script_location(fleet))
    with operation(fleet, "migrate", stop=stop, on_event=on_event, adopts=adopts) as op:
        on_event = op.tell
        plan = plan_migrate(fleet, history, options)
        settled = name_those_ahead(op.ledger, plan.settled)
        lint = lint_plan(fleet, history, plan.todo, options.allow)
        for warning in lint.warnings():
            on_event(warning)
        lint.require_clean()
        rehearsal = rehearse_plan(fleet, history, plan, options, stop=stop, on_event=on_event)
        if rehearsal is not None and not stop.is_asked:
            rehearsal.require_sound(way_back=options.on_failure == "rollback")
        found = {"lint": lint if lint.findings else None, "rehearsal": rehearsal}
        extra = {name: report.as_dict() for name, report in found.items() if report is not None}
        ways = _choose(op, history, plan, lint.renderings, options)
        if options.atomic:
            require_feasible(fleet, plan, lint.renderings or render(history.location, plan.todo))
            try_out(fleet, history, plan, ways, stop=stop, on_event=on_event)
        op.begin(
            target=plan.target,
            plan=plan.as_dict() | extra,
            todo=[not_tried(each.shard.name, each.before) for each in plan.todo],
            settled=settled,
            is_atomic=options.atomic and bool(plan.todo),
        )
        _tell_ways(ways, on_event)
        if options.atomic and plan.todo:
            outcome = _execute_together(op, history, plan, ways, options)
            extra["atomic"] = outcome.as_dict()
            return op.finish(refused=not outcome.is_well, completed=outcome.is_well, extra=extra)
        _execute(op, history, plan, ways, options)
        go_back = options.on_failure == "rollback" and _failed_too_often(op, options) and not stop.is_asked
        beyond_repair = go_back and _roll_back(op, history, plan, options)
        return op.finish(refused=beyond_repair, extra=extra)


def _choose(
    op: Operation, history: History, plan: Plan, renderings: Mapping[Way, list[Rendering]], options: MigrateOptions
) -> Ways:
    if options.online:
        return Ways()
    # Of all shards or none each waits for the slowest: sending is worth a proof for the fewest.
    least = 1 if options.atomic else None
    rendered = renderings or None
    return choose(op.fleet, history, plan.todo, op.control, op.stop, rendered=rendered, from_shards=least)


def rehearse_plan(
    fleet: FleetConfig, history: History, plan: Plan, options: MigrateOptions, *, stop: StopRequest, on_event: Listener
) -> Rehearsal | None:
    """The rehearsal of `plan`, None where the options ask for none. Raises what `rehearse` raises."""
    if not options.rehearse and options.rehearse_rows is None:
        return None
    limits, rows = _limits(fleet, options), options.rehearse_rows
    return rehearse(fleet, history, plan.todo, rows=rows, limits=limits, stop=stop, on_event=on_event)


def _tell_ways(ways: Ways, on_event: Listener) -> None:
    if ways.rendered:
        on_event(WaysChosen(ways.rendered, ways.why_online))
    elif ways.why_online:
        revision, reason = next(iter(ways.why_online.items()))
        on_event(Warned(f"all revisions run online; {revision}: {reason}"))


def _execute(op: Operation, history: History, plan: Plan, ways: Ways, options: MigrateOptions) -> None:
    if not plan.todo:
        return
    plans = {each.shard.name: each for each in plan.todo}
    op.fan_out(
        [[ways.job(history, each, options.target) for each in wave] for wave in plan.waves],
        limits=_limits(op.fleet, options),
        max_failures=options.tolerated,
        failed_already=len(plan.not_well),
        result_of=lambda ended: result_of(history, plans[ended.job.shard.name], ended, success=Status.MIGRATED),
        verbose=options.verbose,
    )
    ask_again(op, history, plans, success=Status.MIGRATED)


def _execute_together(op: Operation, history: History, plan: Plan, ways: Ways, options: MigrateOptions) -> Outcome:
    limits, timeout = _limits(op.fleet, options), options.atomic_timeout or ATOMIC_TIMEOUT
    return all_or_none(op, history, plan, ways, limits=limits, timeout=timeout, verbose=options.verbose)


def _limits(fleet: FleetConfig, options: MigrateOptions) -> FanOutLimits:
    return FanOutLimits.from_config(
        fleet.config.limits, jobs=options.jobs, timeout=options.timeout, lock_timeout=options.lock_timeout
    )


def _failed_too_often(op: Operation, options: MigrateOptions) -> bool:
    failures = sum(result.has_failed for result in op.results.values())
    return options.tolerated is not None and failures > options.tolerated


def _roll_back(op: Operation, history: History, plan: Plan, options: MigrateOptions) -> bool:
    """Each shard this rollout has moved goes back to its own recorded revision; whether one could not."""
    first = dict(op.results)
    moved = {each.shard.name: each for each in plan.todo if first[each.shard.name].after != each.before}

    def combined(ended: JobResult) -> ShardResult:
        name = ended.job.shard.name
        back = _way_back(moved[name], first[name])
        return _after_rolling_back(first[name], result_of(history, back, ended, success=Status.ROLLED_BACK))

    op.fan_out(
        [[return_job(history, each.shard, each.before) for each in moved.values()]],
        limits=_limits(op.fleet, options),
        max_failures=None,
        result_of=combined,
        verbose=options.verbose,
    )
    return any(op.results[name].after != each.before for name, each in moved.items())


def _way_back(plan: ShardPlan, first: ShardResult) -> ShardPlan:
    before = plan.after if first.after is None else first.after
    return ShardPlan(plan.shard, before, after=plan.before, steps=tuple(reversed(plan.steps)))


def return_job(history: History, shard: Shard, state: State) -> Job:
    """The job that brings a shard back to exactly `state`, an earlier one of its own."""
    return Job(shard, "shardwright.migration.apply:return_to", {"location": history.location, "state": state})


def _after_rolling_back(first: ShardResult, back: ShardResult) -> ShardResult:
    """What stands in the result of a rollout's shard after its way back; why it failed before is not lost."""
    seconds = first.seconds + back.seconds
    if back.status is Status.ROLLED_BACK:
        status = Status.ROLLED_BACK if first.status is Status.MIGRATED else Status.FAILED
        return first.with_note(status=status, after=back.after, seconds=seconds)
    reason = f"could not be rolled back: {back.error}"
    if back.status is Status.NOT_TRIED:
        reason = "interrupted before it was rolled back"
        back = back.with_note(status=Status.FAILED, after=first.after, hint="shardwright rollback")
    error = "; ".join(filter(None, (first.error, reason)))
    return first.with_note(status=back.status, after=back.after, seconds=seconds, error=error, hint=back.hint)
