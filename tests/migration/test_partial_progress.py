"""Shards that stop half way, because their revisions are not one transaction."""

from __future__ import annotations

import pytest

from kit import TRANSACTION_EACH, MakeProject, Project, started, statuses
from shardwright.runs.events import Event

ALTER = 'op.execute("ALTER TABLE a ADD COLUMN b int")'


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """One shard at r1, two revisions to go; the second needs a lock on table a."""
    project = make_project(shards=1, limits={"lock_timeout": '"50ms"', "lock_tries": "3"})
    project.table("r1", "a")
    project.stamp("r1", "CREATE TABLE a (id int)")
    project.table("r2", "b")
    project.revision("r3", ALTER, 'op.drop_column("a", "b")')
    return project


def test_what_is_committed_of_a_shard_is_told_and_not_tried_again(project: Project) -> None:
    """With a transaction per migration a lock timeout after the first is final, and `to` says how far it came."""
    project.env(TRANSACTION_EACH)
    with project.holding("shard_0", "SELECT FROM a"):
        result = project.migrate()
    shard = result["shard_0"]
    assert (shard.status, shard.before, shard.after, shard.attempts) == ("failed", ("r1",), ("r2",), 1)
    assert (shard.error or "").startswith("upgrade r3 (r3.py): lock timeout")
    assert project.versions() == {"shard_0": ["r2"]}
    assert statuses(project.migrate()) == {"shard_0": "migrated"}


def test_in_one_transaction_nothing_is_committed_and_all_is_tried_again(project: Project) -> None:
    """The usual env.py: every try begins at the beginning, and nothing of a failed one is left."""
    with project.holding("shard_0", "SELECT FROM a"):
        shard = project.migrate()["shard_0"]
    assert (shard.status, shard.after, shard.attempts) == ("failed", ("r1",), 3)
    assert project.tables("shard_0") == ["a"]


@pytest.mark.parametrize(
    "block",
    [
        "with op.get_context().autocommit_block():\n    op.execute('INSERT INTO a VALUES (1)')",
        "op.execute('INSERT INTO a VALUES (1)')\nop.get_bind().commit()",
    ],
)
def test_what_an_autocommit_block_did_is_not_done_twice(project: Project, block: str) -> None:
    """A lock timeout after it is not tried again: the block's work would meet itself."""
    project.revision("r3", f"{block}\nop.execute('ALTER TABLE b ADD COLUMN c int')", down="r2")
    project.sql("shard_0", "CREATE TABLE b (id int)")
    project.sql("shard_0", "UPDATE alembic_version SET version_num = 'r2'")
    with project.holding("shard_0", "SELECT FROM b"):
        shard = project.migrate()["shard_0"]
    assert (shard.status, shard.attempts) == ("failed", 1)
    assert project.sql("shard_0", "SELECT count(*) FROM a") == [(1,)]


def test_an_empty_autocommit_block_is_no_reason_not_to_try_again(project: Project) -> None:
    """Only what was written counts."""
    read = "with op.get_context().autocommit_block():\n    op.execute('SELECT 1')"
    project.revision("r2", f"{read}\n{ALTER}", down="r1")
    with project.holding("shard_0", "SELECT FROM a"):
        shard = project.migrate("r2")["shard_0"]
    assert (shard.status, shard.attempts) == ("failed", 3)


def test_rollback_takes_a_shard_back_that_came_only_part_of_the_way(project: Project) -> None:
    """The failed shard too: to where it was before the rollout, as the result says."""
    project.env(TRANSACTION_EACH)
    events: list[Event] = []
    with project.holding("shard_0", "SELECT FROM a"):
        result = project.migrate(on_failure="rollback", on_event=events.append)
    shard = result["shard_0"]
    assert (shard.status, shard.before, shard.after) == ("failed", ("r1",), ("r1",))
    assert "lock timeout" in (shard.error or "")
    assert started(events) == ["shard_0", "shard_0"]
    assert (project.versions(), project.tables("shard_0")) == ({"shard_0": ["r1"]}, ["a"])
    assert result.exit_code == 1
