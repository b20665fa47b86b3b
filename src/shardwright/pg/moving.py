"""Whether tenants are on the move on a database: while they are, nothing else may change its tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from shardwright.pg.queries import load

_queries = load(__package__)


@dataclass(frozen=True)
class Moving:
    """What is under way there, in words, and the command that shows more of it."""

    fact: str
    command: str


def moving(connection: psycopg.Connection[Any]) -> Moving | None:
    """The moves, or the blue-green change, that the database is part of; None where it is part of none."""
    found = connection.execute(_queries["has_moves"]).fetchone()
    if found is None or not found[0]:
        return None
    rows = connection.execute(_queries["moves"]).fetchall()
    if changes := [run for tenant, run in rows if tenant is None]:
        return Moving(f"a blue-green change is under way there (run {changes[0]})", "shardwright bluegreen status")
    told = ", ".join(f"{tenant!r} (run {move})" for tenant, move in rows)
    return Moving(f"tenants are on the move there: {told}", "shardwright move status") if told else None
