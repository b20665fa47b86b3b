"""Servers and workers that die in the middle: what is true is read, never guessed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import psycopg
import pytest

from kills import kill
from kit import AT_GATE, NOTE_WORKER, MakeProject, Project, statuses
from shardwright.catalog import control
from shardwright.embedded import Cluster
from shardwright.runs.events import Event, ShardFinished, Stopping


def at_gate(project: Project) -> Project:
    """The project with one revision, which makes a table and then waits at the gate of its shard."""
    project.revision("r1", f"{NOTE_WORKER}op.execute('CREATE TABLE a (id int)'){AT_GATE}", 'op.drop_table("a")')
    return project


def test_a_worker_killed_in_its_work_leaves_the_shard_as_it_was(make_project: MakeProject) -> None:
    """Its statement ends on the server, the shard says that nothing came of it, and the next one is migrated."""
    project = at_gate(make_project(shards=2))
    with project.gate("shard_0") as gate:
        with project.migrating(jobs=1, on_failure="continue") as rollout:
            gate.reached()
            os.kill(project.worker(), signal.SIGKILL)
        result = rollout.result()
        assert gate.is_free
    assert statuses(result) == {"shard_0": "failed", "shard_1": "migrated"}
    assert "worker process ended unexpectedly (signal 9)" in (result["shard_0"].error or "")
    assert (result["shard_0"].before, result["shard_0"].after) == ((), ())
    assert project.tables("shard_0") == []


def test_a_worker_killed_after_its_commit_has_migrated_the_shard(make_project: MakeProject) -> None:
    """The acknowledgement was lost, not the work: the shard is asked, and says so."""
    project = make_project(shards=1)
    project.table("r1", "a")
    env = project.path / "migrations" / "env.py"
    env.write_text(env.read_text() + f"\n{NOTE_WORKER}import time\ntime.sleep(600)\n")
    with project.migrating() as rollout:
        os.kill(project.worker(), signal.SIGKILL)
    assert statuses(rollout.result()) == {"shard_0": "migrated"}
    assert rollout.result()["shard_0"].error is None
    assert project.versions() == {"shard_0": ["r1"]}


def test_a_shard_whose_worker_died_after_its_commit_is_no_failure(make_project: MakeProject) -> None:
    """It does not stop the rollout: what the shard says counts, not how its worker ended."""
    project = make_project(shards=2)
    project.table("r1", "a")
    env = project.path / "migrations" / "env.py"
    env.write_text(env.read_text() + "\nimport os\nif config.attributes['shard'] == 'shard_0':\n    os._exit(1)\n")
    result = project.migrate(jobs=1)
    assert statuses(result) == dict.fromkeys(project.shards, "migrated")
    assert (result.exit_code, result.stopped) == (0, None)


def test_a_server_that_is_back_before_the_end_is_asked_again(
    make_project: MakeProject, make_frail_database: Callable[[], str], other_cluster: Cluster
) -> None:
    """What could not be known at first is known once all the others are done."""
    project = at_gate(make_project(shards=2))
    project.shards["shard_0"] = make_frail_database()
    project.write()
    with project.gate("shard_1") as second:
        with project.gate("shard_0") as first, project.migrating(jobs=1, on_failure="continue") as rollout:
            first.reached()
            kill(other_cluster)
            second.reached()
            other_cluster.start()
            second.open()
        result = rollout.result()
    assert statuses(result) == {"shard_0": "failed", "shard_1": "migrated"}
    assert (result["shard_0"].before, result["shard_0"].after) == ((), ())
    assert "could not be read" not in (result["shard_0"].error or "")


def test_a_server_killed_in_the_middle_leaves_its_shard_unknown(
    make_project: MakeProject, make_frail_database: Callable[[], str], other_cluster: Cluster
) -> None:
    """Nobody can say what came of it until it is back; the others are migrated, and the next rollout finishes."""
    project = at_gate(make_project(shards=2))
    project.shards["shard_0"] = make_frail_database()
    project.write()
    with project.gate("shard_0") as gate, project.migrating(jobs=1, on_failure="continue") as rollout:
        gate.reached()
        kill(other_cluster)
    result = rollout.result()
    assert statuses(result) == {"shard_0": "unknown", "shard_1": "migrated"}
    assert "its revision could not be read afterwards" in (result["shard_0"].error or "")
    assert (result["shard_0"].before, result["shard_0"].after) == ((), None)
    assert result.exit_code == 1
    other_cluster.start()
    assert statuses(project.migrate(jobs=1)) == {"shard_0": "migrated", "shard_1": "up_to_date"}


def test_what_a_shard_of_unknown_outcome_got_is_rolled_back_too(
    make_project: MakeProject, make_frail_database: Callable[[], str], other_cluster: Cluster
) -> None:
    """The server dies after the commit, before anybody could read it: `rollback` asks the shard again."""
    project = make_project(shards=1)
    project.shards["shard_0"] = make_frail_database()
    project.write()
    project.table("r1", "a")
    env = project.path / "migrations" / "env.py"
    env.write_text(env.read_text() + f"\n{NOTE_WORKER}import time\nwhile True:\n    time.sleep(0.05)\n")
    with project.migrating() as rollout:
        worker = project.worker()
        kill(other_cluster)
        os.kill(worker, signal.SIGKILL)
    assert statuses(rollout.result()) == {"shard_0": "unknown"}
    other_cluster.start()
    assert project.versions() == {"shard_0": ["r1"]}
    project.env()
    assert statuses(project.fleet().rollback()) == {"shard_0": "rolled_back"}


def test_a_shard_that_is_gone_can_not_be_rolled_back(
    make_project: MakeProject, make_frail_database: Callable[[], str], other_cluster: Cluster
) -> None:
    """With `--on-failure rollback` it is named, with both reasons, and the exit code is 2."""
    project = at_gate(make_project(shards=2))
    project.shards["shard_1"] = make_frail_database()
    project.write()
    with project.gate("shard_1") as gate, project.migrating(jobs=1, on_failure="rollback") as rollout:
        gate.reached()
        kill(other_cluster)
    result = rollout.result()
    assert statuses(result)["shard_0"] == "rolled_back"
    assert "could not be rolled back" in (result["shard_1"].error or "")
    assert result.exit_code == 2


def test_without_its_control_database_a_rollout_ends_in_order(
    make_project: MakeProject, make_frail_database: Callable[[], str], other_cluster: Cluster
) -> None:
    """What runs is finished, nothing new begins; exit code 2 says that the ledger lacks the end."""
    project = at_gate(make_project(shards=2))
    project.control = make_frail_database()
    project.write()
    events: list[Event] = []
    with project.gate("shard_0") as gate, project.migrating(jobs=1, on_event=events.append) as rollout:
        gate.reached()
        other_cluster.stop()
        gate.open()
    result = rollout.result()
    assert statuses(result) == {"shard_0": "migrated", "shard_1": "not_tried"}
    assert result.exit_code == 2
    assert (result.stopped or "").startswith("the ledger can't be written: ")
    assert "the ledger lacks the end of this run" in result.extra["ledger"]
    assert [event.result.shard for event in events if isinstance(event, ShardFinished)] == ["shard_0", "shard_1"]
    other_cluster.start()
    assert statuses(project.migrate()) == {"shard_0": "up_to_date", "shard_1": "migrated"}
    assert [run.state for run in project.fleet().runs()] == ["finished", "abandoned"]


def test_a_ledger_locked_for_a_while_lacks_nothing_in_the_end(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rollout does not hang with it: it ends early, and what could not be written then is written at its end."""
    monkeypatch.setattr(control, "PATIENT", {"lock_timeout": "200ms"})
    project = at_gate(make_project(shards=2))
    with project.gate("shard_0") as gate, psycopg.connect(project.control) as somebody:

        def release(event: Event) -> None:
            if isinstance(event, Stopping):
                somebody.rollback()

        with project.migrating(jobs=1, on_event=release) as rollout:
            gate.reached()
            somebody.execute("LOCK TABLE shardwright.run_shard")
            gate.open()
        result = rollout.result()
    assert statuses(result) == {"shard_0": "migrated", "shard_1": "not_tried"}
    assert "the ledger can't be written: canceling statement due to lock timeout" in (result.stopped or "")
    assert (result.exit_code, project.fleet().run(1)[0].state) == (1, "finished")
    assert project.fleet().run(1)[1] == list(result.results)


@pytest.mark.parametrize("command", ["migrate", "rollback"])
def test_without_a_control_database_nothing_begins(make_project: MakeProject, dead_url: str, command: str) -> None:
    """What can't be recorded is not done: exit code 2, and its URL without the password."""
    project = make_project(shards=1)
    project.table("r1", "a")
    project.control = dead_url
    project.write()
    done = project.cli(command)
    assert done.returncode == 2
    assert "the control database postgresql://app:***@127.0.0.1" in done.stderr
    assert project.versions() == {"shard_0": []}
