"""The rendered way: proven, then sent to every shard from one process."""

from __future__ import annotations

import psycopg
import pytest

from kit import MakeProject, Project, statuses, until
from shardwright.embedded import Cluster
from shardwright.migration import ways
from shardwright.runs.events import Event, WaysChosen

READS = 'op.get_bind().execute(sa.text("SELECT 1")).scalar()'


@pytest.fixture(autouse=True)
def _small_fleets_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two shards are enough to be worth a proof here."""
    monkeypatch.setattr(ways, "FROM_SHARDS", 2)


def migrate(project: Project) -> tuple[dict[str, str], WaysChosen | None]:
    """Each shard's status, and the ways that were chosen."""
    events: list[Event] = []
    result = project.migrate(on_failure="continue", on_event=events.append)
    return statuses(result), next((event for event in events if isinstance(event, WaysChosen)), None)


def scratch_databases(cluster: Cluster) -> list[str]:
    """What is left of proofs."""
    with psycopg.connect(cluster.url("postgres")) as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'shardwright_scratch%'")
        return [row[0] for row in rows]


def test_what_can_be_rendered_is_sent(make_project: MakeProject, cluster: Cluster) -> None:
    """Plain revisions reach every shard without a worker process running them, and no scratch copy is left."""
    project = make_project(shards=3)
    project.table("r1", "a")
    project.table("r2", "b")
    found, chosen = migrate(project)
    assert found == dict.fromkeys(project.shards, "migrated")
    assert chosen == WaysChosen(("r1", "r2"), {})
    assert [project.tables(shard) for shard in project.shards] == [["a", "b"]] * 3
    assert scratch_databases(cluster) == []


def test_a_shard_that_is_sent_to_costs_two_connections(make_project: MakeProject) -> None:
    """One reads every shard before any is touched; the other holds the lock, sends, and reads what came of it."""
    project = make_project(shards=3)
    project.table("r1", "a")
    migrate(project)
    project.table("r2", "b")
    before = sessions_so_far(project, "shard_2")
    assert migrate(project)[0] == dict.fromkeys(project.shards, "migrated")
    assert sessions_so_far(project, "shard_2") - before == 2


def sessions_so_far(project: Project, shard: str) -> int:
    """How many sessions the shard's database ever had, now that none is left: the statistics have them at their end."""
    name = project.shards[shard].partition("?")[0].rpartition("/")[2]
    there = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
    until(lambda: project.sql("control", there, name) == [(0,)])
    return int(project.sql("control", "SELECT sessions FROM pg_stat_database WHERE datname = %s", name)[0][0])


def test_what_a_revision_sets_for_its_session_does_not_mislead_the_reading(make_project: MakeProject) -> None:
    """A search_path that a revision leaves behind is not that of the next connection, where the truth is."""
    project = make_project(shards=2)
    project.revision("r1", 'op.execute("CREATE SCHEMA other")\nop.execute("SET search_path = other, public")')
    found, chosen = migrate(project)
    assert found == dict.fromkeys(project.shards, "migrated")
    assert chosen == WaysChosen(("r1",), {})
    assert project.versions() == {shard: ["r1"] for shard in project.shards}


def test_a_revision_that_reads_runs_online_in_its_place(make_project: MakeProject) -> None:
    """Mixed histories keep their order: sent, run, sent; the plan says which and why."""
    project = make_project(shards=2)
    project.table("r1", "a")
    project.revision("r2", f'{READS}\nop.rename_table("a", "b")')
    project.revision("r3", 'op.rename_table("b", "c")')
    found, chosen = migrate(project)
    assert found == dict.fromkeys(project.shards, "migrated")
    assert chosen is not None
    assert (chosen.rendered, list(chosen.why_online)) == (("r1", "r3"), ["r2"])
    assert project.tables("shard_1") == ["c"]


def test_a_rendering_that_does_something_else_is_not_used(make_project: MakeProject) -> None:
    """A revision that behaves otherwise when it is rendered runs online on every shard."""
    project = make_project(shards=2)
    project.revision(
        "r1", 'op.create_table("offline" if op.get_context().as_sql else "online", sa.Column("i", sa.Integer))'
    )
    found, chosen = migrate(project)
    assert found == dict.fromkeys(project.shards, "migrated")
    assert chosen is None
    assert project.tables("shard_0") == ["online"]


def test_rows_that_a_revision_writes_are_compared_too(make_project: MakeProject) -> None:
    """Equal schemas are not enough: other rows mean online."""
    project = make_project(shards=2)
    project.revision(
        "r1",
        """
        op.execute("CREATE TABLE a (n integer)")
        op.execute(f"INSERT INTO a VALUES ({int(op.get_context().as_sql)})")
        """,
    )
    migrate(project)
    assert project.sql("shard_1", "SELECT n FROM a") == [(0,)]


def test_the_moment_of_writing_is_no_difference(make_project: MakeProject) -> None:
    """`now()` is another moment on each copy, which is no reason to go online."""
    project = make_project(shards=2)
    project.revision(
        "r1",
        """
        op.execute("CREATE TABLE a (made timestamptz DEFAULT now(), utc timestamp DEFAULT timezone('utc', now()))")
        op.execute("INSERT INTO a DEFAULT VALUES")
        """,
    )
    assert migrate(project)[1] == WaysChosen(("r1",), {})


def test_a_failing_statement_leaves_its_shard_where_it_was(make_project: MakeProject) -> None:
    """What Alembic does in one transaction is one transaction: an error in the second revision undoes the first."""
    project = make_project(shards=2)
    project.table("r0", "z")
    project.migrate()
    project.sql("shard_1", "CREATE TABLE b (id integer)")
    project.table("r1", "a")
    project.table("r2", "b")
    found, _ = migrate(project)
    assert found == {"shard_0": "migrated", "shard_1": "failed"}
    assert project.versions() == {"shard_0": ["r2"], "shard_1": ["r0"]}
    assert project.tables("shard_1") == ["b", "z"]


def test_an_index_is_built_concurrently_and_a_broken_one_again(make_project: MakeProject) -> None:
    """An invalid index of an earlier try is dropped and built; the revision then counts as applied."""
    project = make_project(shards=2)
    project.revision("r0", 'op.execute("CREATE TABLE a (n integer)")\nop.execute("INSERT INTO a VALUES (1), (1)")')
    project.migrate()
    with pytest.raises(psycopg.errors.UniqueViolation):
        project.sql("shard_1", "CREATE UNIQUE INDEX CONCURRENTLY i ON a (n)")
    project.revision(
        "r1", 'with op.get_context().autocommit_block():\n    op.execute("CREATE INDEX CONCURRENTLY i ON a (n)")'
    )
    found, chosen = migrate(project)
    assert found == dict.fromkeys(project.shards, "migrated")
    assert chosen is not None
    assert project.sql("shard_1", "SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass") == [(True,)]


def test_a_revision_in_parts_goes_on_where_it_broke(make_project: MakeProject) -> None:
    """What was committed before an autocommit_block failed is not sent again by the next try."""
    project = make_project(shards=2)
    project.revision("r0", 'op.execute("CREATE TABLE a (n integer)")')
    project.migrate()
    project.sql("shard_1", "INSERT INTO a VALUES (1), (1)")
    body = """
    op.execute("CREATE TABLE b (id integer)")
    with op.get_context().autocommit_block():
        op.execute("CREATE UNIQUE INDEX CONCURRENTLY i ON a (n)")
    """
    project.revision("r1", body)
    assert migrate(project)[0] == {"shard_0": "migrated", "shard_1": "failed"}
    project.sql("shard_1", "DELETE FROM a")
    found, chosen = migrate(project)
    assert found == {"shard_0": "up_to_date", "shard_1": "migrated"}
    assert chosen is not None
    assert project.sql("shard_1", "SELECT count(*) FROM shardwright.revision_progress") == [(0,)]


def test_without_the_right_to_make_scratch_copies_all_runs_online(make_project: MakeProject, cluster: Cluster) -> None:
    """A proof that can't be made is no proof; the rollout goes on online."""
    project = make_project(shards=2)
    project.table("r1", "a")
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        admin.execute("CREATE ROLE no_scratch LOGIN")
        admin.execute("GRANT ALL ON SCHEMA public TO no_scratch")
    for shard in ("control", *project.shards):
        project.sql(shard, "GRANT ALL ON SCHEMA public TO no_scratch")
    project.sql(
        "control", "DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO no_scratch', current_database()); END $$"
    )
    project.control = project.control.replace("postgres@", "no_scratch@")
    project.write()
    found, chosen = migrate(project)
    assert found == dict.fromkeys(project.shards, "migrated")
    assert chosen is None
