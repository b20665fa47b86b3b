"""Ctrl-C, SIGTERM and kill -9 of the command: nothing goes on behind our back, and the ledger stays true."""

from __future__ import annotations

import signal
import subprocess

import pytest

from kit import AT_GATE, NOTE_WORKER, MakeProject, Project, is_alive, statuses, until
from shardwright.runs.stopping import StopRequest


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """Two shards with one revision, which makes a table and then waits at the gate of its shard."""
    project = make_project(shards=2)
    project.revision("r1", f"{NOTE_WORKER}op.execute('CREATE TABLE a (id int)'){AT_GATE}")
    return project


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code, and all that was printed."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out + err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_rollout_in_order(project: Project, number: signal.Signals, code: int) -> None:
    """The statement is cancelled on its server, nothing new begins, and the ledger has it all."""
    with project.gate("shard_0") as gate:
        process = project.start_cli("migrate", "--jobs", "1")
        gate.reached()
        process.send_signal(number)
        exit_code, output = ended(process)
        assert gate.is_free
    assert exit_code == code
    assert f"interrupted by {number.name}" in output
    run, results = project.fleet().run(1)
    assert (run.state, run.exit_code, run.note) == ("interrupted", code, f"interrupted by {number.name}")
    assert [(each.status, each.error) for each in results] == [
        ("failed", f"interrupted by {number.name}"),
        ("not_tried", None),
    ]
    assert project.versions() == {"shard_0": [], "shard_1": []}
    assert not is_alive(project.worker())


def test_a_signal_while_the_plan_is_made_begins_nothing(project: Project) -> None:
    """The run stands in the ledger as interrupted, with no shard tried."""
    project.stamp("r1", shards=["shard_1"])
    project.table("r2", "b")
    with project.holding("shard_1", "LOCK TABLE alembic_version"):
        process = project.start_cli("migrate")
        until(lambda: project.waiting("shard_1"))
        process.send_signal(signal.SIGINT)
        exit_code, _ = ended(process)
    assert exit_code == 130
    run, results = project.fleet().run(1)
    assert (run.state, [each.status for each in results]) == ("interrupted", ["not_tried", "failed"])
    assert project.versions() == {"shard_0": [], "shard_1": ["r1"]}


def test_a_second_signal_does_not_wait_for_user_code(project: Project) -> None:
    """A revision that loops in Python is killed with its worker at once."""
    project.revision("r1", f"{NOTE_WORKER}while True:\n    time.sleep(0.05)", down=None)
    process = project.start_cli("migrate", "--jobs", "1")
    worker = project.worker()
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    until(lambda: "stopping" in (process.stdout.readline() if process.stdout else ""))
    process.send_signal(signal.SIGINT)
    exit_code, _ = ended(process)
    assert exit_code == 130
    assert not is_alive(worker)
    assert project.fleet().run(1)[0].state == "interrupted"


def test_a_stop_between_two_shards_leaves_the_second_untried(project: Project) -> None:
    """From Python: whoever holds the StopRequest ends the rollout; no signal, so exit code 1."""
    stop = StopRequest()
    with project.gate("shard_0") as gate, project.migrating(jobs=1, stop=stop) as rollout:
        gate.reached()
        stop.ask("the maintenance window is over")
    result = rollout.result()
    assert statuses(result) == {"shard_0": "failed", "shard_1": "not_tried"}
    assert result["shard_0"].error == "interrupted by the maintenance window is over"
    assert result.exit_code == 1


def test_a_stop_during_the_way_back_names_who_is_not_back_yet(project: Project) -> None:
    """Interrupted in `--on-failure rollback`: the shard is told as still up, with the command that goes on."""
    project.revision("r1", "op.execute('CREATE TABLE a (id int)')", f"{AT_GATE}op.drop_table('a')", down=None)
    project.sql("shard_1", "CREATE TABLE a (id int)")
    stop = StopRequest()
    with project.gate("shard_0") as gate:
        with project.migrating(jobs=1, stop=stop, on_failure="rollback") as rollout:
            gate.reached()
            stop.ask("Ctrl-C")
        result = rollout.result()
    assert statuses(result) == {"shard_0": "failed", "shard_1": "failed"}
    assert result["shard_0"].error == "could not be rolled back: interrupted by Ctrl-C"
    assert project.versions()["shard_0"] == ["r1"]
    assert statuses(project.fleet().rollback()) == {"shard_0": "rolled_back", "shard_1": "up_to_date"}


def test_after_kill_9_of_the_command_nothing_goes_on(project: Project) -> None:
    """Its worker disappears, its statement ends; the next rollout closes the dead run and does what is left."""
    with project.gate("shard_1") as gate:
        process = project.start_cli("migrate", "--jobs", "1")
        gate.reached()
        worker = project.worker()
        process.kill()
        process.communicate()
        until(lambda: gate.is_free and not is_alive(worker))
        assert project.versions() == {"shard_0": ["r1"], "shard_1": []}
        assert project.fleet().run(1)[0].state == "abandoned"
    result = project.migrate(jobs=1)
    assert statuses(result) == {"shard_0": "up_to_date", "shard_1": "migrated"}
    assert project.fleet().run(1)[0].state == "abandoned"
    assert "the shards say how far it came" in (project.fleet().run(1)[0].note or "")
