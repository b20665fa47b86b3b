"""Revisions that can't be loaded, fail on the way up, or have no way down."""

from __future__ import annotations

import pytest

from kit import MakeProject, Project, statuses
from shardwright import errors


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """One empty shard, and a first revision that is well."""
    project = make_project(shards=1)
    project.table("r1", "a")
    return project


def assert_untouched(project: Project) -> None:
    """No shard has a table, and no run was begun."""
    assert project.versions() == {"shard_0": []}
    assert project.tables("shard_0") == []
    assert project.fleet().runs() == []


def test_two_heads_are_refused_by_name(project: Project) -> None:
    """`head` could be either: exit code 2, both are named, and nothing is touched."""
    project.revision("left", down="r1")
    project.revision("right", down="r1")
    with pytest.raises(errors.SeveralHeads, match="left, right"):
        project.migrate()
    done = project.cli("migrate")
    assert done.returncode == 2
    assert "migrate heads" in done.stderr
    assert_untouched(project)


def test_a_revision_file_that_does_not_import_is_named(project: Project) -> None:
    """Exit code 2 with file and line, and nothing is touched."""
    (project.path / "migrations" / "versions" / "r2.py").write_text("import nothing_of_that_name\n")
    done = project.cli("migrate")
    assert done.returncode == 2
    assert "nothing_of_that_name" in done.stderr
    assert "(r2.py, line 1)" in done.stderr
    assert_untouched(project)


def test_an_unknown_target_touches_nothing(project: Project) -> None:
    """A revision that was never written is refused before any shard is asked."""
    with pytest.raises(errors.NoSuchRevision, match="'r9'"):
        project.migrate("r9")
    assert_untouched(project)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('op.execute("CREATE TABLE a (id int)")', 'relation "a" already exists'),
        ("raise ValueError('not today')", "ValueError: not today"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise ValueError('null \\0 and half \\udc80')", "ValueError: null and half ?"),
        (
            'op.execute("CREATE TABLE p (id int PRIMARY KEY, p int REFERENCES p DEFERRABLE INITIALLY DEFERRED)")\n'
            'op.execute("INSERT INTO p VALUES (1, 2)")',
            "violates foreign key constraint",
        ),
    ],
)
def test_what_fails_in_a_revision_is_told_and_rolled_back(project: Project, body: str, words: str) -> None:
    """With the revision and its file; earlier revisions of the same rollout are rolled back with it."""
    project.revision("r2", body)
    result = project.migrate()
    assert statuses(result) == {"shard_0": "failed"}
    assert words in (result["shard_0"].error or "")
    if "violates" not in words:  # which of the revisions a failing COMMIT is to blame for, nobody knows
        assert (result["shard_0"].error or "").startswith("upgrade r2 (r2.py): ")
    assert project.versions() == {"shard_0": []}
    assert project.tables("shard_0") == []
    assert project.fleet().run(1)[1] == list(result.results)


@pytest.mark.parametrize("body", ["raise NotImplementedError('one way only')", 'op.drop_table("never_made")'])
def test_a_revision_without_a_way_down_is_named(project: Project, body: str) -> None:
    """The shard stays where it is, whole; exit code 2."""
    project.revision("r2", 'op.execute("CREATE TABLE b (id int)")', body)
    project.table("r3", "c")
    project.migrate()
    result = project.fleet().rollback()
    assert statuses(result) == {"shard_0": "failed"}
    assert (result["shard_0"].error or "").startswith("downgrade r2 (r2.py): ")
    assert result.exit_code == 2
    assert project.versions() == {"shard_0": ["r3"]}
    assert project.tables("shard_0") == ["a", "b", "c"]


def test_a_revision_that_kills_its_worker_fails_alone(make_project: MakeProject) -> None:
    """The worker's last words, without secrets, are the reason; the next shard has a worker of its own."""
    project = make_project(shards=2)
    body = """
    import os
    if op.get_bind().engine.url.database == {!r}:
        print("so long postgresql://app:pa55@host/app", flush=True)
        os._exit(7)
    """
    name = project.sql("shard_0", "SELECT current_database()")[0][0]
    project.revision("r1", body.format(name))
    result = project.migrate(on_failure="continue", jobs=1)
    assert statuses(result) == {"shard_0": "failed", "shard_1": "migrated"}
    assert "exit code 7: so long postgresql://app:***@host/app" in (result["shard_0"].error or "")
    assert project.versions() == {"shard_0": [], "shard_1": ["r1"]}
