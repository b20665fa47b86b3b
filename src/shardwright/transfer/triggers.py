"""What triggers that capture are made of, and how they are made without anybody waiting for long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
from psycopg import sql

from shardwright.pg import activity, retry
from shardwright.pg.queries import load
from shardwright.pg.tables import TableName
from shardwright.runs.kinds import Progress, StepContext
from shardwright.transfer.graph import PlacedTable, with_partitions
from shardwright.transfer.scope import MovedTable
from shardwright.transfer.sessions import MARK, short_lock

ROW_EVENTS = ("insert", "update", "delete")
_TELL_AFTER = 5
_queries = load(__package__, "triggers.sql")


@dataclass(frozen=True)
class Guard:
    """A table, the functions of its triggers by their events, and when these fire at all (nothing: always)."""

    placed: PlacedTable
    functions: Mapping[str, sql.Identifier]
    whens: Mapping[str, sql.Composable]

    def triggers(self, number: int) -> Iterator[sql.Composed]:
        """Statements that make all of them for transfer `number`, that of TRUNCATE as the last."""
        table = self.placed.table.name.identifier
        for event in ROW_EVENTS:
            name = trigger(number, event)
            yield sql.SQL("CREATE TRIGGER {} AFTER {} ON {} FOR EACH ROW {} EXECUTE FUNCTION {}()").format(
                name, sql.SQL(event.upper()), table, self.whens.get(event, sql.SQL("")), self.functions[event]
            )
            yield always(table, name)
        name = trigger(number, "truncate")
        for each in with_partitions(self.placed):
            yield sql.SQL("CREATE TRIGGER {} BEFORE TRUNCATE ON {} FOR EACH STATEMENT EXECUTE FUNCTION {}()").format(
                name, each.name.identifier, self.functions["truncate"]
            )
            yield always(each.name.identifier, name)


def install(
    connection: psycopg.Connection[Any],
    number: int,
    guards: Sequence[Guard],
    context: StepContext,
    patience: timedelta,
) -> None:
    """Every table has its triggers, one table in a transaction, in the way of nobody for longer than `patience`.

    Raises Stopped.
    """
    values = {"trigger": f"shardwright_{number}_truncate"}
    present = {TableName(*row) for row in connection.execute(_queries["installed"], values)}
    for done, guard in enumerate(guards):
        name = guard.placed.table.name
        if name not in present:
            make = partial(connection.execute, sql.SQL("; ").join(guard.triggers(number)))
            insist(connection, context, name.identifier, patience, make)
        context.report(Progress("capture", done + 1, len(guards), "tables"))


def trigger(number: int, event: str) -> sql.Identifier:
    """The name of the transfer's trigger for `event` on each table."""
    return sql.Identifier(f"shardwright_{number}_{event}")


def always(table: sql.Composable, name: sql.Identifier) -> sql.Composed:
    """It fires for sessions that replicate, too."""
    return sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(table, name)


def function(name: sql.Identifier, body: sql.Composed) -> sql.Composed:
    """A trigger's function, that writes where its caller may not."""
    return sql.SQL("CREATE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS {}; {}").format(
        name, sql.Literal(body.as_string(None)), private(name)
    )


def private(name: sql.Identifier, arguments: str = "") -> sql.Composed:
    """Nobody calls it but triggers."""
    return sql.SQL("REVOKE ALL ON FUNCTION {}({}) FROM PUBLIC").format(name, sql.SQL(arguments))


def queue(table: MovedTable, name: sql.Identifier) -> sql.Composed:
    """A table for keys of `table`. No unique index, or writers would wait for each other; logged, or a crash would
    empty it silently."""
    return sql.SQL(
        "CREATE TABLE {} AS SELECT pg_catalog.pg_current_xact_id() AS xid, pg_catalog.clock_timestamp() AS at{}{} "
        "FROM {} AS r WITH NO DATA"
    ).format(name, sql.SQL(", " if table.key else ""), table.key_as_numbered("r"), table.table.source)


def ledger(name: sql.Identifier) -> sql.Composed:
    """A table of what has been copied."""
    return sql.SQL(
        "CREATE TABLE {} (tab integer, part bigint, rows bigint NOT NULL, bytes bigint NOT NULL, "
        "PRIMARY KEY (tab, part))"
    ).format(name)


# --- expressions and statements of a body -------------------------------------------------------


def is_mover(number: int) -> sql.Composed:
    """It is the mover's own write."""
    return sql.SQL("coalesce(pg_catalog.current_setting({}, true), '') OPERATOR(pg_catalog.=) {}").format(
        sql.Literal(MARK), sql.Literal(str(number))
    )


def log(name: sql.Identifier, columns: Sequence[str], row: str) -> sql.Composed:
    """The key of `row` is noted."""
    values = sql.SQL(", ").join(
        [
            sql.SQL("pg_catalog.pg_current_xact_id(), pg_catalog.clock_timestamp()"),
            *(sql.Identifier(row, column) for column in columns),
        ]
    )
    return sql.SQL("INSERT INTO {} VALUES ({});").format(name, values)


def differ(columns: Sequence[str]) -> sql.Composable:
    """Byte by byte, so that no operator of the user's has a say in it."""
    if not columns:
        return sql.SQL("false")
    old, new = (sql.SQL(", ").join(sql.Identifier(row, name) for name in columns) for row in ("old", "new"))
    return sql.SQL("ROW({})::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW({})::pg_catalog.record").format(old, new)


def refusal(code: str, message: str, hint: str) -> sql.Composed:
    """The write fails with that SQLSTATE."""
    return sql.SQL("RAISE EXCEPTION USING ERRCODE = {}, MESSAGE = {}, HINT = {};").format(
        sql.Literal(code), sql.Literal(message), sql.Literal(hint)
    )


# --- making them --------------------------------------------------------------------------------


def insist(
    connection: psycopg.Connection[Any],
    context: StepContext,
    table: sql.Identifier,
    patience: timedelta,
    act: Callable[[], object],
    *,
    readers: bool = False,
) -> None:
    """`act` is done in a transaction, tried until it gets the table's lock; who is in the way is told, with `readers`
    also somebody who only reads. Raises Stopped."""
    attempt = 0
    while True:
        context.raise_if_stopped()
        attempt += 1
        try:
            with connection.transaction():
                connection.execute(short_lock(patience))
                act()
            return
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            if attempt % _TELL_AFTER == 0:
                blocker = _in_the_way(connection, table, readers=readers)
                context.tell(f"{table.as_string(None)}: waits for its lock, try {attempt}{blocker}")
        context.rest(retry.pause(min(attempt, 3)).total_seconds())


def _in_the_way(connection: psycopg.Connection[Any], table: sql.Identifier, *, readers: bool) -> str:
    name = table.as_string(None)
    row = connection.execute(_queries["lock_holder"], {"table": name, "any": readers}).fetchone()
    return f"; in the way: {activity.Blocker.seen(name, *row)}" if row else ""
