"""Shards that can't take part: each says why, and none spoils the others' rollout."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

import pytest

from kit import MakeProject, Project, started, statuses
from shardwright.embedded import Cluster
from shardwright.fleet import OnFailure
from shardwright.migration import versions
from shardwright.runs.events import Event


def with_bad_shard(project: Project, url: str) -> Project:
    """The project's first shard is at `url` now, and there is one revision."""
    project.shards["shard_0"] = url
    project.write()
    project.table("r1", "a")
    return project


@pytest.mark.parametrize(
    ("fixture", "words", "hint"),
    [
        ("dead_url", "Connection refused", "is the server running"),
        ("refused_url", "password authentication failed", "user and password"),
        ("missing_url", 'database "never_made" does not exist', "create the database"),
    ],
)
def test_a_shard_out_of_reach_says_why_and_the_others_are_migrated(
    make_project: MakeProject, request: pytest.FixtureRequest, fixture: str, words: str, hint: str
) -> None:
    """With `continue` only the shard that can't be reached fails, with a cure, and exit code 1."""
    project = with_bad_shard(make_project(shards=2), request.getfixturevalue(fixture))
    result = project.migrate(on_failure="continue", jobs=1)
    assert statuses(result) == {"shard_0": "failed", "shard_1": "migrated"}
    bad = result["shard_0"]
    assert words in (bad.error or "")
    assert hint in (bad.hint or "")
    assert (bad.before, bad.after, bad.attempts) == (None, None, 0)
    assert result.exit_code == 1


@pytest.mark.parametrize("policy", ["stop", "rollback"])
def test_a_shard_known_to_be_down_stops_everything_before_it_begins(
    make_project: MakeProject, dead_url: str, policy: OnFailure
) -> None:
    """With `stop` and `rollback`, a failure that the plan knows means that no shard is started at all."""
    project = with_bad_shard(make_project(shards=3), dead_url)
    events: list[Event] = []
    result = project.migrate(on_failure=policy, on_event=events.append)
    assert statuses(result) == {"shard_0": "failed", "shard_1": "not_tried", "shard_2": "not_tried"}
    assert result.exit_code == 1
    assert started(events) == []
    assert project.tables("shard_1") == []


def test_as_many_shards_may_be_down_as_are_allowed(make_project: MakeProject, dead_url: str) -> None:
    """`max_failures` counts those that the plan knows, too."""
    project = with_bad_shard(make_project(shards=2), dead_url)
    assert statuses(project.migrate(max_failures=1, jobs=1)) == {"shard_0": "failed", "shard_1": "migrated"}


def test_a_host_that_does_not_answer_is_waited_for_once(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many shards on a silent host only the first few are tried; all say so, and the others are migrated."""
    monkeypatch.setattr(versions, "CONNECT_TIMEOUT", 2)
    project = make_project(shards=1)
    project.table("r1", "a")
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        port = silent.getsockname()[1]
        project.shards |= {f"silent_{number}": f"postgresql://app@127.0.0.1:{port}/{number}" for number in range(40)}
        project.write()
        result = project.migrate(on_failure="continue", jobs=1)
        silent.settimeout(0)
        tried = 0
        with suppress(BlockingIOError):
            while True:
                silent.accept()[0].close()
                tried += 1
    assert result.summary == {"migrated": 1, "failed": 40}
    assert "timeout expired" in (result["silent_39"].error or "")
    assert tried <= 16


def test_a_stopped_server_fails_its_shard_and_catches_up_when_it_is_back(
    make_project: MakeProject, make_frail_database: Callable[[], str], other_cluster: Cluster
) -> None:
    """The next rollout does what is left, and only that."""
    project = with_bad_shard(make_project(shards=2), make_frail_database())
    other_cluster.stop()
    assert statuses(project.migrate(on_failure="continue", jobs=1)) == {"shard_0": "failed", "shard_1": "migrated"}
    other_cluster.start()
    assert statuses(project.migrate(jobs=1)) == {"shard_0": "migrated", "shard_1": "up_to_date"}


def test_a_shard_ahead_of_the_code_names_the_run_and_who_brought_it(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newer code has been here: no Alembic runs, and the ledger tells whose code it was."""
    project = make_project(shards=2)
    project.table("r1", "a")
    project.table("r2", "b")
    monkeypatch.setenv("SHARDWRIGHT_OPERATOR", "ada")
    project.migrate(shards="shard_0")
    (project.path / "migrations" / "versions" / "r2.py").unlink()
    result = project.migrate(on_failure="continue", jobs=1)
    assert statuses(result) == {"shard_0": "ahead", "shard_1": "migrated"}
    assert "at r2, brought by run 1 of ada" in (result["shard_0"].error or "")
    assert (result["shard_0"].before, result["shard_0"].after) == (("r2",), ("r2",))
    assert statuses(project.fleet().status()) == {"shard_0": "ahead", "shard_1": "up_to_date"}
    assert result.exit_code == 1


def test_a_revision_nobody_knows_is_unknown(make_project: MakeProject) -> None:
    """What the ledger does not know either is `unknown`, and left alone."""
    project = make_project(shards=1)
    project.table("r1", "a")
    project.sql("shard_0", "CREATE TABLE alembic_version (version_num varchar(32))")
    project.sql("shard_0", "INSERT INTO alembic_version VALUES ('f00ba4')")
    events: list[Event] = []
    result = project.migrate(on_failure="continue", on_event=events.append)
    assert statuses(result) == statuses(project.fleet().status()) == {"shard_0": "unknown"}
    assert "f00ba4 is not in" in (result["shard_0"].error or "")
    assert started(events) == []
    assert (project.versions(), project.tables("shard_0")) == ({"shard_0": ["f00ba4"]}, [])


def test_status_needs_no_control_database(make_project: MakeProject, dead_url: str) -> None:
    """Who brought an unknown revision can't be told then; where each shard stands can."""
    project = make_project(shards=2)
    project.table("r1", "a")
    project.table("r2", "b")
    project.migrate(jobs=1)
    (project.path / "migrations" / "versions" / "r2.py").unlink()
    project.control = dead_url
    project.write()
    assert statuses(project.fleet().status()) == dict.fromkeys(project.shards, "unknown")


def test_a_shard_at_two_heads_is_brought_to_their_merge(make_project: MakeProject) -> None:
    """Two version rows are a state like any other, and the result names both."""
    project = make_project(shards=1)
    project.table("r1", "a")
    project.revision("left", "op.execute('CREATE TABLE l (id int)')", down="r1")
    project.revision("right", "op.execute('CREATE TABLE r (id int)')", down="r1")
    assert project.migrate("heads")["shard_0"].after == ("left", "right")
    assert statuses(project.migrate("heads")) == {"shard_0": "up_to_date"}
    project.revision("merged", down=("left", "right"))
    result = project.migrate()
    assert (result["shard_0"].before, result["shard_0"].after) == (("left", "right"), ("merged",))


def test_version_rows_that_contradict_each_other_are_a_clear_failure(make_project: MakeProject) -> None:
    """A shard with a revision and its own parent in the table is not guessed about."""
    project = make_project(shards=2)
    project.table("r1", "a")
    project.table("r2", "b")
    project.migrate(jobs=1)
    project.sql("shard_0", "INSERT INTO alembic_version VALUES ('r1')")
    project.table("r3", "c")
    result = project.migrate(on_failure="continue", jobs=1)
    assert statuses(result) == {"shard_0": "failed", "shard_1": "migrated"}
    assert "r1" in (result["shard_0"].error or "")
    assert project.versions()["shard_0"] == ["r1", "r2"]


def test_a_read_only_shard_says_so(make_project: MakeProject) -> None:
    """As a standby would; the hint says where to point."""
    project = make_project(shards=1)
    project.table("r1", "a")
    name = project.sql("shard_0", "SELECT current_database()")[0][0]
    project.sql("shard_0", f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    result = project.migrate()
    assert "read-only transaction" in (result["shard_0"].error or "")
    assert "primary" in (result["shard_0"].hint or "")


def test_a_locked_version_table_holds_nobody_up(make_project: MakeProject) -> None:
    """Reading a shard's revision waits two seconds at most; the others go on."""
    project = make_project(shards=2)
    project.table("r1", "a")
    project.migrate(jobs=1)
    project.table("r2", "b")
    with project.holding("shard_0", "LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE"):
        result = project.migrate(on_failure="continue", jobs=1)
    assert statuses(result) == {"shard_0": "failed", "shard_1": "migrated"}
    assert "lock timeout" in (result["shard_0"].error or "")


def test_no_password_is_told_to_anybody(make_project: MakeProject, dead_url: str) -> None:
    """Neither output nor ledger shows what a failing shard's URL holds."""
    project = with_bad_shard(make_project(shards=1), dead_url)
    done = [project.cli("migrate", "-v"), project.cli("migrate", "--json"), project.cli("runs", "show", "1", "--json")]
    assert [each.returncode for each in done] == [1, 1, 0]
    assert all("Connection refused" in each.stdout for each in done)
    assert not any("pa55" in each.stdout + each.stderr for each in done)
    ledger = str(project.sql("control", "SELECT run, error, hint, run::text FROM shardwright.run_shard"))
    assert "pa55" not in ledger + str(project.sql("control", "SELECT plan FROM shardwright.run"))
