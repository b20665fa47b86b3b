"""`migrate`, `status`, `rollback`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from shardwright.cli.app import AtomicTimeout, LockTimeout, Timeout, app, command
from shardwright.cli.commands.runs import tell_detached
from shardwright.cli.completion import shard_names
from shardwright.cli.screen import Screen
from shardwright.cli.words import (
    Line,
    counted,
    lint_lines,
    not_well,
    rehearsal_lines,
    result_line,
    schema_lines,
    status_lines,
    summary_line,
    unread_line,
)
from shardwright.runs.results import RunResult, Status, revisions_text
from shardwright.runs.stopping import StopRequest, stop_on_signals

if TYPE_CHECKING:
    from shardwright.fleet import Fleet, MigrateOptions, RollbackOptions
    from shardwright.migration.drift import SchemaStatus
    from shardwright.migration.plan import Plan

Shards = Annotated[
    str | None,
    typer.Option(
        "--shards",
        help="Names, patterns (eu_*) or labels (region=eu), comma-separated.",
        autocompletion=shard_names,
    ),
]
Jobs = Annotated[
    int | None, typer.Option("--jobs", min=1, help="Shards in work at once; default: 2 a processor, 4 to 16.")
]
Allow = Annotated[
    str | None, typer.Option("--allow", metavar="RULE,RULE", help="Rules of lint to let pass, comma-separated.")
]
Target = Annotated[str, typer.Argument(metavar="REV", help="An Alembic revision: head, an id, a label, +1.")]


@command(
    app,
    "migrate",
    changes=True,
    examples=(
        "shardwright migrate",
        "shardwright migrate --canary 2 --waves 10%,50% --on-failure rollback",
        "shardwright migrate 4f2a1b --shards region=eu --dry-run",
        "shardwright migrate --atomic --atomic-timeout 5s",
    ),
)
def migrate(
    screen: Screen,
    *,
    target: Target = "head",
    shards: Shards = None,
    jobs: Jobs = None,
    canary: Annotated[
        int, typer.Option(min=0, help='Shards to migrate first; those labelled canary = "yes" before others.')
    ] = 0,
    waves: Annotated[
        str | None, typer.Option(help="Then up to these shares of the fleet, then the rest: 10%,50%.")
    ] = None,
    on_failure: Annotated[
        Literal["stop", "continue", "rollback"],
        typer.Option(
            help="stop: start nothing new; continue: go on with the others; rollback: also take the shards done back."
        ),
    ] = "stop",
    max_failures: Annotated[
        int | None, typer.Option(min=0, help="Shards that may fail before nothing new is started.")
    ] = None,
    timeout: Timeout = None,
    lock_timeout: LockTimeout = None,
    online: Annotated[
        bool,
        typer.Option(
            "--online", help="Run every revision through Alembic on every shard, even where its SQL could be sent."
        ),
    ] = False,
    allow: Allow = None,
    atomic: Annotated[
        bool, typer.Option("--atomic", help="All shards or none, by two-phase commit; refused where that can't be.")
    ] = False,
    atomic_timeout: AtomicTimeout = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Leave it to a worker: print the run's number and return.")
    ] = False,
    rehearse: Annotated[
        bool,
        typer.Option(
            "--rehearse", help="Try it on copies of the schemas first: up, down, up again; refuse if that fails."
        ),
    ] = False,
    rehearse_rows: Annotated[
        int | None, typer.Option(min=0, help="Rehearse with up to so many rows of each table, taken from a shard.")
    ] = None,
) -> int:
    """Bring every shard to one revision: in parallel, each verified, all in the ledger."""
    from shardwright.fleet import MigrateOptions  # noqa: PLC0415

    fleet = screen.fleet()
    values: dict[str, Any] = {
        "target": target,
        "shards": shards,
        "jobs": jobs,
        "canary": canary,
        "waves": waves,
        "on_failure": on_failure,
        "max_failures": max_failures,
        "timeout": timeout,
        "lock_timeout": lock_timeout,
        "online": online,
        "allow": allowed(allow),
        "atomic": atomic,
        "atomic_timeout": atomic_timeout,
        "rehearse": rehearse,
        "rehearse_rows": rehearse_rows,
    }
    if screen.dry_run:
        return _show_rollout(screen, fleet, MigrateOptions(**values))
    if detach:
        return tell_detached(screen, fleet, fleet.start_migrate(MigrateOptions(**values)))
    with screen.progress() as listener, stop_on_signals(StopRequest()) as stop:
        result = fleet.migrate(**values, verbose=screen.verbose, stop=stop, on_event=listener)
    return tell(screen, result)


@command(
    app,
    "rollback",
    changes=True,
    examples=("shardwright rollback", "shardwright rollback --run 12", "shardwright rollback --to 9c1b --shards eu_*"),
)
def rollback(
    screen: Screen,
    *,
    run: Annotated[int | None, typer.Option(help="Undo this rollout; default: the last one.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Each chosen shard this many revisions down.")] = None,
    to: Annotated[str | None, typer.Option(help="Each chosen shard down to this revision.")] = None,
    shards: Shards = None,
    jobs: Jobs = None,
    timeout: Timeout = None,
    lock_timeout: LockTimeout = None,
) -> int:
    """Bring each shard back to the revision it had; without options: undo the last rollout."""
    from shardwright.fleet import RollbackOptions  # noqa: PLC0415

    fleet = screen.fleet()
    if screen.dry_run:
        options = RollbackOptions(run=run, steps=steps, to=to, shards=shards)
        return _show_plan(screen, fleet, fleet.plan_rollback(options))
    if not fleet.config.is_disposable:
        _confirm_rollback(screen, fleet, RollbackOptions(run=run, steps=steps, to=to, shards=shards))
    with screen.progress() as listener, stop_on_signals(StopRequest()) as stop:
        result = fleet.rollback(
            run=run,
            steps=steps,
            to=to,
            shards=shards,
            jobs=jobs,
            timeout=timeout,
            lock_timeout=lock_timeout,
            verbose=screen.verbose,
            stop=stop,
            on_event=listener,
        )
    return tell(screen, result)


def _confirm_rollback(screen: Screen, fleet: Fleet, options: RollbackOptions) -> None:
    plan = None if screen.yes else fleet.plan_rollback(options)
    if plan is not None and plan.todo:
        shards = counted(len(plan.todo), "shard")
        screen.confirm(f"rolling back {shards} marked {fleet.config.fleet.environment} to {plan.target or 'base'}")


@command(
    app,
    "status",
    examples=("shardwright status", "shardwright status --schema", "shardwright status --require 4f2a --json"),
)
def status(
    screen: Screen,
    *,
    require: Annotated[
        str | None,
        typer.Option("--require", metavar="REV", help="Exit 1 unless every shard has at least this revision."),
    ] = None,
    shards: Shards = None,
    schema: Annotated[
        bool,
        typer.Option("--schema", help="Also group the shards by what their schemas really are; exit 1 unless alike."),
    ] = False,
) -> int:
    """Show where every shard's schema stands; exit 1 unless all are up to date, or have the revision required."""
    fleet = screen.fleet()
    if schema:
        return _tell_with_schemas(screen, fleet.schema(target=require or "heads", shards=shards))
    if require is not None:
        return _tell_gate(screen, fleet.require_revision(require, shards=shards))
    result = fleet.status(shards=shards)
    screen.document(result.as_dict())
    _tell_lines(screen, status_lines(result))
    return result.exit_code


def _tell_gate(screen: Screen, result: RunResult) -> int:
    """A line for each shard that lacks what is required, and how many have it."""
    screen.document(result.as_dict())
    lacking = [each for each in result.results if each.status is not Status.UP_TO_DATE]
    _tell_lines(screen, map(result_line, lacking))
    have = len(result.results) - len(lacking)
    screen.line(f"{have} of {counted(len(result.results), 'shard')} have {result.target}", important=True)
    return result.exit_code


def _tell_with_schemas(screen: Screen, result: SchemaStatus) -> int:
    screen.document(result.as_dict())
    _tell_lines(screen, status_lines(result.status))
    _tell_lines(screen, schema_lines(result.schemas))
    # Those whose revision was not read either are named already.
    _tell_lines(screen, (unread_line(each) for each in result.schemas.unread if each.state is not None))
    if result.schemas.drifts:
        screen.line("what differs: shardwright check", important=True)
    return result.exit_code


def _tell_lines(screen: Screen, lines: Iterable[Line]) -> None:
    for text, style in lines:
        screen.line(text, style=style, important=style == "red")


def tell(screen: Screen, result: RunResult) -> int:
    """The end of an operation: the JSON document or the last line; gives its exit code."""
    screen.document(result.as_dict())
    tell_end(screen, result)
    return result.exit_code


def tell_end(screen: Screen, result: RunResult) -> None:
    """The last line for people; before it what is wrong, where --quiet kept it back so far."""
    for each in not_well(result) if screen.quiet else ():
        text, style = result_line(each)
        screen.line(text, style=style, important=True)
    screen.line(summary_line(result), important=True)
    if "ledger" in result.extra:
        screen.line(f"✗ {result.extra['ledger']}", style="red", important=True)


def allowed(text: str | None) -> tuple[str, ...]:
    """The rules that --allow names."""
    return tuple(filter(None, (rule.strip() for rule in (text or "").split(","))))


def _show_rollout(screen: Screen, fleet: Fleet, options: MigrateOptions) -> int:
    """The plan of a rollout, what lint says of it, and the rehearsal if one is wanted; gives the exit code."""
    plan = fleet.plan_migrate(options)
    if options.atomic:
        fleet.require_atomic(plan)
    lint = fleet.lint_plan(plan, allow=options.allow)
    with stop_on_signals(StopRequest()) as stop:
        rehearsal = fleet.rehearse_plan(plan, options, stop=stop)
    extra = {"lint": lint.as_dict()}
    lines = list(lint_lines(lint))
    if rehearsal is not None:
        extra["rehearsal"] = rehearsal.as_dict()
        lines += rehearsal_lines(extra["rehearsal"])
    code = _show_plan(screen, fleet, plan, extra, lines)
    if stop.signal is not None:
        return 128 + stop.signal
    is_refused = rehearsal is not None and rehearsal.faults(way_back=options.on_failure == "rollback")
    return 1 if lint.stops or is_refused else code


def _show_plan(
    screen: Screen, fleet: Fleet, plan: Plan, extra: Mapping[str, Any] | None = None, lines: Iterable[Line] = ()
) -> int:
    sql = fleet.sql(plan) if plan.todo else {}
    settled = [result.as_dict() for result in plan.settled]
    screen.document({"dry_run": True, **plan.as_dict(), "settled": settled, "sql": sql, **(extra or {})})
    todo = counted(len(plan.todo), "shard")
    header = f"{plan.kind} to {plan.target or 'base'}: {todo} to do, {len(plan.settled)} settled"
    screen.line(header, important=True)
    for number, wave in enumerate(plan.waves, start=1):
        for each in wave:
            way = f"{revisions_text(each.before)} → {revisions_text(each.after)}"
            screen.line(f"  wave {number}: {each.shard.name}: {way} ({counted(len(each.steps), 'revision')})")
    for result in plan.not_well:
        screen.line(result_line(result)[0], style="red", important=True)
    for statements in sql.values():
        screen.line(f"\n{statements}")
    _tell_lines(screen, lines)
    return 1 if plan.not_well else 0
