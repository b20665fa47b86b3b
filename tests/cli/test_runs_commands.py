"""`migrate --detach`, `worker`, and what an operator does with a run."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from kit import AT_GATE, Project, until
from shardwright.catalog.control import open_control
from shardwright.runs.board import Board, Places
from shardwright.runs.kinds import Kind, Step, StepContext
from shardwright.runs.stopping import StopRequest
from shardwright.runs.workers import WorkerLimits, carry_here

Cli = Callable[..., Any]  # conftest's
LIMITS = WorkerLimits(1, Places(1, 1), 30.0)


@pytest.fixture
def carry(project: Project) -> Callable[[Kind, int], None]:
    """Carries a run in this process as far as it goes."""
    fleet = project.fleet().resolved

    def carry(kind: Kind, number: int) -> None:
        def connect() -> object:
            return open_control(fleet.control, application_name="test")

        carry_here(connect, fleet, [kind], LIMITS, number, stop=StopRequest())  # type: ignore[arg-type]

    return carry


def create(project: Project, kind: Kind, *, pause: bool = False) -> int:
    fleet = project.fleet().resolved
    with open_control(fleet.control, application_name="test") as connection:
        return Board(connection, fleet.shard_set).create(kind, {}, target="somewhere", pause=pause)


def nothing(context: StepContext) -> None:
    """A step that does nothing."""


KIND = Kind("stroll", (Step("walk", nothing, nothing), Step("arrive", nothing, final=True)))


def test_a_rollout_is_left_to_a_worker_and_followed(cli: Cli, project: Project) -> None:
    """The command returns at once; a worker process does it; --follow tells it to its end."""
    detached = cli("migrate", "--detach", "--json")
    assert (detached.code, detached.document) == (0, {"run": 1, "state": "queued", "workers": 0})
    assert "no worker is running; try: shardwright worker" in cli("runs", "show", "1").out
    worker = project.start_cli("worker")
    try:
        followed = cli("runs", "show", "1", "--follow")
        assert followed.code == 0
        assert "finished: every step is done" in followed.out
        assert "✓ shard_0: migrated to r1" in followed.out
        assert project.versions() == {"shard_0": ["r1"], "shard_1": ["r1"]}
        events = [json.loads(line) for line in cli("runs", "show", "1", "--follow", "--json").out.splitlines()]
        assert [each["state"] for each in events if each["kind"] == "state"] == ["queued", "running", "finished"]
        run = cli("runs", "show", "1", "--json").document
        assert (run["state"], run["durable"], [step["state"] for step in run["steps"]]) == ("finished", True, ["done"])
    finally:
        worker.send_signal(signal.SIGINT)
        out, err = worker.communicate(timeout=60)
    assert (worker.returncode, err) == (0, "")
    assert "takes runs of shard set main" in out


def test_a_worker_that_is_stopped_lets_go_and_the_next_one_goes_on(cli: Cli, project: Project) -> None:
    """What the first had done stays done, and the ledger has each shard's revision from before the first of them."""
    project.revision("r2", f"op.execute('CREATE TABLE b (id int)'){AT_GATE}")
    assert cli("migrate", "r1", "--shards", "shard_0").code == 0
    assert cli("migrate", "--detach", "--jobs", "1").code == 0
    with project.gate("shard_1") as gate:
        first = project.start_cli("worker")
        gate.reached()
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=60)
    assert cli("runs", "show", "2", "--json").document["state"] == "queued"
    second = project.start_cli("worker")
    try:
        until(lambda: cli("runs", "show", "2", "--json").document["state"] == "finished")
    finally:
        second.send_signal(signal.SIGTERM)
        second.communicate(timeout=60)
    assert project.versions() == {"shard_0": ["r2"], "shard_1": ["r2"]}
    shards = {each["shard"]: each for each in cli("runs", "show", "2", "--json").document["shards"]}
    assert {name: (each["status"], each["from"], each["to"]) for name, each in shards.items()} == {
        "shard_0": ("migrated", "r1", "r2"),
        "shard_1": ("migrated", "base", "r2"),
    }


def test_atomic_is_not_left_to_anybody(cli: Cli, project: Project) -> None:
    """Locks may not wait for whoever takes over."""
    done = cli("migrate", "--atomic", "--detach")
    assert (done.code, "exclude one another" in done.err) == (64, True)


def test_a_run_that_waits_says_for_what_and_goes_on_when_approved(
    cli: Cli, project: Project, carry: Callable[[Kind, int], None]
) -> None:
    """The question, the command that answers it, and who did."""
    number = create(project, KIND, pause=True)
    carry(KIND, number)
    shown = cli("runs", "show", str(number)).out
    assert "waiting" in shown
    assert "begin arrive?" in shown
    assert f"try: shardwright runs approve {number}, or: shardwright runs cancel {number}" in shown
    assert cli("runs", "approve", str(number)).code == 0
    carry(KIND, number)
    assert "✓ arrive: done" in cli("runs", "show", str(number)).out
    assert "approved by" in cli("runs", "show", str(number)).out
    again = cli("runs", "approve", str(number))
    assert (again.code, again.err.splitlines()[0]) == (2, f"✗ run {number} is finished: it can't approve now")


def test_a_run_is_paused_resumed_and_taken_back(cli: Cli, project: Project, carry: Callable[[Kind, int], None]) -> None:
    """From the queue too; what was done is undone."""
    number = create(project, KIND, pause=True)
    assert "paused" in cli("runs", "pause", str(number)).out
    assert f"try: shardwright runs resume {number}" in cli("runs", "show", str(number)).out
    assert cli("runs", "resume", str(number)).code == 0
    carry(KIND, number)
    assert cli("runs", "cancel", str(number)).code == 0
    carry(KIND, number)
    assert "↩ walk: undone" in cli("runs", "show", str(number)).out
    assert cli("runs", "show", str(number), "--json").document["state"] == "cancelled"


def test_it_is_too_late_after_the_final_step(cli: Cli, project: Project, carry: Callable[[Kind, int], None]) -> None:
    """A run that has begun it says which step that was."""
    kind = Kind("jump", (Step("leap", nothing, final=True), Step("land", nothing, approval="land?")))
    number = create(project, kind)
    carry(kind, number)
    done = cli("runs", "cancel", str(number))
    assert (done.code, "its step leap was begun" in done.err) == (2, True)


def test_a_dry_run_asks_nothing_of_a_run(cli: Cli, project: Project) -> None:
    """--dry-run shows it as it is."""
    number = create(project, KIND)
    for action in ("cancel", "pause", "approve", "resume"):
        assert cli("runs", action, str(number), "--dry-run").code == 0
    assert cli("runs", "show", str(number), "--json").document["state"] == "queued"


@pytest.mark.parametrize("action", ["cancel", "pause", "approve", "resume"])
def test_a_run_that_is_not_there_is_named(cli: Cli, project: Project, action: str) -> None:
    """Whether or not there is a ledger."""
    assert cli("runs", action, "7").code == 2
    cli("migrate")
    done = cli("runs", action, "7")
    assert (done.code, "no run 7" in done.err) == (2, True)


@pytest.mark.parametrize("action", ["cancel", "pause", "approve"])
def test_a_rollout_in_a_process_of_its_own_is_stopped_there(cli: Cli, project: Project, action: str) -> None:
    """It has no steps: the answer says so, and where Ctrl-C belongs."""
    cli("migrate")
    done = cli("runs", action, "1")
    assert (done.code, "Ctrl-C" in done.err) == (2, True)
