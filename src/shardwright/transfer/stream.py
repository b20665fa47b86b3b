"""Rows from one database to another: COPY out of a query, straight into a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

_BLOCK = 1 << 16  # what is sent at once; the server's own messages are one row each


@dataclass(frozen=True)
class Streamed:
    """How much has been brought."""

    rows: int = 0
    bytes: int = 0

    def __add__(self, other: Streamed) -> Streamed:
        return Streamed(self.rows + other.rows, self.bytes + other.bytes)


def stream(
    source: psycopg.Connection[Any],
    query: sql.Composable,
    target: psycopg.Connection[Any],
    table: sql.Composable,
    columns: sql.Composable,
    form: sql.SQL,
) -> Streamed:
    """What `query` gives at the source is in `columns` of `table` at the target, in memory of one block.

    Raises psycopg.Error; RowsLost where fewer arrived than were sent.
    """
    sent, received, size = source.cursor(), target.cursor(), 0
    out_of = sql.SQL("COPY ({}) TO STDOUT (FORMAT {})").format(query, form)
    into = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT {})").format(table, columns, form)
    with sent.copy(out_of) as rows, received.copy(into) as there:
        block = bytearray()
        while data := rows.read():
            block += data
            if len(block) >= _BLOCK:
                there.write(bytes(block))
                size += len(block)
                block.clear()
        there.write(bytes(block))
        size += len(block)
    if sent.rowcount != received.rowcount:
        raise RowsLost(f"{sent.rowcount} rows were sent, and {received.rowcount} have arrived")
    return Streamed(received.rowcount, size)


class RowsLost(Exception):
    """Fewer rows have arrived than were sent: a trigger or a rule at the target has swallowed some."""
