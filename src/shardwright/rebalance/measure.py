"""Reads on one shard what each tenant has there: rows, bytes, new row versions, what load_query says, labels.

Every statement is a transaction of its own that only reads, so that no lock and no snapshot outlasts the look at one
table. Exact where a table is small; of a large one some blocks are read, the same each time.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from shardwright.config import TenantsSection
from shardwright.pg import retry
from shardwright.pg.connect import connect
from shardwright.pg.faults import Fault, explain
from shardwright.pg.queries import load
from shardwright.pg.spelling import WHOLE_TABLES
from shardwright.pg.tables import ForeignKey, TableName, read_tables
from shardwright.shard import Shard
from shardwright.transfer.graph import PlacedTable, TableGraph, carried_key, with_partitions
from shardwright.transfer.place import table_graph
from shardwright.transfer.rows import joined, owner

T = TypeVar("T")
EXACT: Final = 32_768  # blocks, 256 MB: up to here every row of a table is counted, beyond so many blocks are read
_FARTHEST: Final = 1 << 31  # transactions: what is further back can't be told from what is to come
_TRIES, _SMALLER = 5, 8
_FIRST_XID: Final = 3  # PostgreSQL's own are below
_SETTINGS: Final = {
    **WHOLE_TABLES,
    "default_transaction_read_only": "on",
    "statement_timeout": "60s",
    "lock_timeout": "500ms",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "random_page_cost": "1.1",  # parents are looked up by their keys
}
_queries = load(__package__, "measure.sql")
Counters = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Part:
    """What one tenant has in one table; `new`: row versions written since a moment. An estimate where it is sampled."""

    rows: float = 0.0
    bytes: float = 0.0
    new: float = 0.0

    def __add__(self, other: Part) -> Part:
        return Part(self.rows + other.rows, self.bytes + other.bytes, self.new + other.new)


@dataclass(frozen=True, slots=True)
class TableReading:
    """One table, its partitions together. `parts` by tenant; None: rows that are nobody's, and room without rows.

    `counters` of each partition: rows inserted, updated, deleted since its statistics began. `sampled`: the smallest
    share of its blocks that was read, None where every row was.
    """

    name: str
    parts: Mapping[str | None, Part] = field(default_factory=dict)
    counters: Mapping[str, Counters] = field(default_factory=dict)
    sampled: float | None = None


@dataclass(frozen=True, slots=True)
class ShardReading:
    """What one shard said. `at`, `xid`: its clock, and the first transaction that was not begun, when it was asked.

    `bytes`: of its whole database. `unread`: tables of tenants, or of nobody knows whom, that are not in it, and why.
    """

    shard: str
    at: datetime
    xid: int
    bytes: int
    tables: tuple[TableReading, ...] = ()
    custom: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def tenants(self) -> frozenset[str]:
        """Everybody who has anything there."""
        return frozenset(tenant for table in self.tables for tenant in table.parts if tenant is not None)

    @property
    def sampled(self) -> Mapping[str, float]:
        """The tables of which only a share was read, with that share."""
        return {table.name: table.sampled for table in self.tables if table.sampled is not None}


@dataclass(frozen=True)
class Questions:
    """What is asked of a shard besides rows and bytes: `since`, its xid at the last measurement; [rebalance]'s query
    and labels. Tables of more than `exact` blocks are sampled."""

    tenants: TenantsSection
    version_table: str
    load_query: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    exact: int = EXACT


def read_shard(shard: Shard, questions: Questions, since: int | None = None) -> ShardReading | Fault:
    """What each tenant has on `shard`, of row versions those since transaction `since`; or what stood in the way.

    A table that can't be read makes the whole a Fault: what is left out would pass for what is not there.
    """
    name = f"shardwright load {shard.name}"
    try:
        with connect(shard.url, application_name=name, settings=_SETTINGS, connect_timeout=5) as connection:
            return _Reader(shard.name, connection, questions, since).read()
    except Unreadable as error:
        return error.fault
    except psycopg.Error as error:
        return explain(error)


def database_bytes(shard: Shard) -> int | Fault:
    """How large a shard's database is."""
    settings = {"statement_timeout": "10s", "lock_timeout": "500ms"}
    try:
        with connect(
            shard.url, application_name="shardwright load", settings=settings, connect_timeout=5
        ) as connection:
            row = connection.execute(_queries["size"]).fetchone()
    except psycopg.Error as error:
        return explain(error)
    return int(row[0]) if row else 0


class Unreadable(Exception):
    """Why a shard can't be measured."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.reason)
        self.fault = fault


@dataclass(frozen=True)
class _Storage:
    """One table as it lies there; of a partitioned one, one partition."""

    name: TableName
    blocks: int
    heap: int
    indexes: int
    counters: Counters
    varying: tuple[str, ...]
    fixed: int

    @property
    def key(self) -> str:
        return self.name.identifier.as_string()


class _Reader:
    """One shard, one connection."""

    def __init__(
        self, shard: str, connection: psycopg.Connection[Any], questions: Questions, since: int | None
    ) -> None:
        self._shard = shard
        self._connection = connection
        self._questions = questions
        self._since = since
        self._unread: dict[str, str] = {}

    def read(self) -> ShardReading:
        began = time.monotonic()
        custom = self._custom()
        graph = self._graph()
        self._connection.execute(_queries["only_the_catalog"])
        at, xid, size = self._one("moment")
        is_new = self._is_new(xid)
        root = next(placed for placed in graph.tables if placed.kind == "root")
        ids = self._table(graph, root, is_new)
        others = (placed for placed in graph.tables if placed.is_of_tenants and placed != root)
        tables = [ids, *(self._table(graph, placed, is_new) for placed in others)]
        tables = self._spelled_alike(root, ids.parts, tables)
        return ShardReading(
            self._shard, at, xid, size, tuple(tables), custom, self._labels(root), self._unread,
            time.monotonic() - began,
        )  # fmt: skip

    def _graph(self) -> TableGraph:
        tables = self._patiently(lambda: read_tables(self._connection, self._questions.version_table))
        graph = table_graph(tables, self._questions.tenants)
        if not any(placed.kind == "root" for placed in graph.tables):
            problem = graph.problems[0]
            raise Unreadable(Fault(problem.fact, problem.cure))
        for placed in graph.tables:
            if placed.kind is None:
                self._unread[tables.shown(placed.table.name)] = "nobody knows whose its rows are: shardwright tables"
        return graph

    # --- one table

    def _table(self, graph: TableGraph, placed: PlacedTable, is_new: sql.Composable) -> TableReading:
        shown = graph.catalog.shown(placed.table.name)
        parts: dict[str | None, Part] = defaultdict(Part)
        counters, shares = {}, []
        for table in with_partitions(placed):
            if table.storage == "foreign":
                self._unread[graph.catalog.shown(table.name)] = "its rows are on another server"
        for storage in self._storages(placed):
            counters[storage.key] = storage.counters
            found, share = self._parts(graph, placed, storage, is_new, shown)
            for tenant, part in _shared_out(storage, found, share).items():
                parts[tenant] += part
            shares.append(share)
        sampled = min(shares, default=1.0)
        return TableReading(shown, parts, counters, sampled if sampled < 1 else None)

    def _storages(self, placed: PlacedTable) -> Sequence[_Storage]:
        names = [table.name for table in with_partitions(placed) if table.storage == "ordinary"]
        values = {"schemas": [name.schema for name in names], "names": [name.name for name in names]}
        return [
            _Storage(
                TableName(row["nspname"], row["relname"]), row["blocks"], row["heap"], row["indexes"],
                tuple(row["counters"]), tuple(row["varying"]), row["fixed"],
            )
            for row in self._rows("storage", values)
        ]  # fmt: skip

    def _rows(self, query: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        def ask() -> list[dict[str, Any]]:
            with self._connection.cursor(row_factory=dict_row) as cursor:
                return cursor.execute(_queries[query], values).fetchall()

        return self._patiently(ask)

    def _parts(
        self, graph: TableGraph, placed: PlacedTable, storage: _Storage, is_new: sql.Composable, shown: str
    ) -> tuple[list[tuple[str | None, int, int, int]], float]:
        """Of each tenant rows, bytes that vary, new versions; and the share of the blocks in which they were found."""
        if not storage.blocks:
            return [], 1.0
        first = min(1.0, self._questions.exact / storage.blocks)
        *shares, last = (first / _SMALLER**number for number in range(_TRIES))
        for share in shares:
            with suppress(psycopg.errors.QueryCanceled):  # it took too long
                return self._asked(_parts_query(graph, placed, storage, is_new, share), shown), share
        return self._asked(_parts_query(graph, placed, storage, is_new, last), shown), last

    def _asked(self, query: sql.Composed, what: str) -> list[Any]:
        """Raises QueryCanceled, Unreadable."""
        try:
            return self._patiently(lambda: self._connection.execute(query).fetchall())
        except psycopg.errors.QueryCanceled:
            raise
        except psycopg.Error as error:
            fault = explain(error)
            raise Unreadable(replace(fault, reason=f"{what}: {fault.reason}")) from error

    def _is_new(self, xid: int) -> sql.Composable:
        since = self._since
        if since is None or not 0 <= xid - since < _FARTHEST:
            return sql.SQL("false")
        return _queries["is_new"].format(last=sql.Literal(str(max(since % (1 << 32), _FIRST_XID))))

    # --- all tables

    def _spelled_alike(
        self, root: PlacedTable, ids: Collection[str | None], tables: list[TableReading]
    ) -> list[TableReading]:
        """Ids as the root table spells them, as the directory does; elsewhere 1.0 may stand for 1, ACME for acme."""
        strays = {tenant for table in tables for tenant in table.parts if tenant is not None and tenant not in ids}
        known = self._known(root, strays) if strays else {}
        return [replace(table, parts=_renamed(table.parts, known)) for table in tables] if known else tables

    def _known(self, root: PlacedTable, ids: Collection[str]) -> dict[str | None, str]:
        key = root.table.primary_key[0]
        name = root.table.name
        values = {"schema": name.schema, "name": name.name, "column": key.name}
        kind = self._connection.execute(_queries["key_type"], values).fetchone()
        query = _queries["spelled"].format(
            key=sql.Identifier(key.name), ids=sql.Literal(sorted(ids)), table=root.table.source,
            equality=sql.SQL(key.equality), type=sql.SQL(str(kind[0]) if kind else "text"),
        )  # fmt: skip
        try:
            return dict(self._asked(query, "root"))
        except Unreadable:  # one of them is no id at all
            return {}

    def _labels(self, root: PlacedTable) -> dict[str, dict[str, str]]:
        wanted = self._questions.labels
        if not wanted:
            return {}
        for column in wanted.values():
            if not root.table.has(column):
                cure = f"under [rebalance.labels]: {next(iter(wanted))} = COLUMN"
                raise Unreadable(Fault(f"{root.table.name} has no column {column}", cure))
        query = _queries["labels"].format(
            key=sql.Identifier(root.table.primary_key[0].name),
            columns=_listed(sql.SQL("root.{}::text").format(sql.Identifier(column)) for column in wanted.values()),
            table=root.table.source,
        )
        return {
            tenant: {name: value for name, value in zip(wanted, values, strict=True) if value is not None}
            for tenant, values in self._asked(query, str(root.table.name))
        }

    def _custom(self) -> dict[str, float]:
        """By the names that the configuration's author sees: before the search path is narrowed."""
        query = self._questions.load_query
        if query is None:
            return {}
        text = sql.SQL(query.strip().rstrip(";"))
        cure = "mend rebalance.load_query: a SELECT of a tenant and a number"
        try:
            found = dict(self._patiently(
                lambda: self._connection.execute(_queries["custom"].format(query=text)).fetchall()
            ))  # fmt: skip
        except psycopg.Error as error:
            if self._connection.broken:
                raise
            raise Unreadable(Fault(f"rebalance.load_query: {explain(error).reason}", cure, error.sqlstate)) from error
        for tenant, value in found.items():
            if not (math.isfinite(value) and value >= 0):
                raise Unreadable(Fault(f"rebalance.load_query gives {value} for tenant {tenant!r}", cure))
        return found

    # --- asking

    def _one(self, query: str) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = self._connection.execute(_queries[query]).fetchone()
        assert row is not None  # noqa: S101 a SELECT without FROM gives a row
        return row

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Nobody waits behind us for long where a migration has a table; so it is tried again."""
        for attempt in range(1, _TRIES):
            try:
                return ask()
            except psycopg.errors.LockNotAvailable:
                time.sleep(retry.pause(attempt).total_seconds())
        return ask()


def _parts_query(
    graph: TableGraph, placed: PlacedTable, storage: _Storage, is_new: sql.Composable, share: float
) -> sql.Composed:
    joins, row, last = _towards_tenants(graph, placed)
    columns = _columns_that_tell(last)
    varying = [sql.SQL("coalesce(pg_column_size(r.{}), 0)").format(sql.Identifier(name)) for name in storage.varying]
    return _queries["parts"].format(
        owner=owner(graph, last.table.name, row="r"),
        columns=_listed(sql.Identifier(row, name) for name in columns),
        table=storage.name.identifier,
        varying=sql.SQL(" + ").join(varying) if varying else sql.SQL("0"),
        is_new=is_new,
        sample=_queries["sample"].format(percent=sql.Literal(share * 100)) if share < 1 else sql.SQL(""),
        joins=sql.SQL(" ").join(joins),
        **{word: sql.Identifier(_free(word, columns)) for word in ("rows", "width", "new")},
    )


def _towards_tenants(graph: TableGraph, placed: PlacedTable) -> tuple[list[sql.Composed], str, PlacedTable]:
    """As far as there is one way from row to row: the joins, and where they end. A join of whole tables is fifty times
    as fast as a look for each row."""
    joins: list[sql.Composed] = []
    row = "r"
    while (step := _only_step(graph, placed)) is not None:
        placed, parent = graph[step.table], f"above_{len(joins)}"
        joins.append(_queries["join"].format(
            table=placed.table.source, parent=sql.Identifier(parent), condition=joined(step, parent, row)
        ))  # fmt: skip
        row = parent
    return joins, row, placed


def _only_step(graph: TableGraph, placed: PlacedTable) -> ForeignKey | None:
    """The one reference that leads on from each row to one other; None where a row itself tells, or may choose."""
    way = placed.way
    if way.key is not None or way.climbs or len(way.steps) != 1:
        return None
    (step,) = way.steps
    is_one = all(operator.endswith(".=)") for operator in step.operators)  # unlike a period's, that overlaps
    return step if is_one and carried_key(step, graph[step.table].way) is None else None


def _columns_that_tell(placed: PlacedTable) -> list[str]:
    """The columns by which a row's tenant is found."""
    if placed.way.key is not None:
        return [placed.way.key]
    return list(dict.fromkeys(name for step in (*placed.way.steps, *placed.way.climbs) for name in step.columns))


def _free(word: str, taken: Collection[str]) -> str:
    return word if word not in taken else _free(f"{word}_", taken)


def _shared_out(
    storage: _Storage, found: Sequence[tuple[str | None, int, int, int]], share: float
) -> dict[str | None, Part]:
    """Heap and TOAST by the bytes of the rows, indexes by their number; nobody has what no row explains."""
    widths = {tenant: varying + rows * storage.fixed for tenant, rows, varying, _ in found}
    rows_of_all, width_of_all = sum(rows for _, rows, _, _ in found), sum(widths.values())
    if not rows_of_all:
        return {None: Part(bytes=storage.heap + storage.indexes)}
    return {
        tenant: Part(
            rows / share,
            storage.heap * widths[tenant] / width_of_all + storage.indexes * rows / rows_of_all,
            new / share,
        )
        for tenant, rows, _, new in found
    }


def _renamed(parts: Mapping[str | None, Part], names: Mapping[str | None, str]) -> dict[str | None, Part]:
    renamed: dict[str | None, Part] = defaultdict(Part)
    for tenant, part in parts.items():
        renamed[names.get(tenant, tenant)] += part
    return renamed


def _listed(parts: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)
