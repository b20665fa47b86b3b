"""No shard takes for ever: statements end on their servers, loops end with their workers."""

from __future__ import annotations

from textwrap import indent

import pytest

from kit import NOTE_WORKER, MakeProject, Project, is_alive, statuses, until
from shardwright.runs import fanout

SLEEP = 'op.execute("SELECT pg_sleep(600)")'
LOOP = f"{NOTE_WORKER}while True:\n    time.sleep(0.05)"
STUBBORN = f"""{NOTE_WORKER}
while True:
    try:
        op.execute("SELECT pg_sleep(600)")
    except Exception:
        pass
"""


@pytest.fixture
def project(make_project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Two shards; what does not end when asked is ended more firmly within a second."""
    monkeypatch.setattr(fanout, "_HARD_AFTER", 0.5)
    monkeypatch.setattr(fanout, "_KILL_AFTER", 1.0)
    return make_project(shards=2)


def only_second_shard(project: Project, body: str) -> str:
    """`body`, for shard_1 alone: its worker has started by then, so that the limit is all for the work."""
    name = project.sql("shard_1", "SELECT current_database()")[0][0]
    return f"if op.get_bind().engine.url.database == {name!r}:\n{indent(body.strip(), '    ')}"


@pytest.mark.parametrize("body", [SLEEP, LOOP, STUBBORN])
def test_a_shard_that_takes_too_long_is_ended(project: Project, body: str) -> None:
    """A statement on its server, a loop in Python, a revision that will not take no: all end, and nothing stays."""
    project.revision("r1", f"op.execute('CREATE TABLE a (id int)')\n{only_second_shard(project, body)}")
    result = project.migrate(timeout="2s", jobs=1)
    assert statuses(result) == {"shard_0": "migrated", "shard_1": "failed"}
    assert result["shard_1"].error == "took longer than 2s"
    assert result["shard_1"].seconds >= 2
    assert project.at_work("shard_1") == []
    assert (project.versions()["shard_1"], project.tables("shard_1")) == ([], [])
    if "worker" in body:
        assert not is_alive(project.worker())


def test_a_statement_longer_than_statement_timeout_fails_with_the_limit_to_raise(project: Project) -> None:
    """It is the server that ends it."""
    project.revision("r1", SLEEP)
    project.limits["statement_timeout"] = '"200ms"'
    project.write()
    shard = project.migrate(shards="shard_0")["shard_0"]
    assert shard.error == "upgrade r1 (r1.py): canceling statement due to statement timeout"
    assert "limits.statement_timeout" in (shard.hint or "")


def test_an_index_that_takes_too_long_is_built_the_next_time(project: Project) -> None:
    """CREATE INDEX CONCURRENTLY behind a transaction that never ends: ended on the server, and begun anew later."""
    project.table("r1", "a")
    project.stamp("r1", "CREATE TABLE a (id int)")
    index = "CREATE INDEX CONCURRENTLY by_id ON a (id)"
    project.revision("r2", f"with op.get_context().autocommit_block():\n    op.execute({index!r})")
    with project.holding("shard_1", "INSERT INTO a VALUES (1)"):
        shard = project.migrate(timeout="2s", jobs=1)["shard_1"]
        assert (shard.status, shard.error) == ("failed", "took longer than 2s")
        until(lambda: project.at_work("shard_1") == [])
    assert project.sql("shard_1", "SELECT indisvalid FROM pg_index WHERE indrelid = 'a'::regclass") == [(False,)]
    assert statuses(project.migrate()) == {"shard_0": "up_to_date", "shard_1": "migrated"}
    assert project.sql("shard_1", "SELECT indisvalid FROM pg_index WHERE indrelid = 'a'::regclass") == [(True,)]


def test_a_time_limit_counts_all_tries_of_a_shard(project: Project) -> None:
    """Waiting for a lock again and again is bounded as well; whoever is in the way is named all the same."""
    project.table("r1", "a")
    project.stamp("r1", "CREATE TABLE a (id int)")
    project.revision("r2", 'op.execute("ALTER TABLE a ADD COLUMN b int")')
    project.limits |= {"lock_tries": "100"}
    project.write()
    with project.holding("shard_1", "SELECT FROM a"):
        shard = project.migrate(timeout="3s", jobs=1)["shard_1"]
    assert shard.status == "failed"
    assert (shard.error or "").startswith("took longer than 3s; in the way: pid")
    assert 1 < shard.attempts < 50
