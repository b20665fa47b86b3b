"""The copy: every row of the tenant, in parts, several at once, resumable; what is there always equals one snapshot.

Small tables go together in one transaction. One that is larger is shared out (`shares.py`). The keys of a very large
table are listed once, and parts of the list copied: a list is dear, but a part of it costs the same however large the
table. Streams share a snapshot.
Every new snapshot, after a while or after a death, begins with a drain: what was copied before is brought to it. A
further part of a table leaves out the keys that are in the queue, since the drain brings them; and what a drain has
brought leaves the list, in the transaction that takes it from the queue. So the copied part always is what the source
held at one moment, and two rows that exchange a unique value never meet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import ceil
from queue import SimpleQueue
from threading import Lock
from typing import Any

import psycopg
from psycopg import sql

from shardwright.pg.queries import load
from shardwright.runs.kinds import Progress, StepContext
from shardwright.transfer.clear import clear_table
from shardwright.transfer.drain import BY_INDEX, drain, forget_drained, make_room, snapshot
from shardwright.transfer.scope import MovedTable, Scope
from shardwright.transfer.sessions import Sessions, hold, write_silently
from shardwright.transfer.shares import Share
from shardwright.transfer.stream import Pace, Streamed, stream

PART_BYTES = 8 << 20
SNAPSHOT_SECONDS = 60.0  # an older one would keep dead rows from being cleaned up
_TELL_EVERY = 1.0  # seconds; a part may take long where the copy is slowed down
_LEAST, _MOST = 1_000, 50_000
_SMALL = _MOST  # so many rows of the tenant, of one table or of several, are one part
_SHARE_ROWS, _SHARE_BYTES = 1_000_000, 512 << 20  # one that dies is begun anew: it should not be too large
_MOST_SHARES = 8
_WHOLE = 0
_FILES = -1  # not a part: under it the ledger has the number of the files in which the table lay when it was shared out
_ALONE = "SET LOCAL max_parallel_workers_per_gather = 0"  # a worker hands on each row, and streams are at work already
_queries = load(__package__, "copy.sql")


@dataclass(frozen=True)
class Part:
    """The rows of a table whose keys have these places in its list; or those of a share; or all."""

    table: MovedTable
    number: int
    first: int | None = None
    last: int | None = None
    share: Share | None = None

    @classmethod
    def of(cls, table: MovedTable, share: Share) -> Part:
        """A share of the table."""
        return cls(table, share.number, share=share)


Job = tuple[Part, ...]  # what is copied in one transaction


class _Pairs(ExitStack):
    """Sessions of both shards, for as many streams as are at work at once."""

    def __init__(self, source: Sessions, target: Sessions) -> None:
        super().__init__()
        self.free: SimpleQueue[tuple[psycopg.Connection[Any], psycopg.Connection[Any]]] = SimpleQueue()
        self._source = source
        self._target = target
        self._count = 0

    def provide(self, count: int) -> None:
        """There are so many at least."""
        while self._count < count:
            pair = self.enter_context(self._source.open()), self.enter_context(self._target.open())
            write_silently(pair[1])
            self.free.put(pair)
            self._count += 1


class Copy:
    """The copy of one transfer; `copy()` may be called again after a death, and goes on where it was.

    `also` is called within each snapshot before what it has seen is forgotten, for others who need that as well; it
    gives how many keys it has brought them.
    """

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
        also: Callable[[psycopg.Connection[Any]], int] = lambda _: 0,
    ) -> None:
        self._scope = scope
        self._source = source
        self._target = target
        self._context = context
        self._streams = streams
        self._pace = _one_at_a_time(pace)
        self._snapshot_seconds = snapshot_seconds
        self._also = also
        self._brought = Streamed()
        self._estimate = sum(int(table["rows"]) for table in context.plan.get("tables", ()))

    def copy(self) -> Streamed:
        """Every row of the tenant is at the target, as of one snapshot of the source; gives how much was brought.

        Raises Stopped at a safe point, psycopg.Error.
        """
        with ExitStack() as stack:
            reader = stack.enter_context(self._source.open())
            writer = stack.enter_context(self._target.open())
            self._is_silent = write_silently(writer)
            make_room(writer, self._scope.tables)
            pairs = stack.enter_context(_Pairs(self._source, self._target))
            pool = stack.enter_context(ThreadPoolExecutor(self._streams, thread_name_prefix="copy"))
            ledger = self._ledger(writer)
            self._done = {(tab, part): Streamed(rows, size) for tab, part, rows, size in ledger if part != _FILES}
            self._files = {tab: size for tab, part, _, size in ledger if part == _FILES}
            self._brought = sum(self._done.values(), Streamed())
            for tables in self._groups(reader):
                self._copy_tables(tables, reader, writer, pool, pairs)
        return self._brought

    # --- tables ---------------------------------------------------------------------------------

    def _groups(self, reader: Any) -> Iterator[list[MovedTable]]:
        """The tables that are still to be copied, small ones together; one by one where foreign keys are checked."""
        left = [table for table in self._scope.tables if (table.number, _WHOLE) not in self._done]
        self._counts = self._count(reader, left)
        group: list[MovedTable] = []
        for table in left:
            if group and not (self._is_silent and self._fit_together((*group, table))):
                yield group
                group = []
            group.append(table)
        if group:
            yield group

    def _fit_together(self, tables: tuple[MovedTable, ...]) -> bool:
        return sum(self._counts[table.number] for table in tables) <= _SMALL and not any(map(self._is_begun, tables))

    def _count(self, reader: Any, tables: list[MovedTable]) -> dict[int, int]:
        """The tenant's rows in each table, counted no further than is of any matter."""
        counts = [
            sql.SQL("SELECT {}, count(*) FROM (SELECT FROM {} AS r WHERE {} LIMIT {}) AS _").format(
                sql.Literal(table.number),
                table.here.table.source,
                table.here.mine(),
                sql.Literal(_SHARE_ROWS * _MOST_SHARES + 1),
            )
            for table in tables
        ]
        return dict(reader.execute(sql.SQL(" UNION ALL ").join(counts)).fetchall()) if counts else {}

    def _copy_tables(
        self, tables: list[MovedTable], reader: Any, writer: Any, pool: ThreadPoolExecutor, pairs: _Pairs
    ) -> None:
        jobs = [tuple(Part(table, _WHOLE) for table in tables)]
        if len(tables) == 1:
            jobs = [(part,) for part in self._parts(reader, tables[0])]
        while left := [job for job in jobs if not all((each.table.number, each.number) in self._done for each in job)]:
            try:
                with self._at_one_moment(reader, writer, self._begun(tables), jobs[0][0]) as moment:
                    self._copy_jobs(left, moment, pool, pairs)
            except _Rewritten:
                self._begin_anew(tables[0], writer)
                self._copy_tables(tables, reader, writer, pool, pairs)
                return
        if jobs[0][0].number != _WHOLE:
            self._note(writer, Part(tables[0], _WHOLE), Streamed())

    def _begun(self, tables: list[MovedTable]) -> list[MovedTable]:
        """The tables of which something is at the target, before and among `tables`: they have to be drained to a new
        snapshot. What is still empty needs no drain, and may not have one: a row without its parents leads nowhere."""
        before = self._scope.tables[: self._scope.tables.index(tables[0])]
        return [*before, *(table for table in tables if self._is_begun(table))]

    def _is_begun(self, table: MovedTable) -> bool:
        return any(number == table.number for number, _ in self._done)

    def _copy_jobs(self, jobs: list[Job], moment: str, pool: ThreadPoolExecutor, pairs: _Pairs) -> None:
        """As many of `jobs` as the snapshot lasts for."""
        drained = {part.table.number for job in jobs for part in job if self._is_begun(part.table)}
        until = time.monotonic() + self._snapshot_seconds
        ahead, under_way = jobs[::-1], set[Future[list[tuple[Part, Streamed]]]]()
        try:
            while True:
                is_fresh = len(ahead) == len(jobs) or time.monotonic() < until
                while ahead and is_fresh and len(under_way) < self._streams:
                    self._context.raise_if_stopped()
                    pairs.provide(len(under_way) + 1)
                    under_way.add(pool.submit(self._copy_job, ahead.pop(), moment, pairs, drained))
                if not under_way:
                    return
                ended, under_way = wait(under_way, _TELL_EVERY, FIRST_COMPLETED)
                for each in ended:
                    self._account(each.result())
                self._report()
        finally:
            wait(under_way)

    def _copy_job(self, job: Job, moment: str, pairs: _Pairs, drained: Collection[int]) -> list[tuple[Part, Streamed]]:
        source, target = pair = pairs.free.get()
        brought = []
        try:
            with source.transaction(), target.transaction():
                source.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                source.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(moment)))
                source.execute(_ALONE)
                if job[0].first is not None:  # else the server would read the whole table for each part of a list
                    source.execute(BY_INDEX)
                for part in job:
                    table = part.table
                    columns = table.target_columns
                    rows = _rows(part, but_drained=table.number in drained)
                    copied = stream(source, rows, target, table.name.identifier, columns, table.format, pace=self._pace)
                    self._note(target, part, copied)
                    brought.append((part, copied))
            return brought
        finally:
            pairs.free.put(pair)

    def _account(self, brought: list[tuple[Part, Streamed]]) -> None:
        for part, copied in brought:
            self._done[part.table.number, part.number] = copied
            self._brought += copied

    def _report(self) -> None:
        self._context.report(Progress("copy", self._brought.rows, max(self._estimate, self._brought.rows)))

    # --- snapshots ------------------------------------------------------------------------------

    @contextmanager
    def _at_one_moment(self, reader: Any, writer: Any, begun: Collection[MovedTable], first: Part) -> Iterator[str]:
        """A new snapshot, to which all that is there has been brought; gives the name by which streams share it.

        Raises _Rewritten where the rows of the shares, of which `first` is one, do not lie any more where they did.
        """
        with snapshot(reader) as taken:
            hold(reader)  # a share that is slowed down may take hours
            if first.share is not None and first.share.blocks is not None:
                self._hold(reader, writer, first.table)
            row = reader.execute("SELECT pg_catalog.pg_export_snapshot()").fetchone()
            if drain(reader, writer, self._scope, begun).keys + self._also(reader):
                with self._source.open() as other:
                    self._forget(other, begun, taken)
            yield row[0]

    def _forget(self, other: Any, begun: Collection[MovedTable], taken: str) -> None:
        """A table that is to be copied in one part keeps its queue until then, or the part would bring them again."""
        for table in begun:
            if self._has_list(other, table):
                forget_drained(other, [table], taken, lists=True)
            elif (table.number, _WHOLE) in self._done:
                forget_drained(other, [table], taken)

    def _hold(self, reader: Any, writer: Any, table: MovedTable) -> None:
        """Nobody rewrites the table until the snapshot's end. Raises _Rewritten where somebody has before."""
        reader.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(table.name.identifier))
        files = _heap(reader, table)[1]
        if table.number not in self._files:
            self._note(writer, Part(table, _FILES), Streamed(0, files))
            self._files[table.number] = files
        if self._files[table.number] != files:
            raise _Rewritten

    def _begin_anew(self, table: MovedTable, writer: psycopg.Connection[Any]) -> None:
        """Nothing of the table is at the target, and none of its shares is noted."""
        with writer.transaction():
            for _ in clear_table(writer, table, self._context):
                pass
            writer.execute(
                sql.SQL("DELETE FROM {} WHERE tab = {}").format(self._scope.copied, sql.Literal(table.number))
            )
        self._files.pop(table.number)
        self._done = {place: brought for place, brought in self._done.items() if place[0] != table.number}
        self._brought = sum(self._done.values(), Streamed())

    # --- parts and the ledger -------------------------------------------------------------------

    def _parts(self, reader: Any, table: MovedTable) -> list[Part]:
        """The same after a death: a list that was made is kept, and shares stay shares."""
        if not self._has_list(reader, table):
            if begun := self._shares_begun(table):
                return [Part.of(table, share) for share in begun]
            count = self._shares(table)
            if count == 1:
                return [Part(table, _WHOLE)]
            if count <= max(_MOST_SHARES, self._streams):
                return [Part.of(table, share) for share in Share.all(count, _heap(reader, table)[0])]
            self._make_list(reader, table)
        length, size = reader.execute(
            sql.SQL("SELECT coalesce(max(n), 0), (SELECT size FROM {} LIMIT 1) FROM {}").format(table.list, table.list)
        ).fetchone()
        starts = range(0, max(length, 1), size or _MOST)
        return [Part(table, place + 1, start, start + (size or _MOST)) for place, start in enumerate(starts)]

    def _has_list(self, connection: Any, table: MovedTable) -> bool:
        values = {"name": table.list.as_string(None)}
        return bool(connection.execute(_queries["exists"], values).fetchone()[0])

    def _shares_begun(self, table: MovedTable) -> list[Share]:
        """All shares of the table where one is at the target."""
        numbers = (number for tab, number in self._done if tab == table.number and number < _WHOLE)
        return next((Share.of(number).siblings for number in numbers), [])

    def _shares(self, table: MovedTable) -> int:
        """Into how many the table is shared out; as many as there are streams, or twice as many, ..."""
        rows = self._counts[table.number]
        if not table.key or rows <= _SMALL:
            return 1
        least = max(rows / _SHARE_ROWS, rows * _width(table) / _SHARE_BYTES, 1)
        return ceil(least / self._streams) * self._streams

    def _make_list(self, reader: Any, table: MovedTable) -> None:
        size = int(min(max(PART_BYTES / _width(table), _LEAST), _MOST))
        with reader.transaction():
            reader.execute(
                sql.SQL(
                    "CREATE TABLE {} AS SELECT pg_catalog.row_number() OVER (ORDER BY {}) AS n, {} AS size, {} "
                    "FROM {} AS r WHERE {}"
                ).format(
                    table.list, table.key_of("r"), sql.Literal(size), table.key_as_numbered("r"),
                    table.here.table.source, table.here.mine(),
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


def _one_at_a_time(pace: Pace) -> Pace:
    """The same for several streams: while one waits, all do."""
    lock = Lock()

    def paced(size: int) -> None:
        with lock:
            pace(size)

    return paced


class _Rewritten(Exception):
    """The rows of a table do not lie where they did."""


def _heap(reader: psycopg.Connection[Any], table: MovedTable) -> tuple[int | None, int]:
    """The blocks of the table's largest partition, None where rows go by no block; in which files it lies."""
    if table.here.table.image is not None:
        return None, 0
    row = reader.execute(_queries["heap"], {"table": table.name.identifier.as_string(None)}).fetchone()
    return (row[0], row[1]) if row else (None, 0)


def _width(table: MovedTable) -> float:
    """Bytes of a row, indexes and all."""
    there = table.here.placed
    return max(there.bytes / max(there.rows, 1), 1)


def _rows(part: Part, *, but_drained: bool) -> sql.Composed:
    """The rows of a part; `but_drained` leaves out those that the drain to the snapshot has brought."""
    table = part.table.here
    source, mine = table.table.source, table.mine()
    same = table.is_row("r", "q") if table.key else sql.SQL("true")
    drained: sql.Composable = sql.SQL("true")
    if but_drained:
        drained = sql.SQL("NOT EXISTS (SELECT FROM {} AS q WHERE {})").format(table.queue, same)
    if part.first is None:
        return sql.SQL("SELECT {} FROM {} AS r WHERE {} AND {} AND {}").format(
            table.columns(), source, mine, drained, part.share.has(part.table) if part.share else sql.SQL("true")
        )
    return sql.SQL("SELECT {} FROM {} AS l JOIN {} AS r ON {} WHERE l.n > {} AND l.n <= {} AND {} AND {}").format(
        table.columns(), table.list, source, table.is_row("r", "l"),
        sql.Literal(part.first), sql.Literal(part.last), table.checked(), drained,
    )  # fmt: skip
