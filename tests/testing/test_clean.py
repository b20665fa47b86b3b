"""After a test each database is what it was, to the row, by the cheapest way that is enough."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from kit import until
from shardwright.dsn import DatabaseUrl
from shardwright.pg.fingerprint import fingerprint
from shardwright.testing import TestFleet, TransactionLeftOpen, baseline

ORG = "INSERT INTO org VALUES ('00000000-0000-0000-0000-00000000000{n}', 'free', 'one')"
TASK = "INSERT INTO task (org_id, title) SELECT id, 'x' FROM org"


def run(kit: TestFleet, *statements: str, shard: str = "shard_0") -> list[tuple[Any, ...]]:
    """What the last statement gives; each commits by itself."""
    with psycopg.connect(kit.urls[shard], autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def state(kit: TestFleet, shard: str = "shard_0") -> dict[str, Any]:
    """All that a test could have changed, asked without the kit's own questions."""
    found: dict[str, Any] = {}
    with psycopg.connect(kit.urls[shard], autocommit=True) as connection:
        found["schema"] = fingerprint(connection)
        for table in ("plan", "org", "task", "note", "event", "alembic_version"):
            found[table] = connection.execute(f"SELECT t::text FROM {table} AS t ORDER BY 1".encode()).fetchall()
        for sequence in ("note_id_seq", "ticket"):
            found[sequence] = connection.execute(f"SELECT last_value, is_called FROM {sequence}".encode()).fetchone()
        found["objects"] = connection.execute("SELECT count(*) FROM pg_largeobject").fetchone()
    return found


@pytest.fixture
def before(kit: TestFleet) -> dict[str, Any]:
    return state(kit)


def test_a_fleet_that_nobody_wrote_to_is_not_looked_at(kit: TestFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that only reads costs one question a server."""
    looks: list[object] = []

    def look(*arguments: Any) -> baseline.Look:
        looks.append(arguments)
        return asked(*arguments)

    def costs_nothing() -> bool:
        """In the end: pages are tidied up by whoever reads them, and that is written to the log too."""
        looks.clear()
        run(kit, "SELECT * FROM plan")
        assert set(kit.clean_all().ways.values()) == {"untouched"}
        return not looks

    asked = baseline.look
    monkeypatch.setattr(baseline, "look", look)
    until(costs_nothing)


def test_rows_and_sequences_are_as_they_were(kit: TestFleet, before: dict[str, Any]) -> None:
    """Rows of tables that were empty are deleted, with those of partitions, whatever refers to them."""
    run(kit, ORG.format(n=1), TASK, TASK, "INSERT INTO event SELECT id, 7 FROM org", "INSERT INTO note DEFAULT VALUES")
    assert kit.clean_all().ways == {"control": "untouched", "shard_0": "emptied", "shard_1": "untouched"}
    assert state(kit) == before


def test_a_sequence_that_only_moved_goes_back(kit: TestFleet, before: dict[str, Any]) -> None:
    """Even where no row was written, and for the second value that a sequence gives as for the first."""
    for _ in range(2):
        run(kit, "SELECT nextval('ticket')")
        kit.clean_all()
        assert state(kit) == before


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO plan (code) VALUES ('new')",
        "UPDATE plan SET price = 99 WHERE code = 'free'",
        "DELETE FROM plan WHERE code = 'free'",
        "UPDATE plan SET code = code",
        "DELETE FROM plan; INSERT INTO plan (code, price) VALUES ('free', 0), ('paid', 11)",
        "DELETE FROM alembic_version",
    ],
)
def test_a_table_that_had_rows_has_just_those_again(kit: TestFleet, before: dict[str, Any], statement: str) -> None:
    """Without the database being made anew; and so it is for the test after that."""
    for _ in range(2):
        run(kit, statement)
        assert kit.clean_all().ways["shard_0"] == "emptied"
        assert state(kit) == before


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE task ADD extra integer",
        "ALTER TABLE org ALTER name TYPE varchar(99)",
        "ALTER TABLE plan ALTER price DROP DEFAULT",
        "CREATE INDEX ON task (title)",
        "DROP INDEX task_pkey_2",
        "DROP TABLE task",
        "CREATE TABLE more ()",
        "CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE VIEW v AS SELECT 1 AS a",
        "ALTER TYPE mood ADD VALUE 'so so'",
        "ALTER TABLE task DROP CONSTRAINT task_org_id_fkey",
        "ALTER SEQUENCE ticket INCREMENT 5",
        "CREATE SCHEMA apart",
        "TRUNCATE task",
        "SELECT lo_create(0)",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = 999', current_database()); END $$",
    ],
)
def test_a_database_whose_schema_has_changed_is_made_anew(
    kit: TestFleet, before: dict[str, Any], statement: str
) -> None:
    """Only that one; whoever listens hears of it."""
    heard: list[str] = []
    if "task_pkey_2" in statement:
        statement = "CREATE INDEX task_pkey_2 ON task (id); " + statement
    run(kit, statement)
    kit.on_replaced(heard.append)
    ways = kit.clean_all().ways
    if "task_pkey_2" in statement:  # nothing is left of it
        assert ways["shard_0"] in ("untouched", "copied")
    else:
        assert ways == {"control": "untouched", "shard_0": "copied", "shard_1": "untouched"}
        assert heard == ["shard_0"]
    assert state(kit) == before
    assert run(kit, "SHOW work_mem") == [("4MB",)]


def test_a_sessions_own_tables_are_no_change(kit: TestFleet) -> None:
    """A pool whose connections have temporary tables keeps them, and the shard its database."""
    with psycopg.connect(kit.urls["shard_0"], autocommit=True) as pooled:
        pooled.execute("CREATE TEMP TABLE scratch (a integer PRIMARY KEY, b text DEFAULT 'x')")
        pooled.execute(ORG.format(n=1).encode())
        assert kit.clean_all().ways["shard_0"] == "emptied"
        assert pooled.execute("SELECT count(*) FROM scratch").fetchone() == (0,)


def test_what_a_trigger_writes_while_it_is_cleaned_is_gone_too(kit: TestFleet) -> None:
    """A trigger that fires always writes on behalf of whoever deletes; after a snapshot with one, nothing is left."""
    run(
        kit,
        "CREATE TABLE log (n integer)",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO public.log VALUES (1); RETURN NULL; END $$",
        "CREATE TRIGGER note AFTER DELETE ON task FOR EACH ROW EXECUTE FUNCTION note()",
        "ALTER TABLE task ENABLE ALWAYS TRIGGER note",
    )
    with kit.snapshot() as taken:
        run(kit, ORG.format(n=1), TASK)
        assert kit.restore(taken).ways["shard_0"] == "emptied"
        assert run(kit, "SELECT (SELECT count(*) FROM log), (SELECT count(*) FROM task)") == [(0, 0)]


def test_a_table_that_was_filled_much_is_small_again(kit: TestFleet) -> None:
    """Else every look after it would read its empty pages."""
    run(
        kit,
        ORG.format(n=1),
        "INSERT INTO task (org_id, title) SELECT id, repeat('x', 900) FROM org, generate_series(1, 9000)",
    )
    kit.clean_all()
    assert run(kit, "SELECT pg_relation_size('task')") == [(0,)]


def test_a_transaction_left_open_is_named_and_ended(kit: TestFleet, before: dict[str, Any]) -> None:
    """The next test neither waits for it nor reads what it did; who left it is told with what it ran."""
    with psycopg.connect(kit.urls["shard_0"]) as forgotten:
        forgotten.execute(ORG.format(n=1).encode())
        pid = forgotten.info.backend_pid
        with pytest.warns(TransactionLeftOpen, match=rf"test_of_mine left .*pid {pid}: INSERT INTO org"):
            kit.clean_all(test="test_of_mine")
        assert state(kit) == before
        with pytest.raises(psycopg.OperationalError):
            forgotten.execute("SELECT 1")


def test_a_prepared_transaction_is_named_and_undone(kit: TestFleet, before: dict[str, Any]) -> None:
    """It would hold its locks for ever."""
    with psycopg.connect(kit.urls["shard_1"], autocommit=True) as connection:
        connection.execute("BEGIN").connection.execute(ORG.format(n=1).encode())
        connection.execute("PREPARE TRANSACTION 'forgotten'")
    with pytest.warns(TransactionLeftOpen, match="prepared as 'forgotten'"):
        kit.clean_all()
    assert run(kit, "SELECT count(*) FROM pg_prepared_xacts") == [(0,)]


@pytest.fixture(params=["psycopg", "sqlalchemy", "psycopg async", "asyncpg"])
def application(kit: TestFleet, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A function that writes a row over a connection that it keeps, and gives how many there are."""
    url = DatabaseUrl.parse(kit.urls["shard_0"])
    with ExitStack() as stack:
        if request.param == "psycopg":
            connection = stack.enter_context(psycopg.connect(url.conninfo, autocommit=True))

            def plain() -> Any:
                connection.execute("INSERT INTO org VALUES (gen_random_uuid(), 'free', 'mine')")
                return connection.execute("SELECT count(*) FROM org").fetchone()

            yield lambda: plain()[0]
        elif request.param == "sqlalchemy":
            engine = create_engine(url.sqlalchemy("psycopg"), pool_size=1)
            stack.callback(engine.dispose)

            def pooled() -> Any:
                with engine.begin() as connection:
                    connection.execute(text("INSERT INTO org VALUES (gen_random_uuid(), 'free', 'mine')"))
                    return connection.scalar(text("SELECT count(*) FROM org"))

            yield pooled
        else:
            driver = "asyncpg" if request.param == "asyncpg" else "psycopg"
            loop = stack.enter_context(asyncio.Runner())
            awaited = create_async_engine(url.sqlalchemy(driver), pool_size=1)
            stack.callback(lambda: loop.run(awaited.dispose()))

            async def write() -> Any:
                async with awaited.begin() as connection:
                    await connection.execute(text("INSERT INTO org VALUES (gen_random_uuid(), 'free', 'mine')"))
                    return await connection.scalar(text("SELECT count(*) FROM org"))

            yield lambda: loop.run(write())


def test_an_applications_connections_live_through_the_cleaning(kit: TestFleet, application: Any) -> None:
    """Whatever it speaks through: its pool holds connections from one test to the next."""
    for _ in range(3):
        assert application() == 1
        assert kit.clean_all().ways["shard_0"] == "emptied"


def test_a_tenant_of_the_test_before_is_not_remembered(kit: TestFleet) -> None:
    """The directory is put back with its epochs; whoever knew of a tenant asks again."""
    acme = uuid.uuid4()
    for shard in ("shard_1", "shard_0", "shard_1"):
        kit.add_tenant(acme, shard=shard)
        assert kit.tenants.shard(acme).name == shard
        kit.clean_all()
