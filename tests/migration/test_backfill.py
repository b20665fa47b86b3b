"""Data migrations in batches: every row once, whatever stops them half way, and nobody waits long for them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from kit import MakeProject, Project, until
from shardwright.runs.events import Event, ShardProgress
from shardwright.runs.stopping import StopRequest

ASYNC_ENV = """
import asyncio
from alembic import context
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import async_engine_from_config

def run(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()

async def main():
    section = context.config.get_section(context.config.config_ini_section, {})
    engine = async_engine_from_config(section, prefix="sqlalchemy.", poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)

asyncio.run(main())
"""
STOCK_LOGGING = """
[loggers]
keys = root,alembic
[handlers]
keys = console
[formatters]
keys =
[logger_root]
level = WARNING
handlers = console
[logger_alembic]
level = INFO
handlers =
qualname = alembic
[handler_console]
class = StreamHandler
args = (sys.stderr,)
"""
INTEGER_KEY = "CREATE TABLE a (id int PRIMARY KEY, done int)", "INSERT INTO a SELECT n FROM generate_series(1, 95) n"
# Every update of a row leaves a line in `touched`, in the same transaction.
COUNTING = (
    "CREATE TABLE touched (line bigserial, key text)",
    """CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
       $$ BEGIN INSERT INTO touched (key) VALUES (NEW::text); RETURN NEW; END $$""",
    "CREATE TRIGGER note AFTER UPDATE ON a FOR EACH ROW EXECUTE FUNCTION note()",
)
ADD_ONE = """
from shardwright.migration import backfill
rows = backfill(op, "a", set_="done = coalesce(done, 0) + 1", {where}batch=10, pace=1{more})
op.execute(f"COMMENT ON TABLE a IS '{{rows}} rows'")
"""
EMPTY = 'where="done IS NULL", '


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """One shard at r1."""
    project = make_project(shards=1)
    project.revision("r1")
    return project


def backfill_in(project: Project, *statements: str, where: str = EMPTY, more: str = "") -> None:
    """The shard has the table `a` that these statements make; r2 counts up `done` in batches of 10."""
    project.stamp("r1", *statements, *COUNTING)
    project.revision("r2", ADD_ONE.format(where=where, more=more))


def counts(project: Project) -> tuple[int, int]:
    """How many updates there were, and of how many rows."""
    [row] = project.sql("shard_0", "SELECT count(*), count(DISTINCT key) FROM touched")
    return row[0], row[1]


def reported(project: Project) -> str:
    """What the revision says that backfill() returned."""
    [[comment]] = project.sql("shard_0", "SELECT obj_description('a'::regclass)")
    return str(comment)


def leftovers(project: Project) -> list[str]:
    rows = project.sql("shard_0", "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('shardwright')")
    return [row[0] for row in rows]


@contextmanager
def stuck_at_row_50(project: Project) -> Iterator[psycopg.Connection[object]]:
    """Somebody holds row 50 of 95, so that a backfill comes as far as row 40 and no further."""
    with project.holding("shard_0", "SELECT FROM a WHERE id = 50 FOR UPDATE") as holder:
        yield holder


@pytest.mark.parametrize(
    "key",
    [
        "id int PRIMARY KEY DEFAULT nextval('numbers')",
        "id uuid PRIMARY KEY DEFAULT gen_random_uuid()",
        "id timestamptz PRIMARY KEY DEFAULT timestamptz '2024-01-01' + nextval('numbers') * interval '1 day'",
        "id text DEFAULT repeat('%:x', (nextval('numbers') % 7)::int), \"Nr.\" int DEFAULT nextval('numbers'), "
        'PRIMARY KEY (id, "Nr.")',
    ],
    ids=["int", "uuid", "timestamptz", "composite"],
)
def test_every_row_is_changed_once(key: str, project: Project) -> None:
    """Whatever the primary key is made of."""
    table = f"CREATE TABLE a ({key}, done int)"
    rows = "INSERT INTO a (done) SELECT NULL FROM generate_series(1, 95)"
    backfill_in(project, "CREATE SEQUENCE numbers", table, rows)
    assert project.migrate().succeeded
    assert counts(project) == (95, 95)
    assert project.sql("shard_0", "SELECT DISTINCT done FROM a") == [(1,)]
    assert reported(project) == "95 rows"
    assert leftovers(project) == []


def test_only_matching_rows_are_changed(project: Project) -> None:
    """Rows that do not match are walked over, and a fragment may hold anything that SQL can: colons, %, a comment."""
    where = """where="id % 2 = 0 AND 'a:b%c' LIKE '%:b%' AND id::text <> ':id' -- even", """
    backfill_in(project, *INTEGER_KEY, where=where)
    assert project.migrate().succeeded
    assert project.sql("shard_0", "SELECT count(*), bool_and(id % 2 = 0) FROM a WHERE done = 1") == [(47, True)]


def test_an_empty_table_has_no_rows_to_change(project: Project) -> None:
    """And is no error."""
    backfill_in(project, INTEGER_KEY[0])
    assert project.migrate().succeeded
    assert reported(project) == "0 rows"


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_each_driver_can_backfill(driver: str, project: Project) -> None:
    """The connection is the one that env.py opened, with its driver."""
    if driver == "asyncpg":
        (project.path / "migrations" / "env.py").write_text(ASYNC_ENV)
    (project.path / "alembic.ini").write_text(f"[alembic]\nsqlalchemy.url = postgresql+{driver}://localhost/app\n")
    backfill_in(project, *INTEGER_KEY)
    events: list[Event] = []
    with stuck_at_row_50(project) as holder, project.migrating(on_event=events.append) as rollout:
        until(lambda: "lock timeout" in said(events) or rollout.done())
        holder.rollback()
    assert rollout.result().succeeded
    assert counts(project) == (95, 95)


def said(events: list[Event]) -> str:
    return "\n".join(event.message for event in events if isinstance(event, ShardProgress))


def test_rows_inserted_behind_the_walk_are_found(project: Project) -> None:
    """As with random uuids: a row with a key that was passed already is changed too, once."""
    backfill_in(project, *INTEGER_KEY)
    with stuck_at_row_50(project) as holder, project.migrating() as rollout:
        until(lambda: counts(project)[0] == 40)
        project.sql("shard_0", "INSERT INTO a VALUES (-1), (1000)")
        holder.rollback()
    assert rollout.result().succeeded
    assert counts(project) == (97, 97)


def test_a_held_row_is_waited_for_and_named_as_the_reason(project: Project) -> None:
    """The rollout shows progress and why it does not go on; when the row is free it ends well, in one attempt."""
    backfill_in(project, *INTEGER_KEY)
    events: list[Event] = []
    with stuck_at_row_50(project) as holder, project.migrating(on_event=events.append) as rollout:
        until(lambda: "try 3 of" in said(events))
        holder.rollback()
    [shard] = rollout.result().results
    assert (shard.status.value, shard.attempts) == ("migrated", 1)
    assert "a: 10 of ~" in said(events)
    assert "lock timeout" in said(events)
    assert "a: backfilled, 95 rows changed" in said(events)


@pytest.mark.parametrize("where", [EMPTY, ""], ids=["where", "all"])
def test_after_a_cancelled_rollout_the_next_goes_on_where_it_stopped(where: str, project: Project) -> None:
    """No row that was changed is changed again, even where it would still match; the count is of both."""
    backfill_in(project, *INTEGER_KEY, where=where)
    stop = StopRequest()
    with stuck_at_row_50(project), project.migrating(stop=stop) as rollout:
        until(lambda: counts(project)[0] == 40)
        stop.ask("the operator")
        assert not rollout.result().succeeded
    assert (project.versions()["shard_0"], counts(project)[0]) == (["r1"], 40)
    events: list[Event] = []
    assert project.migrate(on_event=events.append).succeeded
    assert "going on where an earlier try stopped, after 40 rows" in said(events)
    assert counts(project) == (95, 95)
    assert (reported(project), leftovers(project)) == ("95 rows", [])


def test_the_rollouts_time_limit_ends_it(project: Project) -> None:
    """Also while it waits between two tries."""
    backfill_in(project, *INTEGER_KEY)
    with stuck_at_row_50(project):
        [shard] = project.migrate(timeout=timedelta(seconds=3)).results
    assert shard.error is not None
    assert "took longer than 3s" in shard.error
    assert counts(project)[0] <= 40


def test_a_revision_that_fails_after_its_backfill_does_not_begin_it_again(project: Project) -> None:
    """The position lives until the version row is written, so even `n + 1` is right on the second try."""
    backfill_in(project, *INTEGER_KEY, where="")
    script = project.path / "migrations" / "versions" / "r2.py"
    whole = script.read_text()
    broken = '    with op.get_context().autocommit_block():\n        op.execute("SELECT 1/0")\n\n\ndef downgrade'
    script.write_text(whole.replace("\n\ndef downgrade", broken))
    assert not project.migrate().succeeded
    script.write_text(whole)
    assert project.migrate().succeeded
    assert counts(project) == (95, 95)
    assert leftovers(project) == []


def test_wait_while_holds_it_up(project: Project) -> None:
    """No batch begins as long as the developer's own question is answered with true."""
    backfill_in(project, *INTEGER_KEY, "CREATE TABLE busy ()", more=', wait_while="SELECT EXISTS (SELECT FROM busy)"')
    project.sql("shard_0", "INSERT INTO busy DEFAULT VALUES")
    events: list[Event] = []
    with project.migrating(on_event=events.append) as rollout:
        until(lambda: "waiting: wait_while says so" in said(events))
        assert counts(project) == (0, 0)
        project.sql("shard_0", "DELETE FROM busy")
    assert rollout.result().succeeded
    assert counts(project) == (95, 95)


def test_a_table_without_a_primary_key_is_refused(project: Project) -> None:
    """Before any row is changed."""
    backfill_in(project, "CREATE TABLE a (id int, done int)", "INSERT INTO a VALUES (1)")
    [shard] = project.migrate().results
    assert shard.error is not None
    assert "a is no table that has one" in shard.error
    assert counts(project) == (0, 0)


def test_a_backfill_is_never_rendered(project: Project) -> None:
    """The dry run says why its revision goes online."""
    backfill_in(project, *INTEGER_KEY)
    shown = project.cli("migrate", "--dry-run")
    assert "backfills rows in batches" in shown.stdout


def alembic(project: Project, *arguments: str) -> list[str]:
    url = project.shards["shard_0"].replace("postgresql://", "postgresql+psycopg://").replace("%", "%%")
    ini: Path = project.path / "alembic.ini"
    ini.write_text(f"[alembic]\nscript_location = migrations\nsqlalchemy.url = {url}\n{STOCK_LOGGING}")
    return [sys.executable, "-m", "alembic", *arguments]


def test_alembic_alone_killed_in_the_middle_goes_on_where_it_stopped(project: Project) -> None:
    """No fleet, no worker: kill -9 of `alembic upgrade`, and its next run does the rest."""
    backfill_in(project, *INTEGER_KEY, where="")
    command = alembic(project, "upgrade", "head")
    with stuck_at_row_50(project), subprocess.Popen(command, cwd=project.path) as process:
        until(lambda: counts(project)[0] == 40 or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
    second = subprocess.run(command, cwd=project.path, check=True, capture_output=True, text=True)
    assert "going on where an earlier try stopped" in second.stderr
    assert counts(project) == (95, 95)
    assert (project.versions()["shard_0"], reported(project), leftovers(project)) == (["r2"], "95 rows", [])


def test_alembic_offline_says_that_it_needs_a_database(project: Project) -> None:
    """`alembic upgrade --sql` would otherwise write a script in which the rows are missing."""
    backfill_in(project, *INTEGER_KEY)
    command = alembic(project, "upgrade", "r1:r2", "--sql")
    result = subprocess.run(command, cwd=project.path, check=False, capture_output=True, text=True)
    assert result.returncode != 0
    assert "it can't be rendered with --sql" in result.stderr + result.stdout


@pytest.mark.new_interpreter
def test_importing_it_is_light() -> None:
    """A revision that is loaded for its history must not load the fleet."""
    code = "import sys; from shardwright.migration import backfill; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"shardwright.catalog", "shardwright.fleet", "shardwright.config", "pydantic"} & set(loaded)
