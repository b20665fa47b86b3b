"""The write gap as the data tell it: from the last write that one shard captured to the first that the other did."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from shardwright.transfer.scope import Scope

_ROUNDS = 5


def gap_in_data(before: psycopg.Connection[Any], after: psycopg.Connection[Any], scope: Scope) -> float | None:
    """Seconds, by the clocks of both servers set against each other; None where one has captured nothing.

    Both count from when a row was written and not from its commit, so writers that hold a transaction open make it
    look longer or shorter than it was; and a tenant that writes seldom makes it look long.
    """
    last, first = _captured(before, scope, "max"), _captured(after, scope, "min")
    if last is None or first is None:
        return None
    return (first - last - _ahead(before, after)).total_seconds()


def _captured(connection: psycopg.Connection[Any], scope: Scope, which: str) -> datetime | None:
    """Of tables whose rows name their tenant: the others' queues have rows of strangers, whose parents are gone."""
    tables = (table for table in scope.tables if table.is_direct)
    parts = (sql.SQL("SELECT {}(at) FROM {}").format(sql.SQL(which), table.queue) for table in tables)
    query = sql.SQL("SELECT {}(at) FROM ({}) AS _ (at)").format(sql.SQL(which), sql.SQL(" UNION ALL ").join(parts))
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def _ahead(before: psycopg.Connection[Any], after: psycopg.Connection[Any]) -> timedelta:
    """How far the second server's clock is ahead: asked between two questions to the first, the quickest of several."""

    def ask() -> tuple[timedelta, timedelta]:
        start, there, end = _now(before), _now(after), _now(before)
        return end - start, there - (start + (end - start) / 2)

    return min(ask() for _ in range(_ROUNDS))[1]


def _now(connection: psycopg.Connection[Any]) -> datetime:
    row = connection.execute("SELECT pg_catalog.clock_timestamp()").fetchone()
    assert row is not None  # noqa: S101 a SELECT without FROM gives a row
    return row[0]  # type: ignore[no-any-return]  # timestamptz
