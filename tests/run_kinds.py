"""Durable runs for tests, whose steps write down in a database of their own what they do, and workers for them.

As a program: a worker of the project in the current folder, or (with a run's number) that run in the foreground. Where
the environment names a point (`SW_DIES=before Board.take 1`), it dies there as by kill -9; at `SW_STOPS` it is stopped.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from typing import Any

import psycopg

from shardwright import fleet as fleets
from shardwright.runs import workers
from shardwright.runs.board import Board, Places
from shardwright.runs.engine import Engine
from shardwright.runs.kinds import Kind, Progress, Step, StepContext, Stopped
from shardwright.runs.stopping import StopRequest, stop_on_signals

TABLES = """
CREATE TABLE effect (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, run bigint, runner int, step text, what text, process int,
    at timestamptz DEFAULT clock_timestamp()
);
CREATE TABLE fence (run bigint PRIMARY KEY, runner int NOT NULL);
CREATE TABLE switched (run bigint PRIMARY KEY);
"""


def write(context: StepContext, step: str, what: str) -> None:
    """The effect is written down, unless another has written for this run since it was taken from us."""
    url = context.fleet.shards[0].url.conninfo
    with psycopg.connect(url, application_name="step") as outside:
        row = outside.execute(
            """INSERT INTO fence VALUES (%(run)s, %(runner)s)
               ON CONFLICT (run) DO UPDATE SET runner = excluded.runner WHERE fence.runner <= excluded.runner
               RETURNING run""",
            {"run": context.run, "runner": context.runner},
        ).fetchone()
        if row is None:
            raise Stopped("fenced")
        if what == "switch":
            done = outside.execute("INSERT INTO switched VALUES (%s) ON CONFLICT DO NOTHING", [context.run])
            what = "switch" if done.rowcount else "switched already"
        outside.execute(
            "INSERT INTO effect (run, runner, step, what, process) VALUES (%s, %s, %s, %s, %s)",
            [context.run, context.runner, step, what, os.getpid()],
        )


def _linger(context: StepContext) -> None:
    seconds = context.plan.get("seconds", 0.0)
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        context.raise_if_stopped()
        context.report(Progress("linger", seconds - left, seconds, "seconds"))
        time.sleep(min(left, 0.05))


def _step(name: str, **options: Any) -> Step:
    def do(context: StepContext) -> Mapping[str, Any]:
        write(context, name, "begin")
        _linger(context)
        write(context, name, "switch" if options.get("final") else "do")
        return {"attempt": context.attempt}

    def undo(context: StepContext) -> None:
        write(context, name, "undo")

    return Step(name, do, None if options.get("final") else undo, **options)


def _die(context: StepContext) -> None:
    if context.plan.get("deaths", 99) >= context.attempt:
        os.kill(os.getpid(), signal.SIGKILL)


MOVE = Kind("move", (_step("copy"), _step("follow"), _step("switch", final=True), _step("clean")))
POISON = Kind("poison", (Step("die", _die),))
KINDS = (*fleets.KINDS, MOVE, POISON)


def at(point: str, number: signal.Signals) -> None:
    """This process gets a signal before, or after, the nth call of that method from here on."""
    moment, name, count = point.split()
    owner, method = name.split(".")
    target: Any = {"Board": Board, "Engine": Engine, "kinds": sys.modules[__name__]}[owner]
    original: Callable[..., Any] = getattr(target, method)
    left = int(count)

    @wraps(original)
    def mortal(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        result = original(*arguments, **options) if moment == "after" else None
        left -= method != "admit" or result is not None  # what finds nothing to do does not count
        if left == 0:
            os.kill(os.getpid(), number)
        return original(*arguments, **options) if moment == "before" else result

    setattr(target, method, mortal)


def _main() -> None:
    for variable, number in (("SW_DIES", signal.SIGKILL), ("SW_STOPS", signal.SIGSTOP)):
        if point := os.environ.get(variable):
            at(point, number)
    fleets.KINDS = KINDS
    fleet = fleets.Fleet.from_config()
    with stop_on_signals(StopRequest()) as stop:
        if len(sys.argv) > 2:
            runs = fleet.config.runs
            limits = workers.WorkerLimits(1, Places(runs.at_once, runs.per_host), runs.time_to_live.total_seconds())
            _say(f"carries {sys.argv[2]}")
            workers.carry_here(fleet._connect_to_act, fleet.resolved, KINDS, limits, int(sys.argv[2]), stop=stop)
        else:
            fleet.work(at_once=int(sys.argv[1]), stop=stop, say=_say)
    os._exit(0)


def _say(text: str) -> None:
    with suppress(BrokenPipeError):
        print(text, flush=True)  # noqa: T201 the log that tests read


if __name__ == "__main__":
    _main()
