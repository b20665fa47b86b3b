"""The fence: whether a shard takes writes of the tenant, and the lock under which that changes.

The flag is the `last_value` of a sequence, which every reader sees as it is now, whatever the age of his snapshot, and
which survives a crash. Writers hold the lock shared from their first write to the end of their transaction. Measured
against nine other designs; a flag in a table that is read by SELECT lost writes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
from psycopg import sql

from shardwright.pg.connect import milliseconds
from shardwright.pg.queries import load
from shardwright.transfer.whose import EVERYBODY, SCHEMA, tenants_of

LOCK_CLASS = 0x53574643  # of writers, shared, and of whoever changes the flag; the key is a move's number
LOCK_CLASS_OF_ALL = LOCK_CLASS + 1  # the same where the key is a hash of the tenant's id
OPEN, CLOSED = 1, 2
_queries = load(__package__, "fence.sql")


@dataclass(frozen=True)
class Fence:
    """One tenant's, on any shard: the sequence that is the flag, the key of the lock, and where it is written
    down to which shard the tenant went."""

    flag: sql.Identifier
    lock_class: int
    lock_key: sql.Composable
    table: sql.Identifier
    line: sql.Composable

    @property
    def name(self) -> sql.Literal:
        """The sequence as a value."""
        return sql.Literal(self.flag.as_string(None))


def of_move(move: int) -> Fence:
    """Of the tenant of that move."""
    return Fence(
        sql.Identifier(SCHEMA, f"fence_{move}"), LOCK_CLASS, sql.Literal(move),
        sql.Identifier(SCHEMA, "move"), sql.SQL("move = {}").format(sql.Literal(move)),
    )  # fmt: skip


def of_tenant(change: int, tenant: str) -> Fence:
    """Of one of the tenants between the shards of that change."""
    digest = hashlib.sha256(tenant.encode()).hexdigest()[:_DIGITS]
    return _of_change(change, digest, sql.SQL("pg_catalog.hashtext({})").format(sql.Literal(tenant)), tenant)


def of_everybody(change: int) -> Fence:
    """Of shared rows, and of all tenants that nobody has told us of yet."""
    return _of_change(change, "rest", sql.Literal(0), EVERYBODY)


def _of_change(change: int, name: str, key: sql.Composable, tenant: str) -> Fence:
    line = sql.SQL("tenant = {}").format(sql.Literal(tenant))
    return Fence(sql.Identifier(SCHEMA, f"fence_{change}_{name}"), LOCK_CLASS_OF_ALL, key, tenants_of(change), line)


_DIGITS = 40  # of a SHA-256, so that the name is short enough for PostgreSQL


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


def make(connection: psycopg.Connection[Any], fence: Fence, *, is_open: bool) -> None:
    """The shard has the flag."""
    connection.execute(making(fence, is_open=is_open))


def making(fence: Fence, *, is_open: bool) -> sql.Composed:
    """The statements that make the flag. It has no value for writers until it is set once."""
    return sql.SQL("CREATE SEQUENCE {}; {}").format(fence.flag, _set(fence, OPEN if is_open else CLOSED))


def shuts_out(fence: Fence) -> sql.Composable:
    """An expression for a writer's trigger: the writer holds the lock, and it is true where he is refused.

    Without a SELECT, since plpgsql needs no query for an expression that has none; and the lock comes before the flag,
    as the parts of a CASE do.
    """
    return _behind(fence.lock_class, fence.lock_key, _value(fence.name))


def shuts_out_owner(change: int, owner: sql.Composable) -> sql.Composable:
    """The same for any tenant of a change: `owner` is an expression that gives his id. Who has no flag goes by that of
    everybody."""
    rest, flag = of_everybody(change), flag_of(change, owner)
    others = sql.SQL(
        "CASE WHEN pg_catalog.pg_advisory_xact_lock_shared({}, {}) IS NOT NULL AND {} THEN coalesce({}, {}) END"
    ).format(sql.Literal(rest.lock_class), rest.lock_key, _hears_news(rest), flag, _value(rest.name))
    value = sql.SQL("coalesce({}, {})").format(flag, others)
    return _behind(LOCK_CLASS_OF_ALL, sql.SQL("pg_catalog.hashtext({})").format(owner), value)


def flag_of(change: int, owner: sql.Composable) -> sql.Composable:
    """An expression: the flag of the tenant whose id is `owner`, as it is now; null where he has none.

    Names are looked up by the newest catalogs, whatever the snapshot of whoever asks; but a session may remember for
    the length of a statement, or of a transaction, that there was none.
    """
    return sql.SQL(
        "pg_catalog.pg_sequence_last_value(pg_catalog.to_regclass(pg_catalog.concat({}, pg_catalog.left("
        "pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to({}, 'UTF8')), 'hex'), {}))))"
    ).format(sql.Literal(f"{SCHEMA}.fence_{change}_"), owner, sql.Literal(_DIGITS))


def _hears_news(fence: Fence) -> sql.Composable:
    """True; and the session has forgotten what it remembers of names that others have given meanwhile, as it does
    whenever it takes a lock on a table that it has not got."""
    return sql.SQL("pg_catalog.pg_relation_size({}::pg_catalog.regclass) IS NOT NULL").format(fence.name)


def _behind(lock_class: int, key: sql.Composable, value: sql.Composable) -> sql.Composable:
    return sql.SQL(
        "CASE WHEN pg_catalog.pg_advisory_xact_lock_shared({}, {}) IS NOT NULL "
        "THEN ({} OPERATOR(pg_catalog.=) {}) IS NOT TRUE ELSE true END"
    ).format(sql.Literal(lock_class), key, value, sql.Literal(OPEN))


def _value(name: sql.Composable) -> sql.Composable:
    """The flag as it is now; null until it was set once."""
    return sql.SQL("pg_catalog.pg_sequence_last_value({}::pg_catalog.regclass)").format(name)


def is_open(connection: psycopg.Connection[Any], fence: Fence) -> bool:
    """Whether the shard takes writes of the tenant."""
    row = connection.execute(sql.SQL("SELECT last_value FROM {}").format(fence.flag)).fetchone()
    return row is not None and row[0] == OPEN


def open_for_writes(connection: psycopg.Connection[Any], fence: Fence) -> None:
    """The shard takes writes of the tenant, durably."""
    connection.execute(_set(fence, OPEN))


def close_for_writes(connection: psycopg.Connection[Any], fence: Fence) -> None:
    """The shard refuses writes of the tenant, durably. For the session that holds the lock: that this succeeds proves
    that the lock was never lost, and no writer is under way."""
    connection.execute(_set(fence, CLOSED))


def say_where(connection: psycopg.Connection[Any], fence: Fence, gone_to: str | None, epoch: int) -> None:
    """Whoever is refused here is told that the tenant is on `gone_to` since `epoch`; None: that it is not known yet.

    To be told only what is decided: whoever follows a word that is taken back later may find no row to change there,
    and take that for success.
    """
    query = sql.SQL("UPDATE {} SET gone_to = {}, epoch = {} WHERE {}")
    connection.execute(query.format(fence.table, sql.Literal(gone_to), sql.Literal(epoch), fence.line))


def epoch(connection: psycopg.Connection[Any], fence: Fence) -> int | None:
    """Since which epoch the tenant is elsewhere, as it was last written here."""
    row = connection.execute(
        sql.SQL("SELECT epoch FROM {} WHERE {} LIMIT 1").format(fence.table, fence.line)
    ).fetchone()
    return row[0] if row else None


def lock(connection: psycopg.Connection[Any], fence: Fence, patience: timedelta) -> bool:
    """Whether the session holds the lock alone; writers that come meanwhile wait behind it, for `patience` at most."""
    connection.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(f"{milliseconds(patience)}ms")))
    try:
        connection.execute(_lock(fence, "pg_advisory_lock"))
    except psycopg.errors.LockNotAvailable:
        return False
    return True


def unlock(connection: psycopg.Connection[Any], fence: Fence) -> None:
    """Writers go on, or are refused."""
    connection.execute(_lock(fence, "pg_advisory_unlock"))


def _lock(fence: Fence, function: str) -> sql.Composed:
    return sql.SQL("SELECT pg_catalog.{}({}, {})").format(
        sql.SQL(function), sql.Literal(fence.lock_class), fence.lock_key
    )


def holders(connection: psycopg.Connection[Any], fence: Fence) -> list[Holder]:
    """Who has written for the tenant and has not ended yet, the oldest first."""
    key = connection.execute(sql.SQL("SELECT {}::bigint & 4294967295").format(fence.lock_key)).fetchone()
    values = {"class": fence.lock_class, "key": key[0] if key else None}
    return [Holder(*row) for row in connection.execute(_queries["holders"], values)]


def _set(fence: Fence, value: int) -> sql.Composed:
    return sql.SQL("SELECT pg_catalog.setval({}::pg_catalog.regclass, {})").format(fence.name, sql.Literal(value))
