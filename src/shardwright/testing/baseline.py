"""What a database is to be again: its tables, rows, sequences and schema at one moment, and how to see what changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from shardwright.pg.queries import load

FEW = 4 << 20  # bytes of a table whose rows are kept here; a larger one comes back with the whole database
_queries = load(__package__)
Name = tuple[str, str]  # schema, table
Position = tuple[int, bool]  # of a sequence: its last value, and whether it was given out


class Counts(NamedTuple):
    """Rows from before the mark, and all of them."""

    old: int
    all: int


@dataclass(frozen=True)
class Filled:
    """A table that has rows, or a view that keeps some: how many, and themselves as COPY gives them if they are few."""

    name: Name
    columns: tuple[str, ...]
    rows: int
    contents: bytes | None
    is_view: bool


@dataclass(frozen=True)
class Baseline:
    """A database at one moment. `mark` is the first transaction after it; `stubborn`: its triggers fire for everybody.

    A row's xmin only ever grows, so that rows from before the mark are all there, and unchanged, if they are as many.
    """

    mark: int
    empty: tuple[Name, ...]
    filled: tuple[Filled, ...]
    sequences: Mapping[Name, Position]
    catalogs: int
    lasting: int
    settings: tuple[str, ...]
    stubborn: bool


@dataclass(frozen=True)
class Look:
    """How a database is now, beside its baseline."""

    schema_differs: bool
    settings: tuple[str, ...]
    has_rows: tuple[bool, ...]
    filled: tuple[Counts, ...]
    positions: tuple[Position, ...]


def take(connection: psycopg.Connection[Any]) -> Baseline:
    """The database as it is; nobody else may be in it. Each of its sequences writes WAL at its next value from now on.

    Raises psycopg.Error.
    """
    tables = connection.execute(_queries["tables"]).fetchall()
    sequences = [(schema, name) for schema, name in connection.execute(_queries["sequences"])]
    mark = int(_one(connection.execute(_queries["mark"])))
    filled = tuple(
        _filled(connection, (schema, name), columns, is_view=is_view, keep=not is_view and size <= FEW)
        for schema, name, is_view, size, columns in tables
        if is_view or _one(connection.execute(_format("any_row", table=sql.Identifier(schema, name))))
    )
    names = {each.name for each in filled}
    empty = tuple((schema, name) for schema, name, *_ in tables if (schema, name) not in names)
    _prepare(connection, empty, filled, sequences)
    now = _ask(connection, mark)
    positions = dict(zip(sequences, now.positions, strict=True))
    for sequence, position in positions.items():
        connection.execute(set_back(sequence, position))
    return Baseline(
        mark=mark,
        empty=empty,
        filled=filled,
        sequences=positions,
        catalogs=now.catalogs.all,
        lasting=_lasting(connection, mark).all,
        settings=now.settings,
        stubborn=bool(_one(connection.execute(_queries["stubborn_triggers"]))),
    )


def prepare(connection: psycopg.Connection[Any], baseline: Baseline) -> None:
    """The connection can `look`. Raises psycopg.Error: a ProgrammingError where a table is gone."""
    _prepare(connection, baseline.empty, baseline.filled, baseline.sequences)


def look(connection: psycopg.Connection[Any], baseline: Baseline) -> Look:
    """How the database is now, over a connection that was prepared for it. Raises psycopg.Error as `prepare` does."""
    now = _ask(connection, baseline.mark)
    differs = (
        now.catalogs != (baseline.catalogs,) * 2 and _lasting(connection, baseline.mark) != (baseline.lasting,) * 2
    )
    return Look(differs, now.settings, now.has_rows, now.filled, now.positions)


class _Answer(NamedTuple):
    catalogs: Counts
    settings: tuple[str, ...]
    has_rows: tuple[bool, ...]
    filled: tuple[Counts, ...]
    positions: tuple[Position, ...]


def _ask(connection: psycopg.Connection[Any], mark: int) -> _Answer:
    row = connection.execute(_asking(mark)).fetchone()
    assert row is not None  # noqa: S101 each of its parts is an aggregate
    catalogs, settings, has_rows, filled, lasts, called = row
    return _Answer(
        Counts(*catalogs),
        tuple(settings or ()),
        tuple(has_rows),
        tuple(Counts(*each) for each in filled),
        tuple(zip(lasts or (), called or (), strict=True)),
    )


@lru_cache
def _asking(mark: int) -> sql.Composed:
    return _format("ask", mark=sql.Literal(str(mark)))


def _lasting(connection: psycopg.Connection[Any], mark: int) -> Counts:
    row = connection.execute(_format("lasting_catalog", mark=sql.Literal(str(mark)))).fetchone()
    assert row is not None  # noqa: S101 an aggregate gives a row
    return Counts(*row)


def _prepare(
    connection: psycopg.Connection[Any], empty: Iterable[Name], filled: Iterable[Filled], sequences: Iterable[Name]
) -> None:
    connection.execute(
        _format(
            "look",
            counts=_format("counts", mark=sql.SQL("$1")),
            empty=_list(_format("has_rows", table=sql.Identifier(*name)) for name in empty),
            filled=_list(_counting(each.name, sql.SQL("$1")) for each in filled),
            sequences=sql.SQL(" UNION ALL ").join(
                [_queries["no_position"]] + [_format("position", sequence=sql.Identifier(*name)) for name in sequences]
            ),
        )
    )


@lru_cache
def set_back(sequence: Name, position: Position) -> sql.Composed:
    """The statement that puts a sequence where it was."""
    last, is_called = position
    name = sql.Identifier(*sequence).as_string()
    return _format("set_back", sequence=sql.Literal(name), last=sql.Literal(last), is_called=sql.Literal(is_called))


def _filled(
    connection: psycopg.Connection[Any], name: Name, columns: Sequence[str], *, is_view: bool, keep: bool
) -> Filled:
    table = sql.Identifier(*name)
    counted = _one(connection.execute(sql.SQL("SELECT ") + _counting(name, sql.Literal("3"))))
    contents = None
    if keep:
        statement = _format("take_rows", table=table, columns=_list(map(sql.Identifier, columns)))
        with connection.cursor().copy(statement) as copy:
            contents = b"".join(bytes(part) for part in copy)
    return Filled(name, tuple(columns), counted[1], contents, is_view)


def _counting(name: Name, mark: sql.Composable) -> sql.Composed:
    return _format("how_many", counts=_format("counts", mark=mark), table=sql.Identifier(*name))


def _format(query: str, **parts: sql.Composable) -> sql.Composed:
    composed: sql.Composed = _queries[query].format(**parts)
    return composed


def _list(parts: Iterable[sql.Composable]) -> sql.Composed:
    composed: sql.Composed = sql.SQL(", ").join(parts)
    return composed


def _one(cursor: psycopg.Cursor[Any]) -> Any:
    row = cursor.fetchone()
    assert row is not None  # noqa: S101 a SELECT without FROM gives a row
    return row[0]
