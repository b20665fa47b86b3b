"""Rows from one database to another: COPY out of a query, straight into a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.generators import fetch_many
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn
from psycopg.waiting import Wait

_BLOCK = 1 << 16  # what is sent at once; the server's own messages are one row each
Pace = Callable[[int], None]  # told of each block's bytes; returns when the next may follow


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
    *,
    pace: Pace = lambda _: None,
) -> Streamed:
    """What `query` gives at the source is in `columns` of `table` at the target, in memory of one block.

    Raises psycopg.Error; RowsLost where fewer arrived than were sent; what `pace` raises, and then nothing is there.
    """
    received, size = target.cursor(), 0
    out_of = sql.SQL("COPY ({}) TO STDOUT (FORMAT {})").format(query, form)
    into = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT {})").format(table, columns, form)
    with source.cursor().copy(out_of), received.copy(into) as there:
        sent = None
        while sent is None:
            block, sent = source.wait(_block(source.pgconn))
            there.write(block)
            size += len(block)
            pace(len(block))
    if sent != received.rowcount:
        raise RowsLost(f"{sent} rows were sent, and {received.rowcount} have arrived")
    return Streamed(received.rowcount, size)


def _block(pgconn: PGconn) -> PQGen[tuple[bytes, int | None]]:
    """The next rows, joined; once there are no more, how many there were.

    `Copy.read` would begin a wait for each row, which costs twice as much as all the rest.
    """
    rows: list[memoryview] = []
    size = 0
    while size < _BLOCK:
        length, row = pgconn.get_copy_data(1)
        if length < 0:
            [end] = yield from fetch_many(pgconn)
            if end.status != ExecStatus.COMMAND_OK:
                raise error_from_result(end)
            return b"".join(rows), end.command_tuples
        if length:
            rows.append(row)
            size += length
        else:
            while not (yield Wait.R):
                pass
            pgconn.consume_input()
    return b"".join(rows), None


class RowsLost(Exception):
    """Fewer rows have arrived than were sent: a trigger or a rule at the target has swallowed some."""
