"""The SQL that a plan's revisions send, for `--dry-run`: Alembic's offline mode in a process of its own.

A revision that wants a live connection can't be shown this way, and says so.
"""

from __future__ import annotations

import io
import json
import logging.config
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from shardwright.migration.history import History, ScriptLocation, State
from shardwright.migration.plan import Plan, ShardPlan

_NEEDS_CONNECTION = "needs a live connection to be shown as SQL"


def render(location: ScriptLocation, plan: Plan) -> dict[str, str]:
    """For each revision of `plan` the SQL it sends, or a comment that says why it can't be shown."""
    ways = {(each.before, each.steps, each.after): each for each in plan.todo}
    shown: dict[str, str] = {}
    for way in ways.values():
        shown.update(_render_way(location, way, upwards=plan.kind == "migrate"))
    return shown


def _render_way(location: ScriptLocation, way: ShardPlan, *, upwards: bool) -> dict[str, str]:
    request = {
        "project": str(location.project),
        "directory": str(location.directory),
        "version_table": location.version_table,
        "before": way.before,
        "steps": way.steps,
        "upwards": upwards,
        "path": sys.path,
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", "shardwright.migration.render"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return {revision: f"-- {revision}: can't be shown: {last}" for revision in way.steps}
    shown: dict[str, str] = json.loads(done.stdout)
    return shown


def _render_steps(
    history: History, before: State, revisions: Sequence[str], *, upwards: bool
) -> Iterable[tuple[str, str]]:
    state = before
    for revision in revisions:
        step = history.step(revision, upwards=upwards)
        try:
            yield revision, _offline(history, state, step)
        except Exception as error:  # noqa: BLE001 the user's revision may raise anything
            yield revision, f"-- {history.describe(revision)} {_NEEDS_CONNECTION}: {error}"
        state = history.after(state, [step])


def _offline(history: History, state: State, step: Any) -> str:
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415 only in the process of its own

    buffer = io.StringIO()
    config = history.location.alembic_config()
    config.set_main_option("sqlalchemy.url", "postgresql+psycopg://")
    config.output_buffer = buffer
    with EnvironmentContext(
        config,
        history.script,
        fn=lambda *_: [step],
        as_sql=True,
        starting_rev=list(state) or None,
        destination_rev=step.revision.revision,
    ):
        history.script.run_env()
    return buffer.getvalue().strip()


def _refuse_connections() -> None:
    from sqlalchemy import event  # noqa: PLC0415
    from sqlalchemy.engine import Engine  # noqa: PLC0415

    def refuse(*_: Any) -> NoReturn:
        raise RuntimeError("a dry run connects to nothing")

    event.listen(Engine, "do_connect", refuse)


def main() -> None:
    """Entry point of the process of its own: a request on stdin, SQL by revision on stdout, both JSON."""
    answer, sys.stdout = sys.stdout, sys.stderr
    request = json.load(sys.stdin)
    sys.path[:] = request["path"]
    logging.config.fileConfig = lambda *_, **__: None
    _refuse_connections()
    location = ScriptLocation(Path(request["project"]), Path(request["directory"]), request["version_table"])
    history = History(location)
    steps = _render_steps(history, tuple(request["before"]), request["steps"], upwards=request["upwards"])
    json.dump(dict(steps), answer)


if __name__ == "__main__":
    main()
