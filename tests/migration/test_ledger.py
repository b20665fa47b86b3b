"""Who did what to which shard, and only one at a time."""

from __future__ import annotations

import os
import socket

import pytest

from kit import AT_GATE, MakeProject, Project, statuses, until
from shardwright.errors import RolloutUnderWay
from shardwright.migration.operation import operation
from shardwright.runs.events import Event, ShardProgress, ignore


@pytest.fixture
def project(make_project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Two shards, one revision, in Ada's hands."""
    monkeypatch.setenv("SHARDWRIGHT_OPERATOR", "ada")
    project = make_project(shards=2)
    project.table("r1", "a")
    return project


def test_the_ledger_says_who_when_and_what_for_every_shard(project: Project) -> None:
    """For ever, and in the numbers that the command printed."""
    first = project.migrate(jobs=1)
    second = project.migrate()
    run, results = project.fleet().run(1)
    assert (first.run, second.run) == (1, 2)
    assert (run.kind, run.target, run.state, run.exit_code) == ("migrate", "r1", "finished", 0)
    assert (run.started_by, run.started_on, run.process) == ("ada", socket.gethostname(), os.getpid())
    assert run.finished_at is not None
    assert run.started_at < run.finished_at
    assert results == list(first.results)
    assert [(each.shard, each.before, each.after) for each in results] == [
        ("shard_0", (), ("r1",)),
        ("shard_1", (), ("r1",)),
    ]
    assert [number.id for number in project.fleet().runs()] == [2, 1]


def test_a_second_rollout_at_once_is_refused_with_who_and_since_when(project: Project) -> None:
    """Nothing is touched by it; the first one goes on."""
    project.revision("r2", AT_GATE)
    with project.gate("shard_0") as gate, project.migrating(jobs=1) as rollout:
        gate.reached()
        begun = project.fleet().run(1)[0].started_at
        with pytest.raises(RolloutUnderWay) as refused:
            project.migrate()
        done = [project.cli("migrate"), project.cli("rollback", "--json")]
        gate.open()
    who = f"started by ada on {socket.gethostname()} (process {os.getpid()})"
    words = f"run 1: migrate to r2, {who}, since {begun:%Y-%m-%d %H:%M:%S}"
    assert words in str(refused.value)
    assert [each.returncode for each in done] == [2, 2]
    assert words in done[0].stderr
    assert words in done[1].stdout
    assert statuses(rollout.result()) == dict.fromkeys(project.shards, "migrated")
    assert len(project.fleet().runs()) == 1


def test_a_dead_run_is_not_taken_for_the_one_under_way(project: Project) -> None:
    """Whoever holds the lock and has not begun its run yet is named by its session."""
    project.migrate(jobs=1)
    project.sql("control", "ALTER TABLE shardwright.run DISABLE TRIGGER guard_run")  # as a death would leave it
    project.sql("control", "UPDATE shardwright.run SET state = 'running', finished_at = NULL")
    with (
        operation(project.fleet().resolved, "rollback", on_event=ignore),
        pytest.raises(
            RolloutUnderWay, match=r"shardwright rollback \(ada\) \(pid \d+, user postgres.*, since "
        ) as refused,
    ):
        project.migrate()
    assert "run 1" not in str(refused.value)


def test_a_rollout_that_its_own_program_breaks_off_is_closed(project: Project) -> None:
    """Whatever a listener raises: the worker is gone, the run is abandoned, and nobody waits for it."""

    def break_off(event: Event) -> None:
        if isinstance(event, ShardProgress):
            raise KeyboardInterrupt

    project.revision("r2", AT_GATE)
    with project.gate("shard_0"), pytest.raises(KeyboardInterrupt):
        project.migrate(jobs=1, on_event=break_off)
    run = project.fleet().run(1)[0]
    assert (run.state, run.note) == ("abandoned", "it ended with KeyboardInterrupt; the shards say how far it came")
    until(lambda: project.at_work("shard_0") == [])
    assert statuses(project.migrate(jobs=1)) == dict.fromkeys(project.shards, "migrated")


def test_two_sets_of_shards_do_not_wait_for_each_other(project: Project) -> None:
    """The lock is the set's, in whatever control database both share."""
    with operation(project.fleet().resolved, "migrate", on_event=ignore):
        project.extra = 'set = "green"'
        project.write()
        assert statuses(project.migrate(jobs=1)) == dict.fromkeys(project.shards, "migrated")


def test_shards_that_are_gone_from_the_configuration_stay_in_the_ledger(project: Project) -> None:
    """History is not rewritten; what is left can be rolled back."""
    project.migrate(jobs=1)
    gone = project.shards.pop("shard_1")
    project.write()
    assert [each.shard for each in project.fleet().run(1)[1]] == ["shard_0", "shard_1"]
    assert statuses(project.fleet().rollback()) == {"shard_0": "rolled_back"}
    project.shards["shard_1"] = gone
    assert project.versions() == {"shard_0": [], "shard_1": ["r1"]}
