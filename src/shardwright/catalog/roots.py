"""The root table on a shard: finds it and its key, reads every tenant's id, looks for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from shardwright.pg.connect import connect
from shardwright.pg.faults import Fault, explain
from shardwright.pg.queries import load
from shardwright.pg.spelling import WHOLE_TABLES
from shardwright.shard import Shard

T = TypeVar("T")

_PAGE = 1 << 20  # bytes of ids that are handed on at once
_queries = load(__package__, "roots.sql")


@dataclass(frozen=True)
class Root:
    """The root table as one shard has it, ready to be put into statements."""

    table: sql.Identifier
    key: sql.Identifier
    type: sql.SQL


@dataclass(frozen=True)
class Sighting:
    """One tenant on one shard: its id as PostgreSQL writes it; or why what was asked is no id of such a key."""

    tenant: str
    is_here: bool = False
    why_none: str | None = None


def ask_root(
    shard: Shard, name: str, ask: Callable[[psycopg.Connection[Any], Root], T], *, statement_timeout: str
) -> T | Fault:
    """What `ask` gives for the shard's table `name`; why it could not be asked."""
    settings = {**WHOLE_TABLES, "statement_timeout": statement_timeout}
    try:
        with connect(
            shard.url, application_name=f"shardwright tenants {shard.name}", settings=settings, connect_timeout=5
        ) as connection:
            found = _find(connection, name)
            return found if isinstance(found, Fault) else ask(connection, found)
    except psycopg.Error as error:
        return explain(error)


def find_table(connection: psycopg.Connection[Any], name: str) -> sql.Identifier | None:
    """The table that the configuration calls `name`; None where there is none. Raises psycopg.Error."""
    row = connection.execute(_queries["root"], {"root": name}).fetchone()
    return sql.Identifier(row[0], row[1]) if row else None


def _find(connection: psycopg.Connection[Any], name: str) -> Root | Fault:
    row = connection.execute(_queries["root"], {"root": name}).fetchone()
    if row is None:
        return Fault(f"it has no table {name}", "shardwright migrate, or mend tenants.root in shardwright.toml")
    schema, table, keys, kind = row
    if len(keys) != 1:
        fact = f"the primary key of {name} has {len(keys)} columns" if keys else f"{name} has no primary key"
        return Fault(f"{fact}; a tenant's id is one column", "mend tenants.root in shardwright.toml")
    return Root(sql.Identifier(schema, table), sql.Identifier(keys[0]), sql.SQL(kind))  # format_type() quotes it


def read_ids(connection: psycopg.Connection[Any], root: Root, shard: str) -> Iterator[bytes]:
    """Every row's shard and id as COPY writes them, in UTF-8, a page at a time. Raises psycopg.Error."""
    query = _queries["read_ids"].format(shard=sql.Literal(shard), key=root.key, table=root.table)
    pages = bytearray()
    with connection.cursor().copy(query) as copy:
        for row in copy:
            pages += row
            if len(pages) >= _PAGE:
                yield bytes(pages)
                pages.clear()
    yield bytes(pages)


def look_for(connection: psycopg.Connection[Any], root: Root, tenant: str) -> Sighting:
    """Whether `tenant`, in whatever spelling its type knows, is on the shard. Raises psycopg.Error."""
    query = _queries["look_for"].format(type=root.type, key=root.key, table=root.table)
    try:
        row = connection.execute(query, {"tenant": tenant}).fetchone()
    except (psycopg.DataError, psycopg.IntegrityError) as error:  # no number, no UUID; refused by its domain
        return Sighting(tenant, why_none=explain(error).reason)
    assert row is not None  # noqa: S101 a SELECT from one row gives a row
    return Sighting(row[0], row[1])


def is_empty(connection: psycopg.Connection[Any], root: Root) -> bool:
    """Whether the table has no row. Raises psycopg.Error."""
    row = connection.execute(_queries["is_empty"].format(table=root.table)).fetchone()
    return bool(row and row[0])
