"""`runs` and below: the ledger, and what an operator may do with a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from shardwright.cli.app import app, command
from shardwright.cli.screen import Screen
from shardwright.cli.words import counted, event_line, hands_line, result_line, run_line, run_progress, step_lines
from shardwright.runs.results import WELL, ShardResult
from shardwright.runs.stopping import StopRequest, stop_on_signals

if TYPE_CHECKING:
    from shardwright.fleet import Fleet
    from shardwright.runs.board import DurableRun
    from shardwright.runs.store import Run

_LOOK_EVERY = 0.5
_SILENT = 60  # seconds after which a worker that said nothing is not counted on
_REST = ("waiting", "paused", "parked")
Number = Annotated[int, typer.Argument(metavar="ID", help="The run's number.")]
group = typer.Typer(help="The ledger: who did what to which shard, and how it ended; what is under way.")
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
        screen.line(run_line(run), important=True)
    if not runs:
        screen.line("the ledger is empty", important=True)
    return 0


@command(group, "show", examples=("shardwright runs show 12", "shardwright runs show 12 --follow"))
def show(
    screen: Screen,
    number: Number,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until it ends or rests; with --json one event a line.")
    ] = False,
) -> int:
    """Show one run, its steps, and each shard's result in it."""
    fleet = screen.fleet()
    fleet.run(number)
    if follow:
        return _follow(screen, fleet, number)
    return _tell(screen, fleet, *fleet.run(number))


def _follow(screen: Screen, fleet: Fleet, number: int) -> int:
    """Everything that has happened and happens, until the run ends or rests; its exit code."""
    last = 0
    with stop_on_signals(StopRequest()) as stop:
        while not stop.is_asked:
            run, results = fleet.run(number)  # before the events: what was told before it ended is among them
            for event in fleet.events(number, after=last) if run.is_durable else ():
                last = event.id
                screen.stream({"at": event.at.isoformat(), "kind": event.kind, **event.data})
                screen.line(event_line(event))
            if run.finished_at is not None or run.state in _REST:
                if not screen.as_json:
                    _tell(screen, fleet, run, results)
                return run.exit_code or 0
            time.sleep(_LOOK_EVERY)
    return 128 + (stop.signal or 0)


@command(group, "resume", changes=True, examples=("shardwright runs resume 12",))
def resume(screen: Screen, number: Number) -> int:
    """Go on with a run that is paused or parked; finish what a killed migrate --atomic has left prepared."""
    fleet = screen.fleet()
    if screen.dry_run:
        return _tell(screen, fleet, *fleet.run(number))
    with screen.progress() as listener, stop_on_signals(StopRequest()) as stop:
        run, results = fleet.resume(number, stop=stop, on_event=listener)
    _tell(screen, fleet, run, results)
    return 0 if run.is_durable or run.state == "finished" else 2


@command(group, "cancel", changes=True, examples=("shardwright runs cancel 12",))
def cancel(screen: Screen, number: Number) -> int:
    """Take a run back: it stops at its next safe point, and what it has done is undone, step by step."""
    return _operate(screen, number, lambda fleet: fleet.cancel(number))


@command(group, "pause", changes=True, examples=("shardwright runs pause 12",))
def pause(screen: Screen, number: Number) -> int:
    """Let a run rest at its next safe point; `runs resume` goes on with it."""
    return _operate(screen, number, lambda fleet: fleet.pause(number))


@command(group, "approve", changes=True, examples=("shardwright runs approve 12",))
def approve(screen: Screen, number: Number) -> int:
    """Let a run that waits for an operator begin its next step."""
    return _operate(screen, number, lambda fleet: fleet.approve(number))


def _operate(screen: Screen, number: int, act: Callable[[Fleet], DurableRun]) -> int:
    fleet = screen.fleet()
    if not screen.dry_run:
        act(fleet)
    return _tell(screen, fleet, *fleet.run(number))


def _tell(screen: Screen, fleet: Fleet, run: Run, results: Sequence[ShardResult]) -> int:
    durable = fleet.durable_run(run.id) if run.is_durable else None
    steps = fleet.steps(run.id) if durable else []
    told = {**durable.as_dict(), "steps": [step.as_dict() for step in steps]} if durable else {}
    screen.document({**run.as_dict(), **told, "shards": [result.as_dict() for result in results]})
    screen.line(run_line(run), important=True)
    if run.note:
        screen.line(f"  {run.note}", important=True)
    if durable is not None:
        for line, style in step_lines(steps):
            screen.line(line, style=style)
        if durable.state == "running":
            screen.line(hands_line(durable))
        if durable.state == "running" and durable.progress:
            screen.line(f"  {run_progress(durable.progress, fleet.eta(run.id))}")
        _tell_what_helps(screen, fleet, durable)
    for result in results:
        text, style = result_line(result)
        screen.line(text, style=style, important=result.status not in WELL)
    return 0


def _tell_what_helps(screen: Screen, fleet: Fleet, run: DurableRun) -> None:
    if run.state == "queued":
        _tell_if_none_works(screen, _workers_alive(fleet))
    cure = {"waiting": "approve", "paused": "resume", "parked": "resume"}.get(run.state)
    if cure is not None:
        also = "" if run.direction == "back" else f", or: shardwright runs cancel {run.id}"
        screen.line(f"  try: shardwright runs {cure} {run.id}{also}", important=True)


def tell_detached(screen: Screen, fleet: Fleet, number: int) -> int:
    """A run is in the queue: its number, and how to see what becomes of it."""
    alive = _workers_alive(fleet)
    screen.document({"run": number, "state": "queued", "workers": alive})
    screen.line(f"run {number} is in the queue, for {counted(alive, 'worker')}", important=True)
    _tell_if_none_works(screen, alive)
    screen.line(f"  follow it: shardwright runs show {number} --follow")
    return 0


def _workers_alive(fleet: Fleet) -> int:
    return sum(worker.silent < _SILENT for worker in fleet.workers())


def _tell_if_none_works(screen: Screen, alive: int) -> None:
    if not alive:
        screen.line("  no worker is running; try: shardwright worker", style="yellow", important=True)
