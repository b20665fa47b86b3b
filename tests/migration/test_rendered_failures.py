"""What is sent from threads of our own fails as clearly, and ends as surely, as what runs in worker processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from kit import MakeProject, Project, statuses, until
from shardwright.embedded import Cluster
from shardwright.migration import ways
from shardwright.runs.events import Event, ShardWaiting
from shardwright.runs.stopping import StopRequest

# A statement that can be rendered, and that waits wherever table a has a row: on the shards, not on the proof's copy.
SLOW = 'op.execute("UPDATE a SET id = 2 WHERE pg_sleep(600) IS NULL")'


@pytest.fixture
def project(make_project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Two shards at r1, whose table has a row; small fleets are rendered too."""
    monkeypatch.setattr(ways, "FROM_SHARDS", 1)
    project = make_project(shards=2, limits={"lock_tries": "2", "lock_timeout": '"50ms"'})
    project.table("r1", "a")
    project.stamp("r1", "CREATE TABLE a (id int)", "INSERT INTO a VALUES (1)")
    return project


def is_sleeping(project: Project) -> Callable[[], bool]:
    """Whether shard_0 is in our statement."""
    return lambda: any("pg_sleep" in query for _, query in project.at_work("shard_0"))


def test_a_lock_held_for_ever_is_named_with_its_holder(project: Project) -> None:
    """Tried again at the end of the queue, and told with table and pid; the other shard is migrated."""
    project.revision("r2", 'op.execute("ALTER TABLE a ADD COLUMN b int")')
    events: list[Event] = []
    with project.holding("shard_0", "SELECT FROM a") as somebody:
        result = project.migrate(on_failure="continue", on_event=events.append)
        pid = somebody.info.backend_pid
    assert statuses(result) == {"shard_0": "failed", "shard_1": "migrated"}
    assert f"lock timeout on a; in the way: pid {pid} (somebody, " in (result["shard_0"].error or "")
    assert (result["shard_0"].error or "").endswith("(after 2 tries)")
    assert [event.shard for event in events if isinstance(event, ShardWaiting)] == ["shard_0"]


def test_a_statement_that_takes_too_long_is_ended_on_its_server(project: Project) -> None:
    """The time limit holds, and leaves nothing at work."""
    project.revision("r2", SLOW)
    project.sql("shard_1", "DELETE FROM a")
    result = project.migrate(on_failure="continue", timeout="2s")
    assert statuses(result) == {"shard_0": "failed", "shard_1": "migrated"}
    assert result["shard_0"].error == "took longer than 2s"
    assert project.at_work("shard_0") == []
    assert project.versions() == {"shard_0": ["r1"], "shard_1": ["r2"]}


@pytest.mark.parametrize("times", [1, 2])
def test_a_stop_ends_what_is_running(project: Project, times: int) -> None:
    """Asked once, it is cancelled on the server; asked twice at once, ended there without waiting for an answer."""
    project.revision("r2", SLOW)
    stop = StopRequest()
    with project.migrating(stop=stop, jobs=1) as rollout:
        until(is_sleeping(project))
        for _ in range(times):
            stop.ask("Ctrl-C")
    result = rollout.result()
    assert statuses(result) == {"shard_0": "failed", "shard_1": "not_tried"}
    assert result["shard_0"].error == "interrupted by Ctrl-C"
    assert project.at_work("shard_0") == []
    assert project.versions() == {"shard_0": ["r1"], "shard_1": ["r1"]}


def test_a_server_killed_in_the_middle_leaves_its_shard_unknown(
    project: Project, make_frail_database: Callable[[], str], other_cluster: Cluster
) -> None:
    """The other shard is migrated, and the next rollout finishes."""
    project.shards["shard_0"] = make_frail_database()
    project.write()
    project.stamp("r1", "CREATE TABLE a (id int)", "INSERT INTO a VALUES (1)", shards=["shard_0"])
    project.sql("shard_1", "DELETE FROM a")
    project.revision("r2", SLOW)
    with project.migrating(on_failure="continue") as rollout:
        until(is_sleeping(project))
        assert other_cluster.pid is not None
        os.kill(other_cluster.pid, signal.SIGKILL)
    assert statuses(rollout.result()) == {"shard_0": "unknown", "shard_1": "migrated"}
    other_cluster.start()
    project.sql("shard_0", "DELETE FROM a")
    assert statuses(project.migrate()) == {"shard_0": "migrated", "shard_1": "up_to_date"}


def test_a_shard_that_moved_meanwhile_is_not_sent_to(project: Project) -> None:
    """Its revision is read again at every try: nothing is done twice, and the shard says where it is."""
    project.revision("r2", 'op.execute("UPDATE a SET id = 2")')
    project.table("r3", "c")
    with project.holding("shard_0", "UPDATE alembic_version SET version_num = 'r2'") as somebody:

        def commit(event: Event) -> None:
            if isinstance(event, ShardWaiting):
                somebody.commit()

        result = project.migrate(shards="shard_0", on_event=commit)
    assert result["shard_0"].error == "it is at r2 now, and was not when the plan was made"
    assert project.sql("shard_0", "TABLE a") == [(1,)]


def test_after_kill_9_of_the_command_no_statement_goes_on(make_project: MakeProject) -> None:
    """Its threads die with it, and the server notices; the next rollout does what is left."""
    project = make_project(shards=ways.FROM_SHARDS)
    project.table("r1", "a")
    project.stamp("r1", "CREATE TABLE a (id int)")
    project.sql("shard_0", "INSERT INTO a VALUES (1)")
    project.revision("r2", SLOW)
    process = project.start_cli("migrate", "--jobs", "1")
    assert process.stdout is not None
    until(lambda: "sent" in (process.stdout.readline() if process.stdout else ""))
    until(is_sleeping(project))
    process.kill()
    process.communicate()
    until(lambda: project.at_work("shard_0") == [])
    project.sql("shard_0", "DELETE FROM a")
    assert project.migrate().exit_code == 0
    assert project.versions() == {shard: ["r2"] for shard in project.shards}
