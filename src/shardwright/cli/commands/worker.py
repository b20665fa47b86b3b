"""`worker`: a process that takes durable runs."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from shardwright.cli.app import app, command
from shardwright.cli.screen import Screen
from shardwright.runs.stopping import StopRequest, stop_on_signals


@command(app, "worker", examples=("shardwright worker", "shardwright worker --at-once 4"))
def worker(
    screen: Screen,
    *,
    at_once: Annotated[int, typer.Option(min=1, help="How many runs this process carries at once.")] = 2,
) -> int:
    """Take runs from the queue until Ctrl-C; start as many workers as you like, on as many machines."""
    fleet = screen.fleet()
    with stop_on_signals(StopRequest()) as stop:
        fleet.work(at_once=at_once, stop=stop, say=lambda text: _say(screen, text))
    screen.flush_traces()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # the engine has threads that no exit handler waits for well


def _say(screen: Screen, text: str) -> None:
    screen.stream({"message": text})
    screen.line(text)
