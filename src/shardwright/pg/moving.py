"""Whether tenants are on the move on a database: while they are, nothing else may change its tables."""

from __future__ import annotations

from typing import Any

import psycopg

from shardwright.pg.queries import load

_queries = load(__package__)


def tenants(connection: psycopg.Connection[Any]) -> str:
    """Their ids and runs in words; empty where there are none."""
    found = connection.execute(_queries["has_moves"]).fetchone()
    if found is None or not found[0]:
        return ""
    return ", ".join(f"{tenant!r} (run {move})" for tenant, move in connection.execute(_queries["moves"]))
