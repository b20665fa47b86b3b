"""`seed` and `reset`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from shardwright.cli.app import app, command
from shardwright.cli.commands.schema import Jobs, Shards, tell
from shardwright.cli.commands.tenants import tell_directory
from shardwright.cli.screen import Screen
from shardwright.cli.words import counted
from shardwright.runs.stopping import StopRequest, stop_on_signals

if TYPE_CHECKING:
    from shardwright.fleet import Fleet


@command(app, "seed", changes=True, examples=("shardwright seed", "shardwright seed --shards shard_0"))
def seed(screen: Screen, shards: Shards = None, jobs: Jobs = None) -> int:
    """Run the application's seed function, or seeds/*.sql, on every shard."""
    fleet = screen.fleet()
    if screen.dry_run:
        return _show_seed(screen, fleet, shards)
    with screen.progress() as listener, stop_on_signals(StopRequest()) as stop:
        result = fleet.seed(shards=shards, jobs=jobs, verbose=screen.verbose, stop=stop, on_event=listener)
    return tell(screen, result)


@command(app, "reset", changes=True, examples=("shardwright reset --seed", "shardwright reset --shards shard_2 --yes"))
def reset(
    screen: Screen,
    *,
    shards: Shards = None,
    seed: Annotated[bool, typer.Option("--seed", help="Seed afterwards.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Even where the fleet is not marked development or test.")
    ] = False,
    jobs: Jobs = None,
) -> int:
    """Drop, create and migrate every shard; ALL DATA IN THEM ARE LOST."""
    fleet = screen.fleet()
    fleet.require_disposable("reset", force=force)
    databases = [f"{shard.name} ({shard.url.redacted})" for shard in fleet.resolved.select(shards)]
    if screen.dry_run:
        return show_reset(screen, databases, seed=seed)
    confirm_reset(screen, databases)
    with screen.progress() as listener, stop_on_signals(StopRequest()) as stop:
        result = fleet.reset(
            shards=shards,
            seed=seed,
            force=force,
            jobs=jobs,
            verbose=screen.verbose,
            stop=stop,
            on_event=listener,
        )
    tell(screen, result)
    tell_directory(screen, result.directory)
    return result.exit_code


def confirm_reset(screen: Screen, databases: list[str]) -> None:
    """Goes on only where it is clear what will be lost."""
    count = counted(len(databases), "database")
    screen.confirm(f"dropping {count}, all data in them are lost: {', '.join(databases)}")


def show_reset(screen: Screen, databases: list[str], *, seed: bool) -> int:
    """What a reset would destroy and make."""
    screen.document({"dry_run": True, "drops": databases, "seed": seed})
    for database in databases:
        screen.line(f"would drop, create{', migrate and seed' if seed else ' and migrate'}: {database}")
    return 0


def _show_seed(screen: Screen, fleet: Fleet, shards: str | None) -> int:
    plan = fleet.plan_seed()
    names = [shard.name for shard in fleet.resolved.select(shards)]
    what = plan["function"] or ", ".join(str(file) for file in plan["files"])
    screen.document({"dry_run": True, "seed": what, "shards": names})
    screen.line(f"would run {what} on {', '.join(names)}", important=True)
    return 0
