"""What the triggers note, whom they refuse, and that neither an old snapshot nor a search path changes that."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg import sql

from shardwright.config import TenantsSection
from shardwright.pg.tables import read_tables
from shardwright.runs.kinds import StepContext
from shardwright.transfer import capture, fence
from shardwright.transfer.place import table_graph
from shardwright.transfer.scope import Scope
from shardwright.transfer.triggers import insist

MOVE = 7
SCHEMA = """
CREATE TABLE orgs (id int PRIMARY KEY);
CREATE TABLE tasks (id int PRIMARY KEY, org_id int NOT NULL REFERENCES orgs, n int DEFAULT 0);
CREATE TABLE marks (id int PRIMARY KEY, task int NOT NULL REFERENCES tasks ON DELETE CASCADE, n int DEFAULT 0);
INSERT INTO orgs VALUES (1), (2);
INSERT INTO tasks VALUES (1, 1), (2, 2); INSERT INTO marks VALUES (1, 1), (2, 2);
"""
WRITES = [
    f"{statement} {table}{rest}"
    for table, parent in (("tasks", "org_id"), ("marks", "task"))
    for statement, rest in (
        ("INSERT INTO", f" (id, {parent}) VALUES (11, 1), (12, 2)"),
        ("UPDATE", " SET n = 5 WHERE id IN (1, 2)"),
        ("DELETE FROM", " WHERE id IN (11, 12)"),
    )
]


class Shard:
    """A shard on which tenant 1 is in transfer."""

    def __init__(self, url: str, side: str) -> None:
        self.url = url
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(SCHEMA)
            graph = table_graph(read_tables(connection), TenantsSection(root="orgs", key="org_id"))
            self.scope = Scope.of_tenant(MOVE, "1", graph)
            context = StepContext(fleet=None, run=MOVE, plan={})  # type: ignore[arg-type]  # asked for nothing here
            capture.make_schema(connection)
            capture.register(connection, self.scope, side=side, is_open=True, gone_to=None, epoch=1, runner=0)
            capture.install(connection, self.scope, side, context, timedelta(seconds=5))

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url, autocommit=True)

    def close(self) -> None:
        with self.connect() as connection:
            fence.close_for_writes(connection, self.scope.fence)

    def noted(self) -> list[int]:
        """The keys in all queues, in the order of the tables; gone from there."""
        with self.connect() as connection:
            queues = [table.queue.as_string(connection) for table in self.scope.tables]
            found = [connection.execute(f"DELETE FROM {queue} RETURNING k1").fetchall() for queue in queues]
        return [key for rows in found for (key,) in rows]


@pytest.fixture
def make_shard(make_database: Callable[[], str]) -> Callable[[str], Shard]:
    return lambda side: Shard(make_database(), side)


@pytest.mark.parametrize("side", ["source", "target"])
def test_the_tenants_rows_are_noted_and_nobody_elses(make_shard: Callable[[str], Shard], side: str) -> None:
    """Whether a row tells whose it is, or its parent does."""
    shard = make_shard(side)
    with shard.connect() as writer:
        for write in WRITES:
            writer.execute(write)
            assert shard.noted() == [1 if write.startswith("UPDATE") else 11], write
    shard.close()
    with shard.connect() as writer:
        for write in WRITES:
            with pytest.raises(psycopg.Error) as error:
                writer.execute(write.replace("(11, 12)", "(1, 2)"))
            assert error.value.sqlstate == "SW001", write
        for write in WRITES:
            writer.execute(write.replace("(11, 1), ", "").replace("(1, 2)", "(2)"))
    assert shard.noted() == []


@pytest.mark.parametrize("side", ["source", "target"])
def test_the_movers_own_writes_are_neither_noted_nor_refused(make_shard: Callable[[str], Shard], side: str) -> None:
    """On either side, also behind a closed fence; another move's are."""
    shard = make_shard(side)
    shard.close()
    with shard.connect() as mover:
        mover.execute(f"SET shardwright.mover = '{MOVE}'")
        for write in WRITES:
            mover.execute(write)
        assert shard.noted() == []
        mover.execute(f"SET shardwright.mover = '{MOVE}0'")
        with pytest.raises(psycopg.Error) as error:
            mover.execute(WRITES[0])
        assert error.value.sqlstate == "SW001"


@pytest.mark.parametrize("write", [write for write in WRITES if not write.startswith("DELETE")])
def test_a_closed_flag_is_seen_whatever_the_age_of_the_snapshot(make_shard: Callable[[str], Shard], write: str) -> None:
    """Also by a transaction that has passed an open one before."""
    shard = make_shard("source")
    with shard.connect() as old, shard.connect() as older:
        for session in (old, older):
            session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            session.execute("SELECT FROM orgs")
        old.execute("INSERT INTO tasks VALUES (20, 1)")
        shard.close()
        for session in (old, older):
            with pytest.raises(psycopg.Error) as error:
                session.execute(write)
            assert error.value.sqlstate == "SW001"
            session.execute("ROLLBACK")


def test_no_search_path_of_a_writer_leads_elsewhere(make_shard: Callable[[str], Shard]) -> None:
    """The functions have the rights of the mover: they take neither operators nor types from the writer's schemas."""
    shard = make_shard("source")
    with shard.connect() as writer:
        writer.execute("CREATE SCHEMA evil; CREATE TYPE evil.record AS (a int)")
        for kind in ("boolean", "text", "integer", "bigint", "uuid"):
            writer.execute(
                f"""CREATE FUNCTION evil.equals({kind}, {kind}) RETURNS boolean LANGUAGE plpgsql
                    AS 'BEGIN RAISE ''led astray''; END';
                    CREATE OPERATOR evil.= (FUNCTION = evil.equals, LEFTARG = {kind}, RIGHTARG = {kind});
                    CREATE OPERATOR evil.<> (FUNCTION = evil.equals, LEFTARG = {kind}, RIGHTARG = {kind})"""
            )
        writer.execute("SET search_path = evil, pg_catalog, public")
        writer.execute("INSERT INTO marks (id, task) VALUES (11, 1); INSERT INTO tasks (id, org_id) VALUES (21, 1)")
        writer.execute("UPDATE marks SET id = 100 + id, task = task; UPDATE tasks SET n = 9; DELETE FROM marks")
        with pytest.raises(psycopg.Error) as error:
            writer.execute("INSERT INTO marks (id, task) VALUES (12, 1); UPDATE marks SET task = 2")
        assert error.value.sqlstate == "SW003"
    assert sorted(shard.noted()) == [1, 1, 11, 11, 21, 21, 101, 101, 111, 111]


def test_who_is_in_the_way_is_told_to_a_role_that_may_not_look_at_sessions(database_url: str) -> None:
    """It is given a pid, and neither age nor query; the words that tell of it must do with that."""
    told: list[str] = []
    context = StepContext(fleet=None, run=MOVE, plan={}, tell=told.append)  # type: ignore[arg-type]

    def rest(_: float) -> None:
        if told:
            raise InterruptedError

    context.rest = rest  # type: ignore[assignment, method-assign]
    with psycopg.connect(database_url, autocommit=True) as owner, psycopg.connect(database_url) as writer:
        owner.execute("CREATE TABLE watched (id int)")
        owner.execute("CREATE ROLE capture_reader; GRANT ALL ON watched TO capture_reader")
        pid = writer.info.backend_pid
        try:
            writer.execute("INSERT INTO watched VALUES (1)")
            owner.execute("SET ROLE capture_reader")
            act = partial(owner.execute, "LOCK watched IN SHARE ROW EXCLUSIVE MODE")
            with pytest.raises(InterruptedError):
                insist(owner, context, sql.Identifier("watched"), timedelta(milliseconds=5), act)
        finally:
            writer.rollback()
            owner.execute("RESET ROLE; DROP OWNED BY capture_reader; DROP ROLE capture_reader")
    assert f"in the way: pid {pid}" in told[0]
