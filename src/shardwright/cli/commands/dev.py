"""`dev up | down | reset`: the fleet on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from shardwright.cli.app import app, command
from shardwright.cli.commands.data import confirm_reset, show_reset
from shardwright.cli.commands.schema import tell, tell_end
from shardwright.cli.commands.tenants import tell_directory
from shardwright.cli.screen import Screen
from shardwright.runs.stopping import StopRequest, stop_on_signals

group = typer.Typer(help="The fleet on this machine: up, down, reset.", no_args_is_help=True)
app.add_typer(group, name="dev")

_Shards = Annotated[
    int | None, typer.Option("--shards", min=1, help="How many shards; default: 3, or as many as there are.")
]
_Clusters = Annotated[int | None, typer.Option("--clusters", min=1, help="How many PostgreSQL servers; default: 1.")]


@command(group, "up", changes=True, examples=("shardwright dev up", "shardwright dev up --shards 6 --clusters 2"))
def up(screen: Screen, *, shards: _Shards = None, clusters: _Clusters = None) -> int:
    """Start the servers, create the databases, migrate, seed, take the tenants into the directory. Repeatable."""
    fleet = screen.fleet()
    if screen.dry_run:
        return _say(screen, fleet.plan_dev_up(shards=shards, clusters=clusters))
    with screen.progress() as listener, stop_on_signals(StopRequest()) as stop:
        result = fleet.dev_up(shards=shards, clusters=clusters, verbose=screen.verbose, stop=stop, on_event=listener)
    screen.document(
        {
            "control": result.fleet.control.redacted,
            "urls": {shard.name: shard.url.redacted for shard in result.fleet.shards},
            "created": list(result.created),
            "migrate": result.migrated.as_dict(),
            "seed": result.seeded.as_dict() if result.seeded else None,
            "tenants": result.directory.as_dict() if result.directory else None,
        }
    )
    tell_end(screen, result.migrated)
    if result.seeded is not None:
        tell_end(screen, result.seeded)
    tell_directory(screen, result.directory)
    for shard in result.fleet.shards:
        screen.line(f"  {shard.name}  {shard.url.redacted}")
    return result.exit_code


@command(group, "down", changes=True, examples=("shardwright dev down", "shardwright dev down --destroy --yes"))
def down(
    screen: Screen,
    *,
    destroy: Annotated[bool, typer.Option("--destroy", help="Also delete the clusters with all their data.")] = False,
) -> int:
    """Stop the embedded servers; nothing of them goes on running."""
    fleet = screen.fleet()
    names = fleet.plan_dev_down(destroy=destroy)
    if screen.dry_run:
        what = "would stop and delete with all data: " if destroy else "would stop: "
        return _say(screen, [f"{what}{name}" for name in names])
    if destroy and names:
        screen.confirm(f"deleting the embedded clusters with all their data: {', '.join(names)}")
    names = fleet.dev_down(destroy=destroy)
    screen.document({"stopped": names, "destroyed": destroy})
    what = "stopped and deleted" if destroy else "stopped"
    screen.line(f"{what}: {', '.join(names)}" if names else "there is no embedded fleet to stop", important=True)
    return 0


@command(group, "reset", changes=True, examples=("shardwright dev reset --yes",))
def reset(screen: Screen) -> int:
    """Drop every shard, create, migrate and seed it again; ALL DATA IN THEM ARE LOST."""
    fleet = screen.fleet()
    fleet.require_disposable("dev reset")
    databases = [f"{shard.name} ({shard.url.redacted})" for shard in fleet.resolved.select(None)]
    with_seed = fleet.has_seed
    if screen.dry_run:
        return show_reset(screen, databases, seed=with_seed)
    confirm_reset(screen, databases)
    with screen.progress() as listener, stop_on_signals(StopRequest()) as stop:
        result = fleet.reset(seed=with_seed, verbose=screen.verbose, stop=stop, on_event=listener)
    tell(screen, result)
    tell_directory(screen, result.directory)
    return result.exit_code


def _say(screen: Screen, lines: list[str]) -> int:
    screen.document({"dry_run": True, "plan": lines})
    for line in lines or ["nothing would be done"]:
        screen.line(line, important=True)
    return 0
