"""Drain: the rows whose keys were captured are made equal at the target, as one snapshot of the source has them.

In one transaction of the target: all these keys are deleted, children first, and what the source has under them is
copied in. So the order of changes does not matter, rows may have swapped unique values, and doing it again does no
harm. All keys that the snapshot sees are taken, or values that two rows have exchanged would collide.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from shardwright.transfer.scope import MovedTable, Scope
from shardwright.transfer.stream import Streamed, stream

# Plans for a handful of keys among millions of rows. The tables of ours have no statistics, and a guess may cost a
# scan of a whole table.
BY_INDEX = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"


@dataclass(frozen=True)
class Captured:
    """What is in the queues: how many keys of each table, and how long ago (seconds) the oldest was captured."""

    keys: Mapping[int, int]
    lag: float

    @property
    def total(self) -> int:
        """Of all tables."""
        return sum(self.keys.values())


@dataclass(frozen=True)
class Drained:
    """What one drain has brought: keys, and rows that are there now."""

    keys: int
    rows: int


@contextmanager
def snapshot(source: psycopg.Connection[Any]) -> Iterator[str]:
    """The session sees the database as it is now until the block ends; gives the snapshot's text."""
    with source.transaction():
        source.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        row = source.execute("SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text").fetchone()
        assert row is not None  # noqa: S101 a SELECT without FROM gives a row
        yield str(row[0])


def captured(source: psycopg.Connection[Any], scope: Scope) -> Captured:
    """What the session's snapshot sees in the queues."""
    parts = (
        sql.SQL("SELECT {}, count(*), min(at) FROM {}").format(sql.Literal(table.number), table.queue)
        for table in scope.tables
    )
    query = sql.SQL(
        "SELECT number, keys, extract('epoch' FROM pg_catalog.clock_timestamp() - at)::float "
        "FROM ({}) AS _ (number, keys, at) WHERE keys > 0"
    ).format(sql.SQL(" UNION ALL ").join(parts))
    rows = source.execute(query).fetchall()
    return Captured({row[0]: row[1] for row in rows}, max((row[2] for row in rows), default=0.0))


def make_room(target: psycopg.Connection[Any], tables: Collection[MovedTable]) -> None:
    """The session has the temporary tables that keys are brought to."""
    for table in tables:
        if table.key:
            target.execute(
                sql.SQL(
                    "CREATE TEMPORARY TABLE IF NOT EXISTS {} ON COMMIT DELETE ROWS AS SELECT {} FROM {} AS r "
                    "WITH NO DATA"
                ).format(sql.Identifier(f"drained_{table.number}"), table.key_as_numbered("r"), table.table.source)
            )


def drain(
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    scope: Scope,
    tables: Collection[MovedTable],
    *,
    checks: bool = False,
) -> Drained:
    """Within a snapshot of `source`: all keys captured of `tables` are equal at the target, committed there.

    `checks`: before the commit every drained row is compared by its hash; raises NotEqual.
    """
    found = captured(source, scope)
    if not (dirty := [table for table in tables if table.number in found.keys]):
        return Drained(0, 0)
    source.execute(BY_INDEX)
    brought = Streamed()
    with target.transaction():
        target.execute(BY_INDEX)
        for table in dirty:
            if table.key:
                stream(source, _keys(table), target, table.drained, table.keys, table.key_format)
        for table in reversed(dirty):
            target.execute(_delete(table))
        for table in dirty:
            rows = _rows(table.here, table.columns())
            brought += stream(source, rows, target, table.name.identifier, table.target_columns, table.format)
        if checks:
            for table in dirty:
                _require_equal(source, target, table)
    return Drained(sum(found.keys[table.number] for table in dirty), brought.rows)


def forget_drained(
    source: psycopg.Connection[Any], tables: Collection[MovedTable], taken: str, *, lists: bool = False
) -> None:
    """The keys that the snapshot `taken` saw are not in the queues any more; with `lists`, and not to be copied."""
    seen = sql.SQL("pg_catalog.pg_visible_in_snapshot(xid, {}::pg_catalog.pg_snapshot)").format(sql.Literal(taken))
    with source.transaction():
        for table in tables:
            if lists and table.key:
                source.execute(
                    sql.SQL("DELETE FROM {} AS l USING {} AS q WHERE {} AND {}").format(
                        table.list, table.queue, _same_key(table, "l", "q"), seen
                    )
                )
            source.execute(sql.SQL("DELETE FROM {} WHERE {}").format(table.queue, seen))


class NotEqual(Exception):
    """Rows that had just been made equal are not."""


def _keys(table: MovedTable) -> sql.Composed:
    return sql.SQL("SELECT DISTINCT {} FROM {}").format(table.keys, table.queue)


def _rows(table: MovedTable, what: sql.Composable) -> sql.Composed:
    """`what` of the rows under the captured keys; of a table without a key, of all the tenant's rows."""
    if not table.key:
        return sql.SQL("SELECT {} FROM {} AS r WHERE {}").format(what, table.table.source, table.mine())
    return sql.SQL("SELECT {} FROM ({}) AS q JOIN {} AS r ON {} WHERE {}").format(
        what, _keys(table), table.table.source, table.is_row("r", "q"), table.checked()
    )


def _delete(table: MovedTable) -> sql.Composed:
    """Always with the tenant's condition: a key that is another tenant's there is a collision, and not ours to take."""
    if not table.key:
        return sql.SQL("DELETE FROM {} AS r WHERE {}").format(table.table.source, table.mine())
    mine = table.checked()
    if table.placed.way.climbs:  # while the tree is half copied, a row may not lead to its tenant yet
        mine = sql.SQL("({} OR NOT {})").format(mine, table.known())
    return sql.SQL("DELETE FROM {} AS r USING {} AS q WHERE {} AND {}").format(
        table.table.source, table.drained, table.is_row("r", "q"), mine
    )


def _require_equal(source: psycopg.Connection[Any], target: psycopg.Connection[Any], table: MovedTable) -> None:
    what = sql.SQL("count(*), coalesce(sum({}), 0)").format(table.hash_of())
    there = _rows(table, what)
    if table.key:
        there = sql.SQL("SELECT {} FROM {} AS q JOIN {} AS r ON {} WHERE {}").format(
            what, table.drained, table.table.source, table.is_row("r", "q"), table.checked()
        )
    ours, theirs = source.execute(_rows(table.here, what)).fetchone(), target.execute(there).fetchone()
    if ours != theirs:
        raise NotEqual(f"{table.shown}: the rows that changed last are not equal on both sides")


def _same_key(table: MovedTable, left: str, right: str) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("{} {} {}").format(sql.Identifier(left, name), sql.SQL(column.equality), sql.Identifier(right, name))
        for name, column in table.numbered_key()
    )
