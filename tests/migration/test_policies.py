"""What a failing shard means for the others: stop, continue, rollback, and how many may fail."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import indent

import pytest

from kit import AT_GATE, MakeProject, Project, started, statuses
from shardwright.runs.events import Event, ShardFinished, Stopping, WaveStarted

EXISTS = "op.get_bind().execute(sa.text(\"SELECT to_regclass('{}')\")).scalar()"
FAIL_WHERE_POISONED = f"""
if {EXISTS.format("poison")}:
    raise ValueError("poisoned")
op.create_table("b", sa.Column("id", sa.Integer))
"""


@pytest.fixture
def make_poisoned(make_project: MakeProject) -> Callable[..., Project]:
    """Makes a project at r1 whose revision r2 fails on the shards named."""

    def make(*poisoned: str, shards: int) -> Project:
        project = make_project(shards=shards)
        project.table("r1", "a")
        project.stamp("r1", "CREATE TABLE a (id int)")
        project.revision("r2", FAIL_WHERE_POISONED, 'op.drop_table("b")')
        for shard in poisoned:
            project.sql(shard, "CREATE TABLE poison ()")
        return project

    return make


def test_stop_starts_nothing_new(make_poisoned: Callable[..., Project]) -> None:
    """After the first failure, one at a time, the rest is not tried; exit code 1, and the reason is told."""
    project = make_poisoned("shard_1", shards=4)
    events: list[Event] = []
    result = project.migrate(jobs=1, on_event=events.append)
    expected = {"shard_0": "migrated", "shard_1": "failed", "shard_2": "not_tried", "shard_3": "not_tried"}
    assert statuses(result) == expected
    assert started(events) == ["shard_0", "shard_1"]
    assert [event.reason for event in events if isinstance(event, Stopping)] == ["shard_1 failed"]
    assert (result.stopped, result.exit_code) == ("shard_1 failed", 1)
    assert project.versions() == {"shard_0": ["r2"], "shard_1": ["r1"], "shard_2": ["r1"], "shard_3": ["r1"]}


def test_stop_finishes_what_is_running(make_poisoned: Callable[..., Project]) -> None:
    """A shard in work when another fails is migrated; those after it are not tried."""
    project = make_poisoned("shard_0", shards=3)
    project.sql("shard_1", "CREATE TABLE slow ()")
    project.revision("r2", f"if {EXISTS.format('slow')}:\n{indent(AT_GATE, '    ')}\n{FAIL_WHERE_POISONED}", down="r1")
    with project.gate("shard_1") as gate:

        def open_gate(event: Event) -> None:
            if isinstance(event, Stopping):
                gate.open()

        result = project.migrate(jobs=2, on_event=open_gate)
    assert statuses(result) == {"shard_0": "failed", "shard_1": "migrated", "shard_2": "not_tried"}


def test_continue_tries_every_shard(make_poisoned: Callable[..., Project]) -> None:
    """Each failure is told, and none keeps another shard from its turn."""
    project = make_poisoned("shard_0", "shard_2", shards=4)
    result = project.migrate(on_failure="continue", jobs=1)
    expected = {"shard_0": "failed", "shard_1": "migrated", "shard_2": "failed", "shard_3": "migrated"}
    assert statuses(result) == expected
    assert ["poisoned" in (each.error or "") for each in result.results] == [True, False, True, False]
    assert result.exit_code == 1


def test_more_failures_than_allowed_stop_the_rollout(make_poisoned: Callable[..., Project]) -> None:
    """One may fail; with the second nothing new is started."""
    project = make_poisoned("shard_0", "shard_2", shards=4)
    result = project.migrate(max_failures=1, jobs=1)
    expected = {"shard_0": "failed", "shard_1": "migrated", "shard_2": "failed", "shard_3": "not_tried"}
    assert statuses(result) == expected


def test_continue_with_a_bound_stops_at_it(make_poisoned: Callable[..., Project]) -> None:
    """`max_failures` holds for `continue` too."""
    project = make_poisoned("shard_0", shards=2)
    result = project.migrate(on_failure="continue", max_failures=0, jobs=1)
    assert statuses(result) == {"shard_0": "failed", "shard_1": "not_tried"}


def test_rollback_takes_each_shard_to_its_own_earlier_revision(make_poisoned: Callable[..., Project]) -> None:
    """Shards that began at different revisions end at different ones: exactly where they were."""
    project = make_poisoned("shard_2", shards=4)
    project.table("r3", "c")
    project.sql("shard_1", "CREATE TABLE b (id int)")
    project.sql("shard_1", "UPDATE alembic_version SET version_num = 'r2'")
    before = project.versions()
    result = project.migrate(on_failure="rollback", jobs=1)
    expected = {"shard_0": "rolled_back", "shard_1": "rolled_back", "shard_2": "failed", "shard_3": "not_tried"}
    assert statuses(result) == expected
    assert before == project.versions() == {"shard_0": ["r1"], "shard_1": ["r2"], "shard_2": ["r1"], "shard_3": ["r1"]}
    assert [project.tables(shard) for shard in ("shard_0", "shard_1")] == [["a"], ["a", "b"]]
    assert result.exit_code == 1
    assert statuses(result) == {each.shard: each.status for each in project.fleet().run(1)[1]}


def test_rollback_leaves_the_rollout_be_while_few_enough_fail(make_poisoned: Callable[..., Project]) -> None:
    """Failures that `max_failures` allows undo nothing."""
    project = make_poisoned("shard_0", shards=2)
    result = project.migrate(on_failure="rollback", max_failures=1, jobs=1)
    assert statuses(result) == {"shard_0": "failed", "shard_1": "migrated"}


def test_a_shard_that_can_not_go_back_is_named(make_poisoned: Callable[..., Project]) -> None:
    """Exit code 2: the fleet is not as it was, and the result says which shard and why."""
    project = make_poisoned("shard_2", shards=3)
    refuse = f"if {EXISTS.format('stuck')}:\n    raise ValueError('no way back')\nop.drop_table('b')"
    project.revision("r2", FAIL_WHERE_POISONED, refuse, down="r1")
    project.sql("shard_0", "CREATE TABLE stuck ()")
    result = project.migrate(on_failure="rollback", jobs=1)
    assert statuses(result) == {"shard_0": "failed", "shard_1": "rolled_back", "shard_2": "failed"}
    assert (result["shard_0"].error or "").startswith("could not be rolled back: downgrade r2 (r2.py): ")
    assert project.versions() == {"shard_0": ["r2"], "shard_1": ["r1"], "shard_2": ["r1"]}
    assert result.exit_code == 2


def test_rollback_goes_back_over_branches_and_their_merge(make_poisoned: Callable[..., Project]) -> None:
    """A shard on one branch goes back to that branch, one below it to there, whatever was merged since."""
    project = make_poisoned("shard_2", shards=3)
    project.revision("left", 'op.create_table("l")', 'op.drop_table("l")', down="r1")
    project.revision("right", 'op.create_table("r")', 'op.drop_table("r")', down="r1")
    project.revision("both", down=("r2", "left", "right"))
    project.sql("shard_1", "CREATE TABLE l ()")
    project.sql("shard_1", "UPDATE alembic_version SET version_num = 'left'")
    result = project.migrate(on_failure="rollback", jobs=1)
    assert statuses(result) == {"shard_0": "rolled_back", "shard_1": "rolled_back", "shard_2": "failed"}
    assert project.versions() == {"shard_0": ["r1"], "shard_1": ["left"], "shard_2": ["r1"]}
    assert [project.tables(shard) for shard in ("shard_0", "shard_1")] == [["a"], ["a", "l"]]


def test_rollback_goes_back_over_a_dependency_between_branches(make_poisoned: Callable[..., Project]) -> None:
    """What depends_on brought along goes too, in the right order."""
    project = make_poisoned("shard_1", shards=2)
    project.revision("other", 'op.create_table("o")', 'op.drop_table("o")', down=None)
    path = project.path / "migrations" / "versions" / "other.py"
    path.write_text(path.read_text().replace("depends_on = None", "depends_on = 'r2'"))
    result = project.migrate("heads", on_failure="rollback", jobs=1)
    assert statuses(result) == {"shard_0": "rolled_back", "shard_1": "failed"}
    assert project.versions() == {"shard_0": ["r1"], "shard_1": ["r1"]}
    assert project.tables("shard_0") == ["a"]


def test_a_failing_canary_keeps_the_next_wave_from_beginning(make_poisoned: Callable[..., Project]) -> None:
    """Only the canaries have been touched."""
    project = make_poisoned("shard_0", shards=4)
    events: list[Event] = []
    result = project.migrate(canary=1, waves="50%", jobs=4, on_event=events.append)
    assert [event.number for event in events if isinstance(event, WaveStarted)] == [1]
    assert started(events) == ["shard_0"]
    assert result.summary == {"failed": 1, "not_tried": 3}


def test_a_wave_begins_when_the_one_before_has_ended(make_poisoned: Callable[..., Project]) -> None:
    """While a canary is in work nobody else is, however many workers there might be."""
    project = make_poisoned(shards=3)
    project.revision("r2", AT_GATE, down="r1")
    events: list[Event] = []
    with project.gate("shard_0") as gate, project.migrating(canary=1, jobs=3, on_event=events.append) as rollout:
        gate.reached()
        assert started(events) == ["shard_0"]
        gate.open()
    assert statuses(rollout.result()) == dict.fromkeys(project.shards, "migrated")
    finished = [event.result.shard for event in events if isinstance(event, ShardFinished)]
    assert finished[0] == "shard_0"
