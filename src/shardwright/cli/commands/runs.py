"""`runs`, `runs show`, `runs resume`: the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from shardwright.cli.app import app, command
from shardwright.cli.screen import Screen
from shardwright.cli.words import result_line
from shardwright.runs.results import WELL, ShardResult
from shardwright.runs.stopping import StopRequest, stop_on_signals

if TYPE_CHECKING:
    from shardwright.runs.store import Run

group = typer.Typer(help="The ledger: who did what to which shard, and how it ended.")
app.add_typer(group, name="runs")


@command(group, examples=("shardwright runs --limit 50",))
def list_runs(
    screen: Screen,
    *,
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
) -> int:
    """List the newest runs."""
    del context
    runs = screen.fleet().runs(limit=limit)
    screen.document({"runs": [run.as_dict() for run in runs]})
    for run in runs:
        screen.line(_line(run), important=True)
    if not runs:
        screen.line("the ledger is empty", important=True)
    return 0


@command(group, "show", examples=("shardwright runs show 12",))
def show(screen: Screen, number: Annotated[int, typer.Argument(metavar="ID", help="The run's number.")]) -> int:
    """Show one run and each shard's result in it."""
    return _tell(screen, *screen.fleet().run(number))


@command(group, "resume", changes=True, examples=("shardwright runs resume 12",))
def resume(screen: Screen, number: Annotated[int, typer.Argument(metavar="ID", help="The run's number.")]) -> int:
    """Finish a run whose process died: what it has left prepared is committed or rolled back, as was decided."""
    fleet = screen.fleet()
    if screen.dry_run:
        run, results = fleet.run(number)
        return _tell(screen, run, results)
    with screen.progress() as listener, stop_on_signals(StopRequest()) as stop:
        run, results = fleet.resume(number, stop=stop, on_event=listener)
    _tell(screen, run, results)
    return 0 if run.state == "finished" else 2


def _tell(screen: Screen, run: Run, results: Sequence[ShardResult]) -> int:
    screen.document({**run.as_dict(), "shards": [result.as_dict() for result in results]})
    screen.line(_line(run), important=True)
    if run.note:
        screen.line(f"  {run.note}", important=True)
    for result in results:
        text, style = result_line(result)
        screen.line(text, style=style, important=result.status not in WELL)
    return 0


def _line(run: Run) -> str:
    took = f", {(run.finished_at - run.started_at).total_seconds():.1f} s" if run.finished_at else ""
    code = "" if run.exit_code is None else f", exit {run.exit_code}"
    undoes = f" (undoes run {run.undoes})" if run.undoes else ""
    return (
        f"{run.id}  {run.started_at:%Y-%m-%d %H:%M:%S}  {run.kind} to {run.target or 'base'}{undoes}  "
        f"{run.state}{code}{took}  by {run.started_by} on {run.started_on}"
    )
