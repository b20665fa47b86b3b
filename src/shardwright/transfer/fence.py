"""The fence: whether a shard takes writes of the tenant, and the lock under which that changes.

The flag is the `last_value` of a sequence, which every reader sees as it is now, whatever the age of his snapshot, and
which survives a crash. Writers hold the lock shared from their first write to the end of their transaction. Measured
against nine other designs; a flag in a table that is read by SELECT lost writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
from psycopg import sql

from shardwright.pg.connect import milliseconds
from shardwright.pg.queries import load
from shardwright.transfer.scope import Scope, fence_of

LOCK_CLASS = 0x53574643  # of writers, shared, and of whoever changes the flag
OPEN, CLOSED = 1, 2
_queries = load(__package__, "fence.sql")


@dataclass(frozen=True)
class Holder:
    """A transaction that has written for the tenant and is still open; pid None where it is prepared."""

    pid: int | None
    seconds: float
    query: str
    name: str

    def __str__(self) -> str:
        if self.pid is None:
            return f"the prepared transaction {self.name!r}, {self.seconds:.1f} s old"
        name = f"{self.name}, " if self.name else ""
        return f"pid {self.pid} ({name}in a transaction for {self.seconds:.1f} s: {self.query})"


def make(connection: psycopg.Connection[Any], scope: Scope, *, is_open: bool) -> None:
    """The shard has the flag. It has no value for writers until it is set once."""
    connection.execute(sql.SQL("CREATE SEQUENCE {}").format(scope.fence))
    connection.execute(_set(scope, OPEN if is_open else CLOSED))


def shuts_out(scope: Scope) -> sql.Composable:
    """An expression for a writer's trigger: the writer holds the lock, and it is true where he is refused.

    Without a SELECT, since plpgsql needs no query for an expression that has none; and the lock comes before the flag,
    as the parts of a CASE do.
    """
    return sql.SQL(
        "CASE WHEN pg_catalog.pg_advisory_xact_lock_shared({}, {}) IS NOT NULL "
        "THEN ({} OPERATOR(pg_catalog.=) {}) IS NOT TRUE ELSE true END"
    ).format(sql.Literal(LOCK_CLASS), sql.Literal(scope.move), flag(scope), sql.Literal(OPEN))


def flag(scope: Scope) -> sql.Composable:
    """An expression: the flag as it is now. Null until it was set once."""
    return sql.SQL("pg_catalog.pg_sequence_last_value({}::pg_catalog.regclass)").format(_name(scope))


def is_open(connection: psycopg.Connection[Any], scope: Scope) -> bool:
    """Whether the shard takes writes of the tenant."""
    return is_open_in(connection, scope.move)


def is_open_in(connection: psycopg.Connection[Any], move: int) -> bool:
    """The same for the transfer of that number."""
    row = connection.execute(sql.SQL("SELECT last_value FROM {}").format(fence_of(move))).fetchone()
    return row is not None and row[0] == OPEN


def open_for_writes(connection: psycopg.Connection[Any], scope: Scope) -> None:
    """The shard takes writes of the tenant, durably."""
    connection.execute(_set(scope, OPEN))


def close_for_writes(connection: psycopg.Connection[Any], scope: Scope) -> None:
    """The shard refuses writes of the tenant, durably. For the session that holds the lock: that this succeeds proves
    that the lock was never lost, and no writer is under way."""
    connection.execute(_set(scope, CLOSED))


def say_where(connection: psycopg.Connection[Any], scope: Scope, gone_to: str | None, epoch: int) -> None:
    """Whoever is refused here is told that the tenant is on `gone_to` since `epoch`; None: that it is not known yet.

    To be told only what is decided: whoever follows a word that is taken back later may find no row to change there,
    and take that for success.
    """
    connection.execute(_queries["say_where"], {"move": scope.move, "gone_to": gone_to, "epoch": epoch})


def epoch(connection: psycopg.Connection[Any], scope: Scope) -> int | None:
    """Since which epoch the tenant is elsewhere, as it was last written here."""
    row = connection.execute(_queries["epoch"], {"move": scope.move}).fetchone()
    return row[0] if row else None


def lock(connection: psycopg.Connection[Any], scope: Scope, patience: timedelta) -> bool:
    """Whether the session holds the lock alone; writers that come meanwhile wait behind it, for `patience` at most."""
    connection.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(f"{milliseconds(patience)}ms")))
    try:
        connection.execute(_queries["lock"], {"class": LOCK_CLASS, "move": scope.move})
    except psycopg.errors.LockNotAvailable:
        return False
    return True


def unlock(connection: psycopg.Connection[Any], scope: Scope) -> None:
    """Writers go on, or are refused."""
    connection.execute(_queries["unlock"], {"class": LOCK_CLASS, "move": scope.move})


def holders(connection: psycopg.Connection[Any], scope: Scope) -> list[Holder]:
    """Who has written for the tenant and has not ended yet, the oldest first."""
    return [Holder(*row) for row in connection.execute(_queries["holders"], {"class": LOCK_CLASS, "move": scope.move})]


def _set(scope: Scope, value: int) -> sql.Composed:
    return sql.SQL("SELECT pg_catalog.setval({}::pg_catalog.regclass, {})").format(_name(scope), sql.Literal(value))


def _name(scope: Scope) -> sql.Literal:
    return sql.Literal(scope.fence.as_string(None))
