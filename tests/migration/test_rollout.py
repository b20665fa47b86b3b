"""`migrate` over a fleet that is well."""

from __future__ import annotations

from kit import MakeProject, started, statuses
from shardwright.runs.events import Event, RunStarted, WaveStarted


def test_every_shard_reaches_the_head(make_project: MakeProject) -> None:
    """One rollout brings every shard through all revisions, and the shards themselves say so."""
    project = make_project(shards=3)
    project.table("r1", "a")
    project.table("r2", "b")
    result = project.migrate()
    assert result.exit_code == 0
    assert statuses(result) == dict.fromkeys(project.shards, "migrated")
    assert project.versions() == {shard: ["r2"] for shard in project.shards}
    assert [project.tables(shard) for shard in project.shards] == [["a", "b"]] * 3


def test_a_second_rollout_starts_no_worker(make_project: MakeProject) -> None:
    """Where nothing is to be done, no worker process is started and every shard is up to date."""
    project = make_project(shards=2)
    project.table("r1", "a")
    project.migrate()
    events: list[Event] = []
    result = project.migrate(on_event=events.append)
    assert statuses(result) == dict.fromkeys(project.shards, "up_to_date")
    assert started(events) == []


def test_waves_go_one_after_the_other(make_project: MakeProject) -> None:
    """Canaries first, then up to each share, then the rest; no wave begins before the one before has ended."""
    project = make_project(shards=5)
    project.table("r1", "a")
    events: list[Event] = []
    project.migrate(canary=1, waves="50%", jobs=2, on_event=events.append)
    assert [event.shards for event in events if isinstance(event, WaveStarted)] == [1, 2, 2]
    assert started(events)[0] == "shard_0"


def test_a_partial_target_leaves_the_rest_for_later(make_project: MakeProject) -> None:
    """`migrate REV` stops at that revision."""
    project = make_project(shards=2)
    project.table("r1", "a")
    project.table("r2", "b")
    result = project.migrate("r1")
    assert result.target == "r1"
    assert project.versions() == {shard: ["r1"] for shard in project.shards}


def test_the_run_is_numbered_before_any_shard_is_touched(make_project: MakeProject) -> None:
    """The first event names the run in the ledger and how much there is to do."""
    project = make_project(shards=2)
    project.table("r1", "a")
    events: list[Event] = []
    project.migrate(on_event=events.append)
    first = events[0]
    assert isinstance(first, RunStarted)
    assert (first.run, first.total, first.todo) == (1, 2, 2)
