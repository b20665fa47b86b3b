"""`migrate --rehearse`: what would go wrong goes wrong on a copy, and the fleet is not touched."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from kit import MakeProject, Project, statuses, until
from shardwright import errors
from shardwright.embedded import Cluster
from shardwright.fleet import MigrateOptions
from shardwright.migration.observe import Lock
from shardwright.migration.rehearse import Rehearsal, RevisionRehearsal

TASKS = 'op.create_table("tasks", sa.Column("id", sa.Integer, primary_key=True), sa.Column("title", sa.Text))'
NOT_NULL = 'op.add_column("tasks", sa.Column("due", sa.Date, nullable=False))'
ENUM = """
sa.Enum("low", "high", name="level").create(op.get_bind())
op.add_column("tasks", sa.Column("level", sa.Enum(name="level")))
"""


def scratch_databases(cluster: Cluster) -> list[str]:
    with psycopg.connect(cluster.url("postgres")) as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'shardwright_scratch%'")
        return [row[0] for row in rows]


@pytest.fixture
def project(make_project: MakeProject, cluster: Cluster) -> Iterator[Project]:
    """Two shards at r1 with a table and two rows in it; whatever is done, nothing is left on the server."""
    project = make_project(shards=2)
    project.revision("r1", TASKS, 'op.drop_table("tasks")')
    project.migrate()
    for shard in project.shards:
        project.sql(shard, "INSERT INTO tasks VALUES (1, 'same'), (2, 'same')")
    yield project
    assert scratch_databases(cluster) == []


def rehearse(project: Project, **options: Any) -> Rehearsal:
    """A rehearsal without a rollout."""
    asked = MigrateOptions(rehearse=True, **options)
    fleet = project.fleet()
    rehearsal = fleet.rehearse_plan(fleet.plan_migrate(asked), asked)
    assert rehearsal is not None
    return rehearsal


def only(rehearsal: Rehearsal) -> RevisionRehearsal:
    ((revision,),) = (schema.revisions for schema in rehearsal.schemas)
    return revision


def untouched(project: Project) -> bool:
    return project.versions() == {"shard_0": ["r1"], "shard_1": ["r1"]} and len(project.fleet().runs()) == 1


def test_a_sound_plan_is_rehearsed_and_carried_out(project: Project) -> None:
    """Up, down and up again on one copy for all shards that are alike; the report is in the result and the ledger."""
    project.revision("r2", 'op.add_column("tasks", sa.Column("due", sa.Date))', 'op.drop_column("tasks", "due")')
    result = project.migrate(rehearse=True)
    assert statuses(result) == dict.fromkeys(project.shards, "migrated")
    (schema,) = result.as_dict()["rehearsal"]["schemas"]
    assert (schema["shards"], schema["from"], schema["to"]) == (["shard_0", "shard_1"], "r1", "r2")
    assert (schema["failure"], schema["irreversible"], schema["rows"]) == (None, None, {})
    assert [each["sql"] for each in schema["revisions"][0]["statements"]] == ["ALTER TABLE tasks ADD COLUMN due DATE"]
    ((kept,),) = project.sql("control", "SELECT plan FROM shardwright.run WHERE id = %s", result.run)
    assert kept["rehearsal"] == result.as_dict()["rehearsal"]


def test_the_locks_of_each_statement_are_told(project: Project) -> None:
    """Those on tables that were there before, with who waits behind them; each where it was taken first."""
    project.revision(
        "r2",
        """
        op.execute("SELECT count(*) FROM tasks")
        op.create_index("by_title", "tasks", ["title"])
        op.add_column("tasks", sa.Column("due", sa.Date))
        op.create_table("notes", sa.Column("task", sa.Integer, sa.ForeignKey("tasks.id")))
        """,
        'op.drop_table("notes")\nop.drop_column("tasks", "due")\nop.drop_index("by_title")',
    )
    count, index, column, table = only(rehearse(project)).statements
    assert count.locks == (Lock("tasks", "ACCESS SHARE"),)
    assert index.locks == (Lock("tasks", "SHARE"),)
    assert column.locks == (Lock("tasks", "ACCESS EXCLUSIVE"),)
    assert table.locks == (Lock("tasks", "SHARE ROW EXCLUSIVE"),)
    assert [each.locks[0].stops for each in (count, index, column) if each.locks] == [
        None,
        "writers",
        "readers and writers",
    ]


@pytest.mark.parametrize("driver", ["psycopg2", "asyncpg"])
def test_locks_are_seen_with_every_driver(project: Project, driver: str) -> None:
    """The server is asked, not the driver."""
    if driver == "asyncpg":
        project.env(
            (
                "from sqlalchemy import engine_from_config, pool",
                "import asyncio\nfrom sqlalchemy import pool\n"
                "from sqlalchemy.ext.asyncio import async_engine_from_config",
            ),
            (
                '    connectable = engine_from_config(section, prefix="sqlalchemy.", poolclass=pool.NullPool)\n'
                "    with connectable.connect() as connection:\n        context.configure(connection=connection)\n"
                "        with context.begin_transaction():\n            context.run_migrations()\n",
                '    connectable = async_engine_from_config(section, prefix="sqlalchemy.", poolclass=pool.NullPool)\n'
                "    async def go():\n        async with connectable.connect() as connection:\n"
                "            await connection.run_sync(run)\n"
                "    def run(connection):\n        context.configure(connection=connection)\n"
                "        with context.begin_transaction():\n            context.run_migrations()\n"
                "    asyncio.run(go())\n",
            ),
        )
    project.shards = {
        name: url.replace("postgresql://", f"postgresql+{driver}://") for name, url in project.shards.items()
    }
    project.write()
    project.revision("r2", 'op.add_column("tasks", sa.Column("due", sa.Date))', 'op.drop_column("tasks", "due")')
    (statement,) = only(rehearse(project)).statements
    assert statement.locks == (Lock("tasks", "ACCESS EXCLUSIVE"),)


def test_what_runs_outside_of_a_transaction_is_told_as_such(project: Project) -> None:
    """Its locks are gone before they can be seen; nothing is guessed."""
    project.revision(
        "r2",
        "with op.get_context().autocommit_block():\n"
        '    op.create_index("by_title", "tasks", ["title"], postgresql_concurrently=True)',
        'op.drop_index("by_title")',
    )
    (statement,) = only(rehearse(project)).statements
    assert (statement.locks, "CONCURRENTLY" in statement.sql) == (None, True)


def test_an_upgrade_that_fails_refuses_the_rollout(project: Project) -> None:
    """Exit 2, with the revision and what PostgreSQL says; no shard and no ledger was touched."""
    project.revision("r2", 'op.drop_column("tasks", "nothing")')
    with pytest.raises(
        errors.RehearsalFailed, match=r"copy of shard_0: upgrade r2 \(r2.py\): column .nothing."
    ) as found:
        project.migrate(rehearse=True)
    assert found.value.exit_code == 2
    assert untouched(project)


@pytest.mark.parametrize(
    ("upgrade", "why"),
    [
        (NOT_NULL, "contains null values"),
        ('op.create_unique_constraint("one_title", "tasks", ["title"])', "could not create unique index"),
    ],
)
def test_what_only_rows_bring_to_light_needs_rows(project: Project, upgrade: str, why: str) -> None:
    """On an empty copy all is well; with rows of the shard it fails as it would there."""
    project.revision("r2", upgrade, "raise NotImplementedError")
    assert rehearse(project).faults(way_back=False) == ()
    with pytest.raises(errors.RehearsalFailed, match=why):
        project.migrate(rehearse_rows=100)
    assert untouched(project)
    assert project.sql("shard_0", "SELECT count(*) FROM tasks") == [(2,)]


def test_an_irreversible_downgrade_is_told_and_does_not_stop(project: Project) -> None:
    """A revision that says so itself; the rollout goes on."""
    project.revision("r2", 'op.drop_column("tasks", "title")', 'raise NotImplementedError("the titles are gone")')
    result = project.migrate(rehearse=True)
    assert statuses(result) == dict.fromkeys(project.shards, "migrated")
    (schema,) = result.extra["rehearsal"]["schemas"]
    assert schema["failure"] is None
    assert "the titles are gone" in schema["revisions"][0]["irreversible"]


def test_an_irreversible_downgrade_stops_where_the_way_back_is_promised(project: Project) -> None:
    """`--on-failure rollback` can't keep its word, so it does not begin."""
    project.revision("r2", 'op.drop_column("tasks", "title")', "raise NotImplementedError")
    with pytest.raises(errors.RehearsalFailed, match="downgrade r2"):
        project.migrate(rehearse=True, on_failure="rollback")
    assert untouched(project)


def test_a_downgrade_that_forgets_an_object_is_told_by_its_revision(project: Project) -> None:
    """Of three revisions only the one whose downgrade is no way back, with what it leaves behind."""
    project.revision("r2", 'op.execute("CREATE TABLE a (i int)")', 'op.execute("DROP TABLE a")')
    project.revision("r3", 'op.execute("CREATE TABLE IF NOT EXISTS b (i int)")')
    project.revision("r4", 'op.execute("CREATE TABLE c (i int)")', 'op.execute("DROP TABLE c")')
    (schema,) = rehearse(project).schemas
    assert schema.failure is None
    assert [each.irreversible is None for each in schema.revisions] == [True, False, True]
    (difference, *_) = [each for each in schema.revisions[1].differences if each.kind == "table"]
    assert (difference.name, difference.right) == ("public.b", None)
    assert difference.left is not None
    assert "leaves column public.b.i behind" in (schema.irreversible or "")


def test_below_a_downgrade_that_fails_none_is_called_a_way_back(project: Project) -> None:
    """It was not tried, and says so."""
    project.revision("r2", 'op.execute("CREATE TABLE a (i int)")', 'op.execute("DROP TABLE a")')
    project.revision("r3", "pass", "raise NotImplementedError")
    project.revision("r4", 'op.execute("CREATE TABLE c (i int)")', 'op.execute("DROP TABLE c")')
    (schema,) = rehearse(project).schemas
    r2, r3, r4 = (each.irreversible for each in schema.revisions)
    assert (r2, r4) == ("was not tried", None)
    assert "NotImplementedError" in (r3 or "")


def test_an_upgrade_that_can_not_be_repeated_refuses_the_rollout(project: Project) -> None:
    """The downgrade forgets a type, so the next try would fail on every shard that went back."""
    project.revision("r2", ENUM, 'op.drop_column("tasks", "level")')
    with pytest.raises(errors.RehearsalFailed, match=r'repeated after its way back: .*type "level" already exists'):
        project.migrate(rehearse=True)
    assert untouched(project)


def test_a_second_upgrade_that_leaves_another_schema_refuses_the_rollout(project: Project) -> None:
    """It fails nowhere, but does something else the second time."""
    project.revision(
        "r2",
        """
        op.execute("CREATE TABLE IF NOT EXISTS a (i int)")
        op.execute("ALTER TABLE a ADD COLUMN IF NOT EXISTS j int")
        op.execute("CREATE INDEX ON a (i)")
        """,
    )
    with pytest.raises(errors.RehearsalFailed, match=r"index public\.a_i_idx1"):
        project.migrate(rehearse=True)


def test_shards_with_other_schemas_are_rehearsed_by_themselves(project: Project) -> None:
    """What was done by hand on one shard is found on the copy of that one."""
    project.sql("shard_1", "ALTER TABLE tasks ADD COLUMN due date")
    project.revision("r2", 'op.add_column("tasks", sa.Column("due", sa.Date))', 'op.drop_column("tasks", "due")')
    well, failing = rehearse(project).schemas
    assert (well.shards, well.failure) == (("shard_0",), None)
    assert failing.shards == ("shard_1",)
    assert "already exists" in (failing.failure or "")


def test_a_role_that_may_make_no_copies_is_refused(project: Project, cluster: Cluster) -> None:
    """A rehearsal that was asked for and can't be made is no rehearsal; it says what is missing."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        admin.execute("CREATE ROLE no_rehearsal LOGIN")
    project.sql("control", "GRANT ALL ON SCHEMA shardwright TO no_rehearsal")
    project.sql("control", "GRANT ALL ON ALL TABLES IN SCHEMA shardwright TO no_rehearsal")
    project.sql("control", "GRANT ALL ON ALL SEQUENCES IN SCHEMA shardwright TO no_rehearsal")
    project.control = project.control.replace("postgres@", "no_rehearsal@")
    project.write()
    project.table("r2", "a")
    with pytest.raises(errors.NoRehearsal, match="permission denied to create database") as found:
        project.migrate(rehearse=True)
    assert "CREATEDB" in found.value.hint
    assert untouched(project)


def test_a_dry_run_rehearses_and_changes_nothing(project: Project) -> None:
    """The report stands under the plan; a plan that would be refused makes the exit code 1."""
    project.revision("r2", NOT_NULL, 'op.drop_column("tasks", "due")')
    shown = project.cli("migrate", "--dry-run", "--rehearse")
    assert shown.returncode == 0, shown.stderr
    assert "rehearsed on a copy of shard_0" in shown.stdout
    assert "ACCESS EXCLUSIVE on tasks: readers and writers wait" in shown.stdout
    shown = project.cli("migrate", "--dry-run", "--rehearse-rows", "10")
    assert shown.returncode == 1
    assert "contains null values" in shown.stdout
    assert untouched(project)


def test_a_signal_ends_a_rehearsal_and_leaves_no_copy(project: Project, cluster: Cluster) -> None:
    """The statement is cancelled, the copy dropped, no shard begun; the ledger says interrupted."""
    project.revision("r2", 'op.execute("SELECT pg_sleep(600)")')
    process = project.start_cli("migrate", "--rehearse")

    def sleeping() -> bool:
        with psycopg.connect(cluster.url("postgres")) as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(600)%%' AND datname LIKE %s"
            return connection.execute(query, ["shardwright_scratch%"]).fetchone() == (1,)

    until(sleeping)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert project.versions() == {"shard_0": ["r1"], "shard_1": ["r1"]}
    run, results = project.fleet().run(2)
    assert (run.state, [each.status for each in results]) == ("interrupted", ["not_tried", "not_tried"])


def test_a_number_of_rows_that_is_none_is_refused(project: Project) -> None:
    """From Python as from the command line."""
    project.table("r2", "a")
    with pytest.raises(errors.UsageError, match="--rehearse-rows -1"):
        project.migrate(rehearse_rows=-1)


def test_a_shard_at_base_is_rehearsed_to_the_head(make_project: MakeProject, cluster: Cluster) -> None:
    """The table that Alembic makes for itself counts as nobody's, and is not missed or left behind."""
    project = make_project(shards=1)
    project.revision("r1", TASKS, 'op.drop_table("tasks")')
    project.table("r2", "b")
    (schema,) = rehearse(project).schemas
    assert (schema.failure, schema.irreversible) == (None, None)
    assert [len(each.statements) for each in schema.revisions] == [1, 1]
    assert scratch_databases(cluster) == []


def test_with_nothing_to_do_nothing_is_rehearsed(project: Project) -> None:
    """And nothing is said of it."""
    result = project.migrate(rehearse=True)
    assert statuses(result) == dict.fromkeys(project.shards, "up_to_date")
    assert result.extra["rehearsal"] == {"schemas": []}
