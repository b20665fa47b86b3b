"""What the rows of a small database are, as one digest a table; for scratch copies, not for shards."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from shardwright.pg.queries import load

_queries = load(__package__)


def contents(connection: psycopg.Connection[Any]) -> dict[str, tuple[int, int]]:
    """For each table outside of our own schema the number of rows and an order-free hash of them. Reads all.

    Moments of today count as equal: `now()` is another one on each database.
    """
    found = {}
    for schema, table in connection.execute(_queries["user_tables"]).fetchall():
        query = _queries["hash_rows"].format(table=sql.Identifier(schema, table))
        row = connection.execute(query).fetchone()
        found[f"{schema}.{table}"] = (int(row[0]), int(row[1])) if row else (0, 0)
    return found
