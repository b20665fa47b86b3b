"""What is asked of every row of an image: whether it has what the receiving table asks for, and one row a key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import psycopg
from psycopg import sql

from shardwright.bluegreen.shapes.images import Image, Images
from shardwright.bluegreen.shapes.trial import trial
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.said import counted
from shardwright.pg.faults import explain
from shardwright.pg.tables import Column
from shardwright.transfer.graph import columns_text
from shardwright.transfer.keys import key_of

_LENGTH: Final = re.compile(r"character varying\((\d+)\)")


def unfit_rows(connection: psycopg.Connection[Any], images: Images) -> Iterator[Finding]:
    """Nulls where none may be, texts that are too long, two rows of one key; reads all rows of images that are not
    plain, once, and of no others but where the giving side allows more than the receiving."""
    for image in images.tables:
        asked = list(_asked(images, image))
        is_unique = _is_surely_unique(images, image)
        if not asked and is_unique:
            continue
        try:
            with trial(connection, images.giving):
                yield from _unfit(connection, image, asked)
                if not is_unique:
                    yield from _twice(connection, image)
        except psycopg.Error as error:
            fault = explain(error)
            yield Finding("error", "rows", f"[{image.line}] can't be read: {fault.reason}", fault.hint)


def _asked(images: Images, image: Image) -> Iterator[tuple[Column, sql.Composable, str]]:
    """What a row may not be, and how that is said."""
    own = images.giving.by_name.get(image.name) if image.select is None else None
    for column in image.table.columns:
        value = sql.Identifier("r", column.name)
        if column.is_not_null and not (own is not None and own.column(column.name).is_not_null):
            yield column, sql.SQL("{} IS NULL").format(value), "is null, and may not be"
        length = _LENGTH.fullmatch(column.type)
        if length and not (own is not None and own.column(column.name).type == column.type):
            most = sql.Literal(int(length[1]))
            yield column, sql.SQL("pg_catalog.length({}) > {}").format(value, most), f"is longer than {length[1]}"


def _unfit(
    connection: psycopg.Connection[Any], image: Image, asked: list[tuple[Column, sql.Composable, str]]
) -> Iterator[Finding]:
    if not asked:
        return
    named = _named(image)
    each = sql.SQL(", ").join(
        sql.SQL("count(*) FILTER (WHERE {wrong}), min({named}) FILTER (WHERE {wrong})").format(wrong=wrong, named=named)
        for _, wrong, _ in asked
    )
    row = connection.execute(sql.SQL("SELECT {} FROM {} AS r").format(each, image.shown.source)).fetchone() or ()
    for (column, _, said), count, example in zip(asked, row[::2], row[1::2], strict=True):
        if count:
            where = f" (first at {example})" if example else ""
            fact = f"[{image.line}] {column.name} {said} in {counted(count, 'row')}{where}"
            yield Finding("error", "rows", fact, f"[{image.line}] a select that gives what fits, or mend the rows")


def _twice(connection: psycopg.Connection[Any], image: Image) -> Iterator[Finding]:
    key = key_of(image.table)
    assert key is not None  # noqa: S101 only an image with a key can be surely unique or not
    columns = sql.SQL(", ").join(sql.Identifier("r", name) for name in key.columns)
    query = sql.SQL("SELECT {}, count(*) FROM {} AS r GROUP BY {} HAVING count(*) > 1 LIMIT 1").format(
        _named(image), image.shown.source, columns
    )
    row = connection.execute(query).fetchone()
    if row is not None:
        fact = f"[{image.line}] gives {row[1]} rows of one {columns_text(key.columns)}: {row[0]}"
        yield Finding("error", "rows", fact, f"[{image.line}] a select with one row for each key")


def _named(image: Image) -> sql.Composable:
    """The key of a row as text, null where there is none."""
    key = key_of(image.table)
    if key is None:
        return sql.SQL("NULL::pg_catalog.text")
    columns = sql.SQL(", ").join(sql.Identifier("r", name) for name in key.columns)
    return sql.SQL("ROW({})::pg_catalog.text").format(columns)


def _is_surely_unique(images: Images, image: Image) -> bool:
    """Whether the giving side's own constraint keeps the key's rows apart."""
    key = key_of(image.table)
    own = images.giving.by_name.get(image.name) if image.select is None else None
    if key is None:
        return True
    there = key_of(own) if own is not None else None
    return there is not None and set(there.columns) <= set(key.columns) and image.is_plain
