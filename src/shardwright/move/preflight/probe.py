"""Values read on the source in batches, and looked for on the target."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any, Final, TypeAlias

import psycopg
from psycopg import sql

from shardwright.move.preflight.ground import Ground, Query, Side

Values: TypeAlias = tuple[str | None, ...]
_BATCH: Final = 5_000


def found(ground: Ground, query: Query, condition: sql.Composable) -> Generator[Values, None, None]:
    """Those rows of a query of texts on the source for which `condition` is true on the target.

    The source's transaction is open until the iterator is exhausted or closed.
    """
    for batch in _stream(ground.source_side, query):
        yield from _chosen(ground.target_side, batch, condition)


def _stream(side: Side, query: Query) -> Iterator[list[Values]]:
    with side.connection.transaction(force_rollback=True), side.connection.cursor(name="preflight") as cursor:
        cursor.execute(query)
        while batch := cursor.fetchmany(_BATCH):
            yield batch


def _chosen(side: Side, rows: Sequence[Values], condition: sql.Composable) -> list[Values]:
    """Those of `rows` for which `condition` is true; it takes them from `given`."""
    columns = sql.SQL(", ").join(value(place) for place in range(len(rows[0])))
    query = sql.SQL("SELECT {} FROM {} WHERE {}").format(columns, given(len(rows[0])), condition)
    return ask(side, query, rows)


def ask(side: Side, query: Query, rows: Sequence[Values]) -> list[tuple[Any, ...]]:
    """The rows of a query that has `given` in it, which is `rows` there."""
    values = [list(each) for each in zip(*rows, strict=True)]
    return list(psycopg.RawCursor(side.connection).execute(query, values))


def given(width: int) -> sql.Composable:
    """What to write after FROM for rows of so many texts; bound as $1, since a name may have a % in it."""
    lists = sql.SQL(", ").join(sql.SQL("$") + sql.Literal(place + 1) + sql.SQL("::text[]") for place in range(width))
    names = sql.SQL(", ").join(sql.Identifier(f"v{place + 1}") for place in range(width))
    return sql.SQL("unnest({}) AS given ({})").format(lists, names)


def value(place: int) -> sql.Composable:
    """The text at `place`, from 0, of a given row."""
    return sql.Identifier("given", f"v{place + 1}")


def printed(text: str) -> sql.SQL:
    """What a server printed (an expression, a type, an operator) as a part of a query."""
    return sql.SQL(text)
