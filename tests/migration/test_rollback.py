"""`rollback`: each shard to the revision it had, and no further."""

from __future__ import annotations

import pytest

from kit import AT_GATE, TRANSACTION_EACH, MakeProject, Project, started, statuses, until
from shardwright import errors
from shardwright.fleet import RollbackOptions
from shardwright.runs.events import Event


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """Three shards at r1, r2 and r3, the head."""
    project = make_project(shards=3)
    for number, table in enumerate("abc", start=1):
        project.table(f"r{number}", table)
    tables = [f"CREATE TABLE {table} (id int)" for table in "abc"]
    project.stamp("r1", *tables[:1], shards=["shard_0"])
    project.stamp("r2", *tables[:2], shards=["shard_1"])
    project.stamp("r3", *tables, shards=["shard_2"])
    return project


START = {"shard_0": ["r1"], "shard_1": ["r2"], "shard_2": ["r3"]}
HEAD = {"shard_0": ["r3"], "shard_1": ["r3"], "shard_2": ["r3"]}


def test_the_last_rollout_is_undone_and_only_it(project: Project) -> None:
    """Each shard goes back to its own revision; the one that never moved is not even begun with."""
    project.migrate(jobs=1)
    assert project.versions() == HEAD
    events: list[Event] = []
    result = project.fleet().rollback(jobs=1, on_event=events.append)
    assert project.versions() == START
    assert statuses(result) == {"shard_0": "rolled_back", "shard_1": "rolled_back"}
    assert started(events) == ["shard_0", "shard_1"]
    assert project.tables("shard_0") == ["a"]
    assert (result.exit_code, project.fleet().run(2)[0].undoes) == (0, 1)


def test_a_second_rollback_finds_nothing(project: Project) -> None:
    """It does not go on to the rollout before: exit code 2, and nothing moves."""
    project.migrate("r2", jobs=1)
    project.migrate(jobs=1)
    project.fleet().rollback(jobs=1)
    before = project.versions()
    with pytest.raises(errors.NothingToRollBack, match="before run 2"):
        project.fleet().rollback()
    done = project.cli("rollback")
    assert (done.returncode, "nothing to roll back" in done.stderr) == (2, True)
    assert project.versions() == before


def test_there_is_nothing_to_undo_in_an_empty_ledger(project: Project) -> None:
    """Nor where every rollout found nothing to do."""
    with pytest.raises(errors.NothingToRollBack, match="no rollout"):
        project.fleet().rollback()
    project.migrate(shards="shard_2")
    with pytest.raises(errors.NothingToRollBack, match="no rollout"):
        project.fleet().rollback()


def test_a_rollout_that_began_with_no_shard_is_not_the_last(project: Project, dead_url: str) -> None:
    """One refused for a shard out of reach does not hide the one that did something."""
    project.migrate(jobs=1, shards="shard_0")
    url, project.shards["shard_2"] = project.shards["shard_2"], dead_url
    project.write()
    assert project.migrate().summary == {"failed": 1, "up_to_date": 1, "not_tried": 1}
    project.shards["shard_2"] = url
    project.write()
    assert statuses(project.fleet().rollback()) == {"shard_0": "rolled_back"}
    assert project.versions() == START


def test_a_run_can_be_named(project: Project) -> None:
    """`--run` undoes that one: shards that a later run has moved on are refused, and say so."""
    project.migrate("r2", jobs=1)
    project.migrate(shards="shard_0", jobs=1)
    result = project.fleet().rollback(run=1)
    assert statuses(result) == {"shard_0": "failed"}
    assert "it is at r3; run 1 left it at r2" in (result["shard_0"].error or "")
    assert "rollback --shards shard_0 --to r1" in (result["shard_0"].hint or "")
    assert (result.exit_code, project.versions()) == (2, {**START, "shard_0": ["r3"]})
    assert statuses(project.fleet().rollback(run=2)) == {"shard_0": "rolled_back"}
    assert statuses(project.fleet().rollback(run=1)) == {"shard_0": "rolled_back"}
    assert project.versions() == START


def test_a_run_takes_nothing_from_a_shard_it_never_began_with(project: Project) -> None:
    """A shard that an earlier, stopped rollout has left out belongs to the one that migrated it."""
    project.sql("shard_0", "CREATE TABLE c (id int)")
    assert statuses(project.migrate(jobs=1)) == {"shard_0": "failed", "shard_1": "not_tried", "shard_2": "up_to_date"}
    assert statuses(project.migrate(jobs=1, shards="shard_1")) == {"shard_1": "migrated"}
    with pytest.raises(errors.NothingToRollBack):
        project.fleet().rollback(run=1)
    assert project.versions()["shard_1"] == ["r3"]


def test_a_run_nobody_knows_is_refused(project: Project) -> None:
    """With its number."""
    with pytest.raises(errors.NoSuchRun, match="no run 7"):
        project.fleet().rollback(run=7)


def test_to_takes_down_only_what_is_above(project: Project) -> None:
    """`--to r2`: those at or below it stay where they are."""
    result = project.fleet().rollback(to="r2")
    assert statuses(result) == {"shard_0": "up_to_date", "shard_1": "up_to_date", "shard_2": "rolled_back"}
    assert project.versions() == {**START, "shard_2": ["r2"]}


def test_to_base_takes_everything(project: Project) -> None:
    """An empty version table is a state like any other."""
    result = project.fleet().rollback(to="base", jobs=1)
    assert result.summary == {"rolled_back": 3}
    assert project.versions() == {"shard_0": [], "shard_1": [], "shard_2": []}
    assert [project.tables(shard) for shard in project.shards] == [[], [], []]


def test_steps_are_counted_from_where_each_shard_is(project: Project) -> None:
    """`--steps 2`; a shard with fewer revisions is refused by name and stays as it is."""
    result = project.fleet().rollback(steps=2, jobs=1)
    assert statuses(result) == {"shard_0": "failed", "shard_1": "rolled_back", "shard_2": "rolled_back"}
    assert "-2" in (result["shard_0"].error or "")
    assert project.versions() == {"shard_0": ["r1"], "shard_1": [], "shard_2": ["r1"]}
    assert result.exit_code == 2


def test_only_the_chosen_shards_go_back(project: Project) -> None:
    """`--shards` narrows the undoing; the rest can follow later."""
    project.migrate(jobs=1)
    assert statuses(project.fleet().rollback(shards="shard_1")) == {"shard_1": "rolled_back"}
    assert project.versions() == {**HEAD, "shard_1": ["r2"]}
    assert statuses(project.fleet().rollback()) == {"shard_0": "rolled_back", "shard_1": "up_to_date"}


def test_ways_of_saying_where_to_exclude_one_another() -> None:
    """Exit code 64."""
    with pytest.raises(errors.UsageError, match="exclude one another"):
        RollbackOptions(run=1, to="r1")
    with pytest.raises(errors.UsageError, match="from 1"):
        RollbackOptions(steps=0)


def test_a_rollout_killed_half_way_is_undone_from_what_the_shards_say(project: Project) -> None:
    """kill -9: whichever shards it had come to, each is at its own earlier revision after `rollback`."""
    project.revision("r4", AT_GATE)
    with project.gate("shard_1") as gate:
        killed = project.start_cli("migrate", "--jobs", "1")
        gate.reached()
        killed.kill()
        killed.communicate()
        until(lambda: gate.is_free)
    assert project.versions() == {**START, "shard_0": ["r4"]}
    result = project.fleet().rollback(jobs=1)
    assert statuses(result) == {"shard_0": "rolled_back", "shard_1": "up_to_date", "shard_2": "up_to_date"}
    assert project.versions() == START
    assert [run.state for run in project.fleet().runs()] == ["finished", "abandoned"]


def test_a_killed_rollout_takes_nothing_from_what_a_later_one_did(project: Project) -> None:
    """Its ledger does not say how far it came; a shard that a later run has moved is left to that run."""
    project.revision("r4", AT_GATE)
    with project.gate("shard_0") as gate:
        killed = project.start_cli("migrate", "--jobs", "1")
        gate.reached()
        killed.kill()
        killed.communicate()
        until(lambda: gate.is_free)
    project.migrate(jobs=1)
    result = project.fleet().rollback(run=1)
    assert result.summary == {"failed": 3}
    assert "run 2 has moved it since run 1" in (result["shard_0"].error or "")
    assert project.versions() == {"shard_0": ["r4"], "shard_1": ["r4"], "shard_2": ["r4"]}


def test_a_rollback_that_failed_half_way_can_be_repeated(project: Project) -> None:
    """With a transaction per migration a shard may stop in between: the next rollback takes it the rest of the way."""
    project.env(TRANSACTION_EACH)
    project.migrate(shards="shard_0")
    project.sql("shard_0", "ALTER TABLE b RENAME TO hidden")
    assert statuses(project.fleet().rollback()) == {"shard_0": "failed"}
    assert project.versions()["shard_0"] == ["r2"]
    project.sql("shard_0", "ALTER TABLE hidden RENAME TO b")
    assert statuses(project.fleet().rollback()) == {"shard_0": "rolled_back"}
    assert project.versions() == START
