"""Reads which revision a shard is at: one plain SELECT, no Alembic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from shardwright.catalog.ask import ask_each
from shardwright.migration.history import State
from shardwright.pg.connect import connect
from shardwright.pg.faults import Fault, explain
from shardwright.runs.session import ShardSession
from shardwright.shard import Shard

CONNECT_TIMEOUT = 5
# A migration by somebody else may hold the version table; then this shard says so, and nobody waits for it.
_SETTINGS = {"lock_timeout": "2s", "statement_timeout": "10s"}


@dataclass(frozen=True)
class Reading:
    """What one shard said: its state, or why it said nothing."""

    state: State | None
    fault: Fault | None = None


def read_state(connection: psycopg.Connection[Any], version_table: str) -> State:
    """The version rows, sorted; () where the table is not there or empty. Raises psycopg.Error."""
    table = sql.Identifier(*version_table.split("."))
    try:
        rows = connection.execute(sql.SQL("SELECT version_num FROM {}").format(table)).fetchall()
    except psycopg.errors.UndefinedTable:
        return ()
    return tuple(sorted(row[0] for row in rows))


def read_afresh(session: ShardSession, version_table: str) -> State | None:
    """What a shard in work says on a new connection; None where it says nothing."""
    try:
        with session.connect() as connection:
            return read_state(connection, version_table)
    except psycopg.Error:
        return None


def read_shard(shard: Shard, version_table: str) -> Reading:
    """The state of one shard, over a connection of its own."""
    return survey([shard], version_table, connections_per_host=1)[shard.name]


def survey(shards: Iterable[Shard], version_table: str, *, connections_per_host: int) -> dict[str, Reading]:
    """The state of every shard by name, read concurrently within the budget of each host.

    Once a host has not answered at all, its other shards are not waited for one after the other.
    """

    def read(shard: Shard) -> Reading:
        with connect(
            shard.url, application_name="shardwright status", settings=_SETTINGS, connect_timeout=CONNECT_TIMEOUT
        ) as connection:
            return Reading(read_state(connection, version_table))

    return ask_each(
        shards,
        read,
        connections_per_host=connections_per_host,
        failed=lambda _, error: Reading(None, explain(error)),
    )
