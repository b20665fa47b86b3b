"""The copy: every row of the tenant, in parts, several at once, resumable; what is there always equals one snapshot.

The keys of a large table are listed once, and parts of the list copied by streams that share a snapshot. Every new
snapshot, after a while or after a death, begins with a drain: what was copied before is brought to it. A part leaves
out the keys that are in the queue, since the drain brings them; and what a drain has brought leaves the list, in the
transaction that takes it from the queue. So the copied part always is what the source held at one moment, and two
rows that exchange a unique value never meet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import psycopg
from psycopg import sql

from shardwright.pg.queries import load
from shardwright.runs.kinds import Progress, StepContext
from shardwright.transfer.drain import drain, forget_drained, make_room, snapshot
from shardwright.transfer.scope import MovedTable, Scope
from shardwright.transfer.sessions import Sessions, write_silently
from shardwright.transfer.stream import Streamed, stream

PART_BYTES = 8 << 20
SNAPSHOT_SECONDS = 60.0  # an older one would keep dead rows from being cleaned up
_LEAST, _MOST = 1_000, 50_000
_SMALL = _MOST  # a table with fewer rows of the tenant needs no list: it is one part
_WHOLE = 0
_queries = load(__package__, "copy.sql")
Pace = Callable[[Streamed], None]


@dataclass(frozen=True)
class Part:
    """The rows of a table whose keys have these places in its list; all of a table that has no list."""

    table: MovedTable
    number: int
    first: int | None = None
    last: int | None = None


class Copy:
    """The copy of one transfer; `copy()` may be called again after a death, and goes on where it was."""

    def __init__(
        self,
        scope: Scope,
        source: Sessions,
        target: Sessions,
        context: StepContext,
        *,
        streams: int,
        pace: Pace = lambda _: None,
        snapshot_seconds: float = SNAPSHOT_SECONDS,
    ) -> None:
        self._scope = scope
        self._source = source
        self._target = target
        self._context = context
        self._streams = streams
        self._pace = pace
        self._snapshot_seconds = snapshot_seconds
        self._brought = Streamed()
        self._estimate = sum(int(table["rows"]) for table in context.plan.get("tables", ()))

    def copy(self) -> Streamed:
        """Every row of the tenant is at the target, as of one snapshot of the source; gives how much was brought.

        Raises Stopped at a safe point, psycopg.Error.
        """
        with ExitStack() as stack:
            reader = stack.enter_context(self._source.open())
            writer = stack.enter_context(self._target.open())
            write_silently(writer)
            make_room(writer, self._scope.tables)
            pairs: SimpleQueue[tuple[psycopg.Connection[Any], psycopg.Connection[Any]]] = SimpleQueue()
            for _ in range(self._streams):
                pair = stack.enter_context(self._source.open()), stack.enter_context(self._target.open())
                write_silently(pair[1])
                pairs.put(pair)
            pool = stack.enter_context(ThreadPoolExecutor(self._streams, thread_name_prefix="copy"))
            self._done = {(tab, part): Streamed(rows, size) for tab, part, rows, size in self._ledger(writer)}
            self._brought = sum(self._done.values(), Streamed())
            for number in range(len(self._scope.tables)):
                self._copy_table(number, reader, writer, pool, pairs)
        return self._brought

    # --- one table ------------------------------------------------------------------------------

    def _copy_table(self, number: int, reader: Any, writer: Any, pool: ThreadPoolExecutor, pairs: Any) -> None:
        table, begun = self._scope.tables[number], self._scope.tables[: number + 1]
        if (number, _WHOLE) in self._done:
            return
        parts = self._parts(reader, table)
        while left := [part for part in parts if (number, part.number) not in self._done]:
            with self._at_one_moment(reader, writer, begun) as moment:
                self._copy_parts(left, moment, pool, pairs)
        if parts[0].number != _WHOLE:
            self._note(writer, Part(table, _WHOLE), Streamed())

    def _copy_parts(self, parts: list[Part], moment: str, pool: ThreadPoolExecutor, pairs: Any) -> None:
        """As many of `parts` as the snapshot lasts for."""
        until = time.monotonic() + self._snapshot_seconds
        ahead, under_way = parts[::-1], set[Future[tuple[Part, Streamed]]]()
        try:
            while True:
                is_fresh = len(ahead) == len(parts) or time.monotonic() < until
                while ahead and is_fresh and len(under_way) < self._streams:
                    self._context.raise_if_stopped()
                    under_way.add(pool.submit(self._copy_part, ahead.pop(), moment, pairs))
                if not under_way:
                    return
                ended, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for each in ended:
                    self._account(*each.result())
        finally:
            wait(under_way)

    def _copy_part(self, part: Part, moment: str, pairs: Any) -> tuple[Part, Streamed]:
        source, target = pair = pairs.get()
        try:
            with source.transaction():
                source.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                source.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(moment)))
                table = part.table
                with target.transaction():
                    brought = stream(
                        source, _rows(part), target, table.name.identifier, table.target_columns, table.format
                    )
                    self._note(target, part, brought)
            return part, brought
        finally:
            pairs.put(pair)

    def _account(self, part: Part, brought: Streamed) -> None:
        self._done[part.table.number, part.number] = brought
        self._brought += brought
        self._context.report(Progress("copy", self._brought.rows, max(self._estimate, self._brought.rows)))
        self._pace(brought)

    # --- snapshots ------------------------------------------------------------------------------

    @contextmanager
    def _at_one_moment(self, reader: Any, writer: Any, begun: Collection[MovedTable]) -> Iterator[str]:
        """A new snapshot, to which all that is there has been brought; gives the name by which streams share it."""
        with snapshot(reader):
            row = reader.execute("SELECT pg_catalog.pg_export_snapshot()").fetchone()
            drained = drain(reader, writer, self._scope, begun)
            if drained.keys:
                with self._source.open() as other:
                    self._forget(other, begun, drained.snapshot)
            yield row[0]

    def _forget(self, other: Any, begun: Collection[MovedTable], taken: str) -> None:
        """A table that is to be copied in one part keeps its queue until then, or the part would bring them again."""
        for table in begun:
            if self._has_list(other, table):
                forget_drained(other, [table], taken, lists=True)
            elif (table.number, _WHOLE) in self._done:
                forget_drained(other, [table], taken)

    # --- parts and the ledger -------------------------------------------------------------------

    def _parts(self, reader: Any, table: MovedTable) -> list[Part]:
        """The same after a death: a list that was made is kept."""
        if not self._has_list(reader, table):
            if not table.key or self._is_small(reader, table):
                return [Part(table, _WHOLE)]
            self._make_list(reader, table)
        length, size = reader.execute(
            sql.SQL("SELECT coalesce(max(n), 0), (SELECT size FROM {} LIMIT 1) FROM {}").format(table.list, table.list)
        ).fetchone()
        starts = range(0, max(length, 1), size or _MOST)
        return [Part(table, place + 1, start, start + (size or _MOST)) for place, start in enumerate(starts)]

    def _has_list(self, connection: Any, table: MovedTable) -> bool:
        values = {"name": table.list.as_string(None)}
        return bool(connection.execute(_queries["exists"], values).fetchone()[0])

    def _is_small(self, reader: Any, table: MovedTable) -> bool:
        query = sql.SQL("SELECT count(*) FROM (SELECT FROM {} AS r WHERE {} LIMIT {}) AS _").format(
            table.table.source, table.mine(), sql.Literal(_SMALL + 1)
        )
        return bool(reader.execute(query).fetchone()[0] <= _SMALL)

    def _make_list(self, reader: Any, table: MovedTable) -> None:
        width = table.placed.bytes / max(table.placed.rows, 1)
        size = int(min(max(PART_BYTES / max(width, 1), _LEAST), _MOST))
        with reader.transaction():
            reader.execute(
                sql.SQL(
                    "CREATE TABLE {} AS SELECT pg_catalog.row_number() OVER (ORDER BY {}) AS n, {} AS size, {} "
                    "FROM {} AS r WHERE {}"
                ).format(
                    table.list, table.key_of("r"), sql.Literal(size), table.key_as_numbered("r"),
                    table.table.source, table.mine(),
                )
            )  # fmt: skip
            reader.execute(sql.SQL("CREATE INDEX ON {} (n)").format(table.list))
            reader.execute(sql.SQL("CREATE INDEX ON {} ({})").format(table.list, table.keys))
        reader.execute(sql.SQL("ANALYZE {}").format(table.list))

    def _ledger(self, writer: Any) -> list[tuple[int, int, int, int]]:
        rows: list[tuple[int, int, int, int]] = writer.execute(
            sql.SQL("SELECT tab, part, rows, bytes FROM {}").format(self._scope.copied)
        ).fetchall()
        return rows

    def _note(self, target: psycopg.Connection[Any], part: Part, brought: Streamed) -> None:
        """In the transaction of the rows themselves."""
        values = (part.table.number, part.number, brought.rows, brought.bytes)
        target.execute(
            sql.SQL("INSERT INTO {} VALUES ({})").format(
                self._scope.copied, sql.SQL(", ").join(map(sql.Literal, values))
            )
        )


def _rows(part: Part) -> sql.Composed:
    table = part.table
    source, mine = table.table.source, table.mine()
    same = table.is_row("r", "q") if table.key else sql.SQL("true")
    drained = sql.SQL("NOT EXISTS (SELECT FROM {} AS q WHERE {})").format(table.queue, same)
    if part.first is None:
        return sql.SQL("SELECT {} FROM {} AS r WHERE {} AND {}").format(table.columns(), source, mine, drained)
    return sql.SQL("SELECT {} FROM {} AS l JOIN {} AS r ON {} WHERE l.n > {} AND l.n <= {} AND {} AND {}").format(
        table.columns(), table.list, source, table.is_row("r", "l"),
        sql.Literal(part.first), sql.Literal(part.last), table.checked(), drained,
    )  # fmt: skip
