"""Walks one shard's rows by key, a page at a time, for the values that the shard itself does not have."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from shardwright.config import ColumnName
from shardwright.monitor.progress import Place
from shardwright.pg.queries import load
from shardwright.pg.tables import TableName

PAGE = 5000  # rows
TURN = 5.0  # seconds; then what was found is asked for elsewhere, and how far the walk has come is written down
_LONGEST_REST = 1.0
_queries = load(__package__, "references.sql")


@dataclass(frozen=True)
class Column:
    """A column as one shard has it; `name` None: the table is there, and has no such column.

    Values are compared as `compared`, by the operator `equality`. `keys`: the columns by which the table is walked,
    with their types; none where it is walked by its values.
    """

    table: TableName
    name: str | None
    shown: str
    compared: str
    equality: str
    keys: tuple[tuple[str, str], ...] = ()

    @property
    def shape(self) -> str:
        """Equal where a walk may go on that was begun before."""
        return f"{self.table} {self.name} {self.compared} {self.keys}"

    @property
    def identifier(self) -> sql.Identifier:
        """Its name for SQL."""
        return sql.Identifier(str(self.name))

    def compare(self, query: str, values: Iterable[str] = ()) -> sql.Composed:
        """That query, of values with this column."""
        return _queries[query].format(
            values=sql.Literal(list(values)),  # not bound: a table's name may hold a percent sign
            table=self.table.identifier,
            column=sql.SQL("t.{}").format(self.identifier),
            equality=sql.SQL(self.equality),
            compared=sql.SQL(self.compared),
        )


def find_columns(connection: psycopg.Connection[Any], names: Iterable[ColumnName]) -> dict[ColumnName, Column]:
    """These columns, as far as their tables are there; from now on the session knows no schema but PostgreSQL's own.

    Raises psycopg.Error.
    """
    row = connection.execute(_queries["search_path"]).fetchone()
    forget_names(connection)
    found = {}
    with connection.cursor(row_factory=dict_row) as cursor:
        for name in names:
            schemas = [name.schema] if name.schema else (row[0] if row else [])
            values = {"schemas": schemas, "table": name.table, "column": name.column}
            if line := cursor.execute(_queries["column"], values).fetchone():
                found[name] = _column(line)
    return found


def forget_names(connection: psycopg.Connection[Any]) -> None:
    """From now on no name of the user's can stand for one of PostgreSQL's."""
    connection.execute(_queries["only_the_catalog"])


def _column(line: Mapping[str, Any]) -> Column:
    keys = tuple((key, kind) for key, kind in line["keys"])
    table = TableName(line["schema"], line["table"])
    compared, equality = line["compared"], line["equality"]
    return Column(table, line["column"], line["shown"], compared, equality, keys)


@dataclass
class Missing:
    """Rows with a value that the shard does not have: how many, and one of them by its key."""

    rows: int = 0
    example: str | None = None


@dataclass
class Turn:
    """What a turn has found: how far it came, and what is to be looked for elsewhere."""

    place: Place
    missing: dict[str, Missing] = field(default_factory=dict)


def take_turn(
    connection: psycopg.Connection[Any],
    source: Column,
    target: Column | None,
    place: Place,
    *,
    known: Collection[str],
    most: int,
    is_over: Callable[[], bool],
) -> Turn:
    """Reads on from `place` until the table's end, for TURN seconds, or until `most` values are to be looked for.

    `target`: the column that is referred to, as the same shard has it; `known` values are there elsewhere. It reads
    half of the time, and rests as long as each page took. Raises psycopg.Error.
    """
    forget_names(connection)
    turn, until = Turn(place), time.monotonic() + TURN
    while not is_over():
        began = time.monotonic()
        _read_page(connection, source, target, turn, known)
        if turn.place.is_done or time.monotonic() > until or len(turn.missing) >= most:
            break
        time.sleep(min(time.monotonic() - began, _LONGEST_REST))
    return turn


def _read_page(
    connection: psycopg.Connection[Any], source: Column, target: Column | None, turn: Turn, known: Collection[str]
) -> None:
    """Both lines and rows are counted: a table without a key comes by lines of equal values."""
    for value, rows, note, last in connection.execute(_page(source, target, turn.place.after)).fetchall():
        if value is None:
            turn.place = replace(
                turn.place,
                rows=turn.place.rows + rows,
                after=tuple(last) if last and None not in last else turn.place.after,
                is_done=int(note) < PAGE,
            )
        elif value not in known:
            missing = turn.missing.setdefault(value, Missing(example=note))
            missing.rows += rows


def _page(source: Column, target: Column | None, after: tuple[str, ...]) -> sql.Composed:
    parts: dict[str, sql.Composable] = {
        "table": source.table.identifier,
        "value": sql.SQL("r.{}").format(source.identifier),
        "compared": sql.SQL(source.compared),
        "missing": target.compare("missing") if target else sql.SQL(""),
        "size": sql.Literal(PAGE),
    }
    if not source.keys:
        beyond = sql.SQL('AND {value}::{compared}::text COLLATE "C" > {last}').format(
            value=parts["value"], compared=parts["compared"], last=sql.Literal(after[0] if after else "")
        )
        return _queries["values"].format(**parts, after=beyond if after else sql.SQL(""))
    columns = [sql.SQL("r.{}").format(sql.Identifier(name)) for name, _ in source.keys]
    names = [sql.Identifier(f"k{number}") for number in range(len(columns))]
    return _queries["page"].format(
        **parts,
        keys=_listed(sql.SQL("{} AS {}").format(*pair) for pair in zip(columns, names, strict=True)),
        order=_listed(columns),
        texts=_listed(sql.SQL("{}::text").format(name) for name in names),
        backwards=_listed(sql.SQL("{} DESC").format(name) for name in names),
        after=_beyond(columns, source.keys, after),
    )


def _beyond(
    columns: Iterable[sql.Composable], keys: tuple[tuple[str, str], ...], after: tuple[str, ...]
) -> sql.Composable:
    if not after:
        return sql.SQL("")
    values = (
        sql.SQL("CAST({} AS {})").format(sql.Literal(value), sql.SQL(kind))
        for value, (_, kind) in zip(after, keys, strict=True)
    )
    return sql.SQL("WHERE ({}) > ({})").format(_listed(columns), _listed(values))


def _listed(parts: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)
