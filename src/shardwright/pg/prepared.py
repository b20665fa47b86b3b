"""Prepared transactions: the half of two-phase commit that a database keeps until somebody decides."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from shardwright.pg.queries import load

_queries = load(__package__)


def free_places(connection: psycopg.Connection[Any]) -> int:
    """How many more transactions this server can keep prepared; 0 where max_prepared_transactions is."""
    row = connection.execute(_queries["free_prepared"]).fetchone()
    return int(row[0]) if row else 0


def names(connection: psycopg.Connection[Any], prefix: str = "") -> list[str]:
    """The prepared transactions of this database whose name begins with `prefix`."""
    return [row[0] for row in connection.execute(_queries["prepared_names"], {"prefix": prefix})]


def prepare(name: str) -> sql.Composed:
    """The statement that ends a transaction without deciding it."""
    return sql.SQL("PREPARE TRANSACTION {}").format(sql.Literal(name))


def finish(connection: psycopg.Connection[Any], name: str, *, commit: bool) -> None:
    """The prepared transaction is committed or rolled back. Raises psycopg.errors.UndefinedObject if there is none."""
    verb = sql.SQL("COMMIT" if commit else "ROLLBACK")
    connection.execute(sql.SQL("{} PREPARED {}").format(verb, sql.Literal(name)))
