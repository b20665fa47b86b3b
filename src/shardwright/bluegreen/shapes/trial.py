"""A transaction in which something is tried on a shard, and of which nothing stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from shardwright.pg.spelling import SPELLING
from shardwright.pg.tables import Tables


@contextmanager
def trial(connection: psycopg.Connection[Any], tables: Tables, *, writes: bool = False) -> Iterator[None]:
    """The session, in autocommit before, sees one snapshot with the search path of `tables`, and is rolled back.

    Without `writes` it is refused whatever would change something.
    """
    path = ", ".join(sql.Identifier(schema).as_string(connection) for schema in tables.search_path)
    settings = SPELLING | {"jit": "off", "search_path": path or "pg_catalog"}
    with connection.transaction(force_rollback=True):
        mode = "READ WRITE" if writes else "READ ONLY"
        connection.execute(sql.SQL("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, {}").format(sql.SQL(mode)))
        for name, value in settings.items():
            connection.execute(sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(name), _value(name, value)))
        yield


def _value(name: str, value: str) -> sql.Composable:
    """A list of names is no string."""
    return sql.SQL(value) if name == "search_path" else sql.Literal(value)
