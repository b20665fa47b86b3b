"""What the SELECTs of a configuration give, and what they read: asked of the side that they are for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from shardwright.bluegreen.shapes import lines
from shardwright.bluegreen.shapes.images import Image, within
from shardwright.bluegreen.shapes.trial import trial
from shardwright.config import ShapeSection
from shardwright.move.preflight.finding import Finding
from shardwright.pg.faults import explain
from shardwright.pg.queries import load
from shardwright.pg.tables import TableName, Tables

_queries = load(__package__)
_VIEW: Final = sql.Identifier("pg_temp", "shardwright_reads")


@dataclass(frozen=True)
class Reads:
    """What an image reads: tables with their columns, and functions of the user's, of which that can't be told."""

    columns: Mapping[TableName, frozenset[str]]
    functions: tuple[str, ...] = ()


def describe(
    connection: psycopg.Connection[Any], giving: Tables, shapes: Mapping[str, ShapeSection], section: str
) -> tuple[dict[str, dict[str, str]], list[Finding]]:
    """The columns that each SELECT gives, with their types, under the shape's name; and which can't be run.

    Plans the SELECTs and runs none. `section` is FORWARD or BACK.
    """
    described: dict[str, dict[str, str]] = {}
    found: list[Finding] = []
    for entry, shape in shapes.items():
        line = f"{section}.{lines.key(entry)}"
        try:
            columns = _columns(connection, giving, shape.select)
        except psycopg.Error as error:
            fault = explain(error)
            found.append(Finding("error", "select", f"[{line}] select: {fault.reason}", fault.hint))
            continue
        if twice := [name for name, count in Counter(name for name, _ in columns).items() if count > 1]:
            found.append(
                Finding(
                    "error", "select", f"[{line}] select gives {', '.join(twice)} twice", "give each a name: … AS …"
                )
            )
        else:
            described[entry] = dict(columns)
    return described, found


def _columns(connection: psycopg.Connection[Any], giving: Tables, select: str) -> list[tuple[str, str]]:
    with trial(connection, giving):
        query = sql.SQL("SELECT * FROM {} AS s LIMIT 0").format(within(select))
        cursor = connection.execute(query, binary=True)  # which takes one statement and no more
        result = cursor.pgresult
        width = result.nfields if result else 0
        names = [column.name for column in cursor.description or ()]
        codes = [(result.ftype(place), result.fmod(place)) for place in range(width)] if result else []
        connection.execute(_queries["plain_path"])
        rows = connection.execute(
            _queries["types"], {"types": [oid for oid, _ in codes], "modifiers": [mod for _, mod in codes]}
        ).fetchall()
    return list(zip(names, (row[0] for row in rows), strict=True))


def reads(connection: psycopg.Connection[Any], giving: Tables, image: Image) -> Reads:
    """What the image reads at the giving side, through views as well. Raises psycopg.Error.

    For a SELECT of the user's it makes a temporary view, which is rolled back.
    """
    if image.select is None:
        own = frozenset(column.name for column in image.table.columns)
        return Reads({image.name: own})
    with trial(connection, giving, writes=True):
        connection.execute(
            sql.SQL("CREATE TEMPORARY VIEW {} AS SELECT * FROM {} AS s").format(_VIEW, within(image.select))
        )
        connection.execute(_queries["plain_path"])
        rows = connection.execute(_queries["reads"]).fetchall()
    return _read(rows)


def _read(rows: list[tuple[Any, ...]]) -> Reads:
    columns: dict[TableName, set[str]] = {}
    functions = []
    for schema, name, column, is_function in rows:
        if is_function:
            functions.append(name)
        else:
            columns.setdefault(TableName(schema, name), set()).update([column] if column else [])
    return Reads({table: frozenset(names) for table, names in columns.items()}, tuple(functions))
