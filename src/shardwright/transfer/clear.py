"""Clear: the tenant's rows leave a shard, children first, in small parts that are in nobody's way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
from psycopg import sql

from shardwright.runs.kinds import Progress, StepContext
from shardwright.transfer.rows import joined
from shardwright.transfer.scope import MovedTable, Scope

BATCH = 1_000  # with 5,000 others waited for more than a second
_PAUSE_PART = 0.25  # of the time that a batch took, so that the server is left to others in between
Pace = Callable[[int], None]


def clear(
    connection: psycopg.Connection[Any],
    scope: Scope,
    context: StepContext,
    *,
    pace: Pace = lambda _: None,
) -> int:
    """No row of the tenant is on the shard; gives how many there were. May be called again. Raises Stopped.

    Rows of a tree that was half copied, or half cleared, do not lead to their tenant any more; they lead to a row that
    is not there, which no other tenant's can.
    """
    removed = 0
    for table in reversed(scope.tables):
        for count in clear_table(connection, table, context):
            removed += count
            context.report(Progress("clean", removed))
            pace(count)
    return removed


def clear_table(connection: psycopg.Connection[Any], table: MovedTable, context: StepContext) -> Iterator[int]:
    """The same of one table; gives how many rows have just gone, part by part."""
    yield from _batches(connection, table, context)
    if table.placed.way.climbs:
        yield _remove_dangling(connection, table)


def _batches(connection: psycopg.Connection[Any], table: MovedTable, context: StepContext) -> Iterator[int]:
    """The keys are listed once: asked for batch by batch, the server would walk over everybody's rows each time."""
    if not table.key:
        yield connection.execute(
            sql.SQL("DELETE FROM {} AS r WHERE {}").format(table.table.source, table.mine())
        ).rowcount
        return
    listed = sql.Identifier("pg_temp", f"cleared_{table.number}")
    connection.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE {} AS SELECT pg_catalog.row_number() OVER (ORDER BY {}) AS n, {} "
            "FROM {} AS r WHERE {}"
        ).format(
            sql.Identifier(f"cleared_{table.number}"), table.key_of("r"), table.key_as_numbered("r"),
            table.table.source, table.mine(),
        )
    )  # fmt: skip
    connection.execute(sql.SQL("CREATE INDEX ON {} (n)").format(listed))
    connection.execute(sql.SQL("ANALYZE {}").format(listed))
    length = _one(connection, sql.SQL("SELECT count(*) FROM {}").format(listed))
    for start in range(0, length, BATCH):
        context.raise_if_stopped()
        began = time.monotonic()
        yield connection.execute(
            sql.SQL("DELETE FROM {} AS r USING {} AS l WHERE l.n > {} AND l.n <= {} AND {} AND {}").format(
                table.table.source, listed, sql.Literal(start), sql.Literal(start + BATCH),
                table.is_row("r", "l"), sql.SQL("true") if table.placed.way.climbs else table.checked(),
            )
        ).rowcount  # fmt: skip
        time.sleep((time.monotonic() - began) * _PAUSE_PART)
    connection.execute(sql.SQL("DROP TABLE {}").format(listed))


def _remove_dangling(connection: psycopg.Connection[Any], table: MovedTable) -> int:
    removed = 0
    dangling = [
        sql.SQL("(ROW({}) IS NOT NULL AND NOT EXISTS (SELECT FROM {} AS parent WHERE {}))").format(
            sql.SQL(", ").join(sql.Identifier("r", name) for name in step.columns),
            table.graph.catalog.by_name[step.table].source,
            joined(step, "parent", "r"),
        )
        for step in (*table.placed.way.steps, *table.placed.way.climbs)
        if step.is_validated
    ]
    if not dangling:
        return 0
    query = sql.SQL("DELETE FROM {} AS r WHERE {}").format(table.table.source, sql.SQL(" OR ").join(dangling))
    while count := connection.execute(query).rowcount:
        removed += count
    return removed


def _one(connection: psycopg.Connection[Any], query: sql.Composed) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
