"""The faults that others have made, put into the product one by one: the ledger, or a comparison of the move's own,
finds each. And the orders of events in which they lose writes, all of them against the product as it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import psycopg
import pytest
from psycopg import sql

from kit import until
from ledger import Key, differences
from moves import Arena, MakeArena
from points import at, instead
from shardwright.move.status import MoveStatus
from shardwright.transfer import drain, fence
from shardwright.transfer.clear import clear
from shardwright.transfer.drain import Drained
from shardwright.transfer.stream import stream

# --- orders of events -----------------------------------------------------------------------------


class Race:
    """What is done to a move at some of its points; what was acknowledged is in the arena's ledger."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.both_took_writes = False

    def row(self, table: str, n: int) -> Key:
        """The row that was made with that number."""
        [[name]] = self.arena.ask("home", f"SELECT id::text FROM {table} WHERE n = %s", n)
        return table, name

    def write(self, shard: str, statement: str, *effects: tuple[Key, int | None]) -> bool:
        """Whether it was acknowledged; the ledger has it then."""
        try:
            self.arena.ask(shard, statement)
        except psycopg.Error as error:
            if error.sqlstate not in ("SW001", "23503"):  # refused, or the rows that it hangs on are gone
                raise
            return False
        self.arena.ledger.write(dict(effects))
        return True


Points = list[tuple[str, Callable[[], object]]]


def a_writer_with_a_snapshot_from_before_the_switch(race: Race) -> Points:
    """It writes after the switch, at the source."""
    old = psycopg.connect(race.arena.direct["home"])
    key = race.row("task", 1)

    def look() -> None:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT 1 FROM org")

    def write() -> None:
        with old:
            try:
                old.execute("UPDATE task SET n = 1001 WHERE n = 1")
                old.commit()
                race.arena.ledger.write({key: 1001})
            except psycopg.Error as error:
                if error.sqlstate != "SW001":
                    raise

    return [("before Switch._settle 1", look), ("after Switch._go 1", write)]


def a_writer_that_commits_while_the_lock_is_waited_for(race: Race) -> Points:
    key = race.row("task", 2)

    def begin() -> None:
        open_one = psycopg.connect(race.arena.direct["home"])
        open_one.execute("UPDATE task SET n = 1002 WHERE n = 2")
        threading.Thread(target=end, args=(open_one,)).start()

    def end(open_one: psycopg.Connection[Any]) -> None:
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        with open_one:
            until(lambda: race.arena.ask("home", waiting) == [(1,)])
        race.arena.ledger.write({key: 1002})

    return [("before fence.lock 1", begin)]


def a_decision_that_fails(race: Race) -> Points:
    """With somebody who tries to write on both shards at that moment, and right after it."""

    def fail() -> None:
        there = race.write(
            "there", f"INSERT INTO log VALUES ('{race.arena.tenant}', 'there', 3)", (("log", "there"), 3)
        )
        threading.Thread(target=at_home, args=(there,)).start()
        raise psycopg.OperationalError("the control database is away")

    def at_home(there: bool) -> None:
        home = race.write("home", f"INSERT INTO log VALUES ('{race.arena.tenant}', 'home', 3)", (("log", "home"), 3))
        race.both_took_writes = home and there

    return [("before Moves.switch 1", fail)]


def a_session_that_replicates_writes(race: Race) -> Points:
    change = "SET session_replication_role = replica; UPDATE task SET n = 1004 WHERE n = 4"
    key = race.row("task", 4)
    return [("after Copy.copy 1", lambda: race.write("home", change, (key, 1004)))]


def a_write_between_a_drain_and_its_end(race: Race) -> Points:
    def change(n: int) -> Callable[[], object]:
        key = race.row("task", n)
        return lambda: race.write("home", f"UPDATE task SET n = 1000 + n WHERE n = {n}", (key, 1000 + n))

    return [("after Copy.copy 1", change(5)), ("before drain.forget_drained 1", change(13))]


def a_parent_deleted_with_its_children(race: Race) -> Points:
    gone = [
        (table, name)
        for table, query in {
            "project": "SELECT id::text FROM project WHERE n = 7",
            "task": "SELECT id::text FROM task WHERE project_id = (SELECT id FROM project WHERE n = 7)",
            "remark": """SELECT remark.id::text FROM remark JOIN task ON task.id = task_id
                         WHERE project_id = (SELECT id FROM project WHERE n = 7)""",
            "node": "SELECT id::text FROM node WHERE n = 7",
        }.items()
        for [name] in race.arena.ask("home", query)
    ]
    effects = [(key, None) for key in gone]
    return [("after Copy.copy 1", lambda: race.write("home", "DELETE FROM project WHERE n = 7", *effects))]


def two_rows_that_exchange_a_unique_value(race: Race) -> Points:
    one, other = race.row("badge", 8), race.row("badge", 9)
    change = (
        "UPDATE badge SET n = -1 WHERE n = 8; UPDATE badge SET n = 8 WHERE n = 9; UPDATE badge SET n = 9 WHERE n = -1"
    )
    return [("after Copy.copy 1", lambda: race.write("home", change, (one, 9), (other, 8)))]


def the_lock_is_lost_after_the_last_drain(race: Race) -> Points:
    """Its session is ended, and somebody writes."""
    key = race.row("task", 10)
    holder = (
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock'"
    )

    def lose() -> None:
        assert race.arena.ask("home", f"{holder} AND classid = {fence.LOCK_CLASS}") == [(True,)]
        race.write("home", "UPDATE task SET n = 1010 WHERE n = 10", (key, 1010))

    return [("before fence.close_for_writes 1", lose)]


def run(arena: Arena, *races: Callable[[Race], Points]) -> tuple[MoveStatus, Race]:
    """One move, with these things happening to it."""
    race = Race(arena)
    number = arena.start()
    with ExitStack() as stack:
        reached = [(point, stack.enter_context(at(point, act))) for each in races for point, act in each(race)]
        status = arena.carry(number)
    assert [point for point, was in reached if not was.is_set()] == [], arena.story(number)
    return status, race


@pytest.mark.parametrize(
    "race",
    [
        a_writer_with_a_snapshot_from_before_the_switch,
        a_writer_that_commits_while_the_lock_is_waited_for,
        a_decision_that_fails,
        the_lock_is_lost_after_the_last_drain,
    ],
)
def test_nothing_is_lost_in_a_race_at_the_switch(make_arena: MakeArena, race: Callable[[Race], Points]) -> None:
    """Whoever was told that his write is there finds it there; whoever came too late was refused."""
    arena = make_arena(rows=30)
    status, raced = run(
        arena,
        race,
        a_session_that_replicates_writes,
        a_write_between_a_drain_and_its_end,
        a_parent_deleted_with_its_children,
        two_rows_that_exchange_a_unique_value,
    )
    assert status.move.phase == "switched", arena.story(status.run.id)
    assert not raced.both_took_writes
    arena.finish()
    arena.require_all("there")


# --- mutants --------------------------------------------------------------------------------------

Mutant = AbstractContextManager[None]


def a_fence_that_reads_a_table_row() -> Mutant:
    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def shuts_out(flag: fence.Fence) -> sql.Composed:
            row = sql.SQL(
                "(SELECT CASE WHEN gone_to IS NULL OR side = 'target' THEN 1 END FROM shardwright.move WHERE {})"
            ).format(flag.line)
            return sql.SQL(
                "CASE WHEN pg_catalog.pg_advisory_xact_lock_shared({}, {}) IS NOT NULL "
                "THEN ({} OPERATOR(pg_catalog.=) 1) IS NOT TRUE ELSE true END"
            ).format(sql.Literal(flag.lock_class), flag.lock_key, row)

        return shuts_out

    return instead("fence.shuts_out", make)


def a_last_drain_from_a_snapshot_older_than_the_lock() -> Mutant:
    stack = ExitStack()

    def lock(original: Callable[..., Any]) -> Callable[..., Any]:
        def after_the_snapshot(connection: Any, *arguments: Any) -> Any:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            connection.execute("SELECT 1 FROM shardwright.move")
            return original(connection, *arguments)

        return after_the_snapshot

    def last_drain(original: Callable[..., Any]) -> Callable[..., Any]:
        def old(switch: Any, here: Any, there: Any, began: float) -> int:
            keys = drain.drain(here, there, switch.scope, switch.scope.tables, checks=True).keys
            here.execute("COMMIT")
            return keys

        return old

    stack.enter_context(instead("fence.lock", lock))
    stack.enter_context(instead("Switch._last_drain", last_drain))
    return stack  # type: ignore[return-value]


def rows_deleted_before_the_placement_has_moved() -> Mutant:
    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def clear_first(switch: Any, here: Any) -> None:
            here.execute("SET session_replication_role = replica")

            class Nothing:
                report = raise_if_stopped = staticmethod(lambda *_: None)

            clear(here, switch.scope, Nothing())  # type: ignore[arg-type]
            original(switch, here)

        return clear_first

    return instead("Switch._decide", make)


def a_plain_trigger_without_always() -> Mutant:
    return instead("triggers.always", lambda _: lambda *_: sql.SQL("SELECT 1"))


def a_drain_that_forgets_by_range() -> Mutant:
    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def forget(source: Any, tables: Any, taken: str, *, lists: bool = False) -> None:
            for table in tables:
                source.execute(sql.SQL("DELETE FROM {} WHERE at <= clock_timestamp()").format(table.queue))

        return forget

    return instead("drain.forget_drained", make)


def a_lookup_that_skips_a_key_whose_parent_is_gone() -> Mutant:
    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def whose(*arguments: Any) -> Any:
            return sql.SQL("({}) IS TRUE").format(original(*arguments))

        return whose

    return instead("capture._whose", make)


def an_upsert_instead_of_delete_and_insert() -> Mutant:
    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def upsert(source: Any, target: Any, scope: Any, tables: Any, *, checks: bool = False) -> Any:
            found = drain.captured(source, scope)
            with target.transaction():
                for table in (each for each in tables if each.number in found.keys and each.key):
                    key = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.key)
                    names = table.name.identifier, table.target_columns
                    target.execute(sql.SQL("CREATE TEMP TABLE came AS SELECT {1} FROM {0} WITH NO DATA").format(*names))
                    rows = drain._rows(table, table.columns())
                    stream(source, rows, target, sql.Identifier("came"), table.target_columns, table.format)
                    put = "INSERT INTO {0} ({1}) SELECT {1} FROM came ON CONFLICT ({2}) DO UPDATE SET n = excluded.n"
                    target.execute(sql.SQL(put).format(*names, key))
                    target.execute("DROP TABLE came")
            return Drained(found.total, 0)

        return upsert

    return instead("drain.drain", make)


def a_target_opened_before_the_catalog_moved() -> Mutant:
    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def open_first(switch: Any, here: Any) -> None:
            with switch.target.open() as there:
                fence.open_for_writes(there, switch.scope.fence)
            original(switch, here)

        return open_first

    return instead("Switch._decide", make)


def a_flag_closed_by_another_session_than_the_locks() -> Mutant:
    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def close(connection: Any, scope: Any) -> None:
            with psycopg.connect(connection.info.dsn, autocommit=True) as other:
                original(other, scope)

        return close

    return instead("fence.close_for_writes", make)


MUTANTS = {
    a_fence_that_reads_a_table_row: a_writer_with_a_snapshot_from_before_the_switch,
    a_last_drain_from_a_snapshot_older_than_the_lock: a_writer_that_commits_while_the_lock_is_waited_for,
    rows_deleted_before_the_placement_has_moved: a_decision_that_fails,
    a_plain_trigger_without_always: a_session_that_replicates_writes,
    a_drain_that_forgets_by_range: a_write_between_a_drain_and_its_end,
    a_lookup_that_skips_a_key_whose_parent_is_gone: a_parent_deleted_with_its_children,
    an_upsert_instead_of_delete_and_insert: two_rows_that_exchange_a_unique_value,
    a_target_opened_before_the_catalog_moved: a_decision_that_fails,
    a_flag_closed_by_another_session_than_the_locks: the_lock_is_lost_after_the_last_drain,
}


@pytest.mark.parametrize(("mutant", "race"), MUTANTS.items(), ids=lambda each: each.__name__)
def test_a_mutant_is_caught(
    make_arena: MakeArena, mutant: Callable[[], Mutant], race: Callable[[Race], Points]
) -> None:
    """Something that was acknowledged is not there, or both shards took writes, or the move itself has noticed."""
    arena = make_arena(rows=30)
    with mutant():
        status, raced = run(arena, race)
    wrong = differences(arena.ledger.rows, arena.found("there"))
    has_noticed = status.run.state == "parked"
    assert wrong or raced.both_took_writes or has_noticed, arena.story(status.run.id)
    print(f"caught: {len(wrong)} differ, both {raced.both_took_writes}, {status.run.note}")  # noqa: T201 for -s
