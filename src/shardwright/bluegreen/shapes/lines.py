"""The lines of configuration that a problem asks for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from psycopg import sql

from shardwright.pg.tables import Column, Table, TableName, Tables
from shardwright.transfer.names import listed, quoted

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_BARE_NAME: Final = re.compile(r"[a-z_][a-z0-9_]*")
_RESERVED: Final = (
    " all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation "
    "column concurrently constraint create cross current_catalog current_date current_role current_schema current_time "
    "current_timestamp current_user default deferrable desc distinct do else end except false fetch for foreign freeze "
    "from full grant group having ilike in initially inner intersect into is isnull join lateral leading left like "
    "limit localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing primary "
    "references returning right select session_user similar some symmetric system_user table tablesample then to "
    "trailing true union unique user using variadic verbose when where window with "
)


def key(*parts: str) -> str:
    """`bluegreen.tables.people`, a name with other characters quoted."""
    return ".".join(part if _BARE_KEY.fullmatch(part) else quoted(part) for part in parts)


def shape(section: str, table: str, select: str, feeds: Iterable[tuple[str, tuple[str, ...]]]) -> str:
    """The whole part of one table."""
    inner = ", ".join(f"{key(name)} = {listed(columns)}" for name, columns in feeds)
    return f"[{section}.{key(table)}] select = {quoted(select)}, from = {{ {inner} }}"  # noqa: S608 configuration


def proposed(section: str, table: Table, giving: Table | None, catalogs: tuple[Tables, Tables]) -> str:
    """A part for `table` with what `giving` has of it, and dots where the reader has to think."""
    receiving_side, giving_side = catalogs
    has = giving.has if giving is not None else (lambda _: False)
    wanted = [column for column in table.columns if column.generated is None]
    columns = ", ".join(
        name(column.name) if has(column.name) else f"… AS {name(column.name)}"
        for column in wanted
        if has(column.name) or needs_value(column) or giving is None
    )
    source = table_name(giving_side, giving.name) if giving is not None else "…"
    key = tuple(column.name for column in table.primary_key) or ("…",)
    keyed = tuple(column if has(column) else "…" for column in key)
    fed = giving_side.shown(giving.name) if giving is not None else "…"
    shown = receiving_side.shown(table.name)
    select = f"SELECT {columns} FROM {source}"  # noqa: S608 configuration
    return shape(section, shown, select, [(fed, keyed)])


def needs_value(column: Column) -> bool:
    """Whether a row without a value for it is refused."""
    return column.is_not_null and column.default is None and column.identity is None and column.generated is None


def table_name(side: Tables, table: TableName) -> str:
    """The table as SQL has it, without its schema where the search path leads to it."""
    return ".".join(map(name, (table.name,) if side.shown(table) == table.name else (table.schema, table.name)))


def name(text: str) -> str:
    """A name as SQL has it, quoted where it must be."""
    is_bare = _BARE_NAME.fullmatch(text) and f" {text} " not in _RESERVED
    return text if is_bare else sql.Identifier(text).as_string()
