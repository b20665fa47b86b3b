"""Green tables that are filled from blue are empty before the first row comes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

import psycopg

from shardwright import errors
from shardwright.bluegreen.shard_sets.create import made
from shardwright.catalog.ask import ask_each
from shardwright.pg.connect import connect
from shardwright.pg.queries import load
from shardwright.pg.tables import TableName, Tables, read_tables
from shardwright.shard import Shard
from shardwright.transfer.order import parents_first

_NAME = "shardwright bluegreen"
_SETTINGS = {"lock_timeout": "2s"}
_queries = load(__package__, "emptiness.sql")


def require_empty(green: Sequence[Shard], tables: Collection[TableName], *, connections_per_host: int = 4) -> None:
    """Raises GreenNotEmpty where one of `tables` has a row on a shard; psycopg.Error. Changes nothing."""
    of_shards = ask_each(green, lambda shard: _of_shard(shard, tables), connections_per_host=connections_per_host)
    for name, found in of_shards.items():
        if found:
            raise errors.GreenNotEmpty(shard=name, tables=", ".join(map(str, found)))


def make_empty(
    green: Sequence[Shard], tables: Collection[TableName], *, run: int, connections_per_host: int = 4
) -> None:
    """None of `tables` has a row on a green shard. Only on databases that `run` has made anything is deleted.

    Revisions put rows into shared tables (plans, countries); those of blue take their place. Other tables keep theirs.
    Only before the copy begins. Raises GreenNotEmpty, before anything is deleted, where a database that was there
    before has rows; psycopg.Error.
    """
    ours = made(green, run=run, connections_per_host=connections_per_host)
    others = [shard for shard in green if shard.name not in ours]
    require_empty(others, tables, connections_per_host=connections_per_host)
    chosen = [shard for shard in green if shard.name in ours]
    ask_each(chosen, lambda shard: empty(shard, tables), connections_per_host=connections_per_host)


def filled(connection: psycopg.Connection[Any], tables: Collection[TableName]) -> list[TableName]:
    """Those of `tables` that are there and have a row. Raises psycopg.Error."""
    present = read_tables(connection).by_name
    return [name for name in sorted(tables) if name in present and _has_rows(connection, name)]


def _of_shard(shard: Shard, tables: Collection[TableName]) -> list[TableName]:
    with connect(shard.url, application_name=_NAME, settings=_SETTINGS) as connection:
        return filled(connection, tables)


def _has_rows(connection: psycopg.Connection[Any], name: TableName) -> bool:
    row = connection.execute(_queries["has_rows"].format(table=name.identifier)).fetchone()
    return bool(row and row[0])


def empty(shard: Shard, tables: Collection[TableName]) -> None:
    """None of `tables` has a row: as replica where that is granted, since tables that keep their rows may refer to
    these; else children first. Raises psycopg.Error."""
    with connect(shard.url, application_name=_NAME, settings=_SETTINGS) as connection, connection.transaction():
        with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute(_queries["be_replica"])
        for name in _children_first(read_tables(connection), tables):
            connection.execute(_queries["delete"].format(table=name.identifier))


def _children_first(present: Tables, tables: Collection[TableName]) -> list[TableName]:
    parents = {
        table.name: [key.table for key in table.foreign_keys if key.table in tables]
        for table in present.tables
        if table.name in tables
    }
    return [name for group in reversed(list(parents_first(parents))) for name in group]
