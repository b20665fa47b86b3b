"""Renders the revisions of a plan, in a process of its own: the user's env.py and revisions may do as they like."""

from __future__ import annotations

import json
import logging.config
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from shardwright.migration.history import History, ScriptLocation, State
from shardwright.migration.plan import ShardPlan
from shardwright.migration.recorder import NeedsConnection, Rendering, Statement, record
from shardwright.runs.apart import run_apart

Way = tuple[State, tuple[str, ...]]


def way_of(plan: ShardPlan) -> Way:
    """What shards have in common that go through the same revisions from the same state."""
    return plan.before, plan.steps


def render(location: ScriptLocation, plans: Iterable[ShardPlan], *, upwards: bool = True) -> dict[Way, list[Rendering]]:
    """A rendering of every revision of each way that `plans` go, in order; connects to nothing."""
    return render_ways(location, [way_of(plan) for plan in plans], upwards=upwards)


def render_ways(location: ScriptLocation, ways: Iterable[Way], *, upwards: bool = True) -> dict[Way, list[Rendering]]:
    """A rendering of every revision of each way; where the process fails as a whole, every rendering says why."""
    ways = list(dict.fromkeys(ways))
    if not ways:
        return {}
    request = {
        "project": str(location.project),
        "directory": str(location.directory),
        "version_table": location.version_table,
        "ways": ways,
        "upwards": upwards,
        "path": sys.path,
    }
    done = run_apart(main, json.dumps(request))
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return {way: [Rendering(revision, why_not=f"can't be rendered: {last}") for revision in way[1]] for way in ways}
    answers = json.loads(done.stdout)
    return {way: [_rendering(each) for each in answer] for way, answer in zip(ways, answers, strict=True)}


def _rendering(answer: dict[str, Any]) -> Rendering:
    statements = tuple(Statement(**statement) for statement in answer.pop("statements"))
    return Rendering(statements=statements, **answer)


def _refuse_connections() -> None:
    from sqlalchemy import event  # noqa: PLC0415 only in the process of its own
    from sqlalchemy.engine import Engine  # noqa: PLC0415

    def refuse(*_: Any) -> NoReturn:
        raise NeedsConnection("connects to a database by itself, or its env.py has no offline branch")

    event.listen(Engine, "do_connect", refuse)


def main() -> None:
    """Entry point of the process of its own: a request on stdin, renderings on stdout, both JSON."""
    answer, sys.stdout = sys.stdout, sys.stderr
    request = json.load(sys.stdin)
    sys.path[:] = request["path"]
    logging.config.fileConfig = lambda *_, **__: None
    _refuse_connections()
    location = ScriptLocation(Path(request["project"]), Path(request["directory"]), request["version_table"])
    history = History(location)
    answers = []
    for before, revisions in request["ways"]:
        steps = [history.step(revision, upwards=request["upwards"]) for revision in revisions]
        answers.append([asdict(rendering) for rendering in record(history, tuple(before), steps)])
    json.dump(answers, answer)
    answer.flush()  # what env.py raised may hold this frame, and the process ends without taking leave of its files


if __name__ == "__main__":
    main()
