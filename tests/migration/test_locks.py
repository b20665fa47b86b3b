"""Locks that somebody else holds: of tables, of versions, of the shard itself; and indexes built beside them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event as Flag

import psycopg
import pytest

from kit import MakeProject, Project, statuses, until
from shardwright.pg import locks
from shardwright.runs.events import Event, ShardProgress, ShardStarted, ShardWaiting
from shardwright.runs.fanout import SHARD_LOCK

ADD_COLUMN = 'op.execute("ALTER TABLE a ADD COLUMN b int")'
CREATE_INDEX = 'with op.get_context().autocommit_block():\n    op.execute("CREATE INDEX CONCURRENTLY by_id ON a (id)")'


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """Two shards with a table, and three tries for a lock."""
    project = make_project(shards=2, limits={"lock_tries": "3", "lock_timeout": '"50ms"'})
    project.table("r1", "a")
    project.stamp("r1", "CREATE TABLE a (id int)")
    return project


def test_a_lock_held_for_ever_is_named_with_its_holder(project: Project) -> None:
    """After all its tries the shard says which table, who holds it, and how often it tried; the other is migrated."""
    project.revision("r2", ADD_COLUMN)
    events: list[Event] = []
    with project.holding("shard_0", "SELECT FROM a") as somebody:
        result = project.migrate(on_failure="continue", jobs=1, on_event=events.append)
        pid = somebody.info.backend_pid
    assert statuses(result) == {"shard_0": "failed", "shard_1": "migrated"}
    error = result["shard_0"].error or ""
    assert error.startswith("upgrade r2 (r2.py): lock timeout on a; in the way: pid ")
    assert f"pid {pid} (somebody, " in error
    assert error.endswith("(after 3 tries)")
    assert f"pg_terminate_backend({pid})" in (result["shard_0"].hint or "")
    assert [event.shard for event in events if isinstance(event, ShardWaiting)] == ["shard_0", "shard_0"]
    assert project.versions() == {"shard_0": ["r1"], "shard_1": ["r2"]}


def test_a_lock_that_is_given_back_is_taken_at_the_next_try(project: Project) -> None:
    """The shard goes to the end of the queue, and is migrated once the holder has gone."""
    project.revision("r2", ADD_COLUMN)
    events: list[Event] = []
    with project.holding("shard_0", "SELECT FROM a") as somebody:

        def give_back(event: Event) -> None:
            events.append(event)
            if isinstance(event, ShardWaiting):
                somebody.rollback()

        result = project.migrate(jobs=1, on_event=give_back)
    assert result.exit_code == 0
    assert result["shard_0"].attempts == 2
    assert [(event.shard, event.attempt) for event in events if isinstance(event, ShardStarted)] == [
        ("shard_0", 1),
        ("shard_1", 1),
        ("shard_0", 2),
    ]


def test_readers_never_wait_for_much_longer_than_the_lock_timeout(project: Project) -> None:
    """Whoever queues behind our ALTER gets on when its lock_timeout is over, at every try."""
    project.revision("r2", ADD_COLUMN)
    waits: list[float] = []
    over = Flag()

    def read() -> None:
        with psycopg.connect(project.shards["shard_0"], autocommit=True) as reader:
            while not over.is_set():
                begun = time.monotonic()
                reader.execute("SELECT FROM a")
                waits.append(time.monotonic() - begun)

    with project.holding("shard_0", "SELECT FROM a"), ThreadPoolExecutor(1) as thread:
        reading = thread.submit(read)
        try:
            project.migrate(shards="shard_0")
        finally:
            over.set()
        reading.result()
    longest = 0.05 * 2**2  # the third and last try's
    assert longest / 2 < max(waits) < longest + 1.0


@contextmanager
def shard_lock_held(project: Project, shard: str) -> Iterator[psycopg.Connection]:
    """Another operation's session holds the shard's advisory lock."""
    with psycopg.connect(project.shards[shard], autocommit=True, application_name="another move") as connection:
        assert locks.acquire(connection, SHARD_LOCK)
        yield connection


def test_a_shard_in_another_operations_hands_is_left_alone(project: Project) -> None:
    """Its result names the holder; nothing of the shard changed, and the other shard is migrated."""
    project.revision("r2", ADD_COLUMN)
    with shard_lock_held(project, "shard_0") as holder:
        result = project.migrate(on_failure="continue", jobs=1)
        pid = holder.info.backend_pid
    assert statuses(result) == {"shard_0": "failed", "shard_1": "migrated"}
    assert f"another operation holds its lock: another move (pid {pid}" in (result["shard_0"].error or "")
    assert project.versions()["shard_0"] == ["r1"]


def test_a_shard_whose_operation_ends_meanwhile_is_migrated(project: Project) -> None:
    """The lock is tried again like any other."""
    project.revision("r2", ADD_COLUMN)
    with shard_lock_held(project, "shard_0") as holder:
        result = project.migrate(
            shards="shard_0", on_event=lambda event: holder.close() if isinstance(event, ShardWaiting) else None
        )
    assert result["shard_0"].attempts == 2
    assert result.exit_code == 0


def test_a_version_table_locked_after_the_plan_is_tried_again(project: Project) -> None:
    """Not even our own reading of the revision waits for ever."""
    project.revision("r2", ADD_COLUMN)
    with psycopg.connect(project.shards["shard_0"]) as somebody:

        def lock_and_release(event: Event) -> None:
            if isinstance(event, ShardStarted) and event.attempt == 1:
                somebody.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
            elif isinstance(event, ShardWaiting):
                somebody.rollback()

        result = project.migrate(shards="shard_0", on_event=lock_and_release)
    assert (result.exit_code, result["shard_0"].attempts) == (0, 2)


def test_an_index_built_concurrently_waits_for_a_long_transaction(project: Project) -> None:
    """It waits longer than any lock_timeout, since nobody queues behind it, and succeeds at its first try."""
    project.revision("r2", CREATE_INDEX)
    with project.holding("shard_0", "INSERT INTO a VALUES (1)") as somebody:
        with project.migrating(shards="shard_0") as rollout:
            until(lambda: any(seconds > 0.5 for seconds in project.waiting("shard_0")))
            somebody.commit()
        result = rollout.result()
    assert (result.exit_code, result["shard_0"].attempts) == (0, 1)
    assert index_is_valid(project) == [True]


def test_after_an_index_the_lock_timeout_is_in_force_again(project: Project) -> None:
    """The exception is for the one statement."""
    project.revision(
        "r2", f"{CREATE_INDEX}\n    op.execute(\"CREATE TABLE t AS SELECT current_setting('lock_timeout')\")"
    )
    project.migrate(shards="shard_0")
    assert project.sql("shard_0", "TABLE t") == [("50ms",)]


def test_an_invalid_index_of_a_broken_try_is_built_again(project: Project) -> None:
    """What an interrupted CREATE INDEX CONCURRENTLY leaves does not stop the next, and is told."""
    project.sql("shard_0", "INSERT INTO a VALUES (1), (1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        project.sql("shard_0", "CREATE UNIQUE INDEX CONCURRENTLY by_id ON a (id)")
    assert index_is_valid(project) == [False]
    project.revision("r2", CREATE_INDEX)
    events: list[Event] = []
    assert project.migrate(shards="shard_0", on_event=events.append).exit_code == 0
    assert index_is_valid(project) == [True]
    assert any(
        "dropped the invalid index by_id" in event.message for event in events if isinstance(event, ShardProgress)
    )


def test_an_invalid_index_is_found_on_the_search_path_of_the_revision(project: Project) -> None:
    """Where env.py or the revision has set another, ours follows."""
    for statement in ("CREATE SCHEMA app", "CREATE TABLE app.a (id int)", "INSERT INTO app.a VALUES (1), (1)"):
        project.sql("shard_0", statement)
    with pytest.raises(psycopg.errors.UniqueViolation):
        project.sql("shard_0", "CREATE UNIQUE INDEX CONCURRENTLY by_id ON app.a (id)")
    project.revision("r2", 'op.execute("SET search_path TO app, public")\n' + CREATE_INDEX)
    assert project.migrate(shards="shard_0").exit_code == 0
    assert index_is_valid(project) == [True]


def index_is_valid(project: Project) -> list[bool]:
    rows = project.sql("shard_0", "SELECT indisvalid FROM pg_index WHERE indexrelid::regclass::text LIKE '%by_id'")
    return [row[0] for row in rows]
