"""What one transfer moves: a tenant's tables with their keys and columns, and the names of what it makes for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from psycopg import sql

from shardwright.pg.tables import Column, Table, TableName
from shardwright.transfer.fence import Fence, of_move
from shardwright.transfer.graph import PlacedTable, TableGraph
from shardwright.transfer.keys import key_of
from shardwright.transfer.order import parents_first
from shardwright.transfer.rows import answer_where, rows_where, rows_with_tenant
from shardwright.transfer.whose import SCHEMA, OneTenant, Whose

# Types whose equal values have equal images, and so may be hashed as they are; all others by their text.
_HASHED_AS_THEY_ARE = frozenset(
    {
        "smallint", "integer", "bigint", "boolean", "uuid", "date", "bytea", "text", "character varying",
        "timestamp without time zone", "timestamp with time zone", "time without time zone",
    }
)  # fmt: skip
_TEXTS = frozenset({"text", "character varying"})


@dataclass(frozen=True)
class MovedTable:
    """One table of tenants in transfer `move`: its place in the copy order, and the columns that name a row.

    A table without a key is brought over whole whenever a row of it has changed.
    """

    move: int
    number: int
    placed: PlacedTable
    key: tuple[Column, ...]
    graph: TableGraph = field(repr=False)
    whose: Whose = field(repr=False)
    giving: TableGraph | None = field(default=None, repr=False)
    lane: int | None = None
    notes_itself: bool = True

    @cached_property
    def here(self) -> MovedTable:
        """The table as the giving side has it, or shows it: the same columns, read there."""
        if self.giving is None:
            return self
        return replace(self, placed=self.giving[self.name], graph=self.giving, giving=None)

    @property
    def table(self) -> Table:
        """The table, at the top of its partitions."""
        return self.placed.table

    @property
    def name(self) -> TableName:
        """Its name."""
        return self.placed.table.name

    @property
    def shown(self) -> str:
        """Its name for people."""
        return self.graph.catalog.shown(self.name)

    @property
    def is_direct(self) -> bool:
        """Whether a row says by itself whose it is."""
        return self.placed.way.key is not None

    @cached_property
    def copied(self) -> tuple[Column, ...]:
        """The columns that travel; generated ones are made anew."""
        return tuple(column for column in self.table.columns if column.generated is None)

    @property
    def format(self) -> sql.SQL:
        """How rows travel: text where the binary form would mean something else there."""
        return sql.SQL("BINARY" if all(column.is_portable for column in self.copied) else "TEXT")

    @property
    def key_format(self) -> sql.SQL:
        """The same for keys alone."""
        return sql.SQL("BINARY" if all(column.is_portable for column in self.key) else "TEXT")

    # --- names of what the transfer makes on a shard --------------------------------------------

    @property
    def queue(self) -> sql.Identifier:
        """The keys of rows that have changed."""
        return sql.Identifier(SCHEMA, f"queue_{self.move}_{self.number}")

    @property
    def changed(self) -> sql.Identifier:
        """At the receiving side, once it takes writes: the keys of its rows that have changed. The same queue, but
        where what it gives back is of another shape, and so goes by other keys."""
        return self.queue if self.notes_itself else sql.Identifier(SCHEMA, f"changed_{self.move}_{self.number}")

    @property
    def list(self) -> sql.Identifier:
        """The keys of all rows that are to be copied, numbered."""
        return sql.Identifier(SCHEMA, f"keys_{_of_lane(self.move, self.lane)}_{self.number}")

    def capture(self, event: str) -> sql.Identifier:
        """The function of its trigger for `event`."""
        return sql.Identifier(SCHEMA, f"{event}_{self.move}_{self.number}")

    @property
    def drained(self) -> sql.Identifier:
        """On the target, for the length of a transaction: the keys that are being made equal."""
        return sql.Identifier("pg_temp", f"drained_{self.number}")

    # --- fragments ------------------------------------------------------------------------------

    def mine(self, row: str = "r") -> sql.Composable:
        """A condition: the row is the tenant's."""
        if self.placed.kind == "shared":
            return self.whose.has_shared()
        return rows_where(self.graph, self.name, self.whose.has, row=row)

    def checked(self, row: str = "r") -> sql.Composable:
        """The same for a row that is found by its key: no index leads to it by the tenant.

        The planner's idea of how many rows a tenant has is old while the tenant writes, and it would rather compare
        each of them with each key.
        """
        return sql.SQL("({}) IS TRUE").format(self.mine(row))

    def known(self, row: str = "r") -> sql.Composable:
        """A condition: the row is some tenant's."""
        if self.placed.kind == "shared":
            return sql.SQL("true")
        return rows_with_tenant(self.graph, self.name, row=row)

    def answer(self, row: str) -> sql.Composable:
        """Both in one look: true for the tenant's row, false for another's, null for nobody's."""
        return answer_where(self.graph, self.name, self.whose.has, row=row)

    def columns(self, row: str = "r") -> sql.Composable:
        """The columns that travel, of `row`."""
        return sql.SQL(", ").join(sql.Identifier(row, column.name) for column in self.copied)

    @property
    def target_columns(self) -> sql.Composable:
        """The same, for COPY … FROM."""
        return sql.SQL(", ").join(sql.Identifier(column.name) for column in self.copied)

    @property
    def keys(self) -> sql.Composable:
        """The key's columns as the transfer's own tables call them: k1, k2, …"""
        return sql.SQL(", ").join(sql.Identifier(name) for name, _ in self.numbered_key())

    def key_of(self, row: str) -> sql.Composable:
        """The key's columns of a row of the table."""
        return sql.SQL(", ").join(sql.Identifier(row, column.name) for column in self.key)

    def key_as_numbered(self, row: str) -> sql.Composable:
        """The key's columns of a row of the table, under the transfer's own names."""
        return sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(sql.Identifier(row, column.name), sql.Identifier(name))
            for name, column in self.numbered_key()
        )

    def is_row(self, row: str, key: str) -> sql.Composable:
        """A condition: the row of the table is the one that `key`, of a table of ours, names."""
        return sql.SQL(" AND ").join(
            sql.SQL("{} {} {}").format(
                sql.Identifier(row, column.name), sql.SQL(column.equality), sql.Identifier(key, name)
            )
            for name, column in self.numbered_key()
        )

    def numbered_key(self) -> Iterator[tuple[str, Column]]:
        """Each column of the key with its name in the transfer's own tables."""
        for number, column in enumerate(self.key, 1):
            yield f"k{number}", column

    def hash_of(self, row: str = "r") -> sql.Composable:
        """A 64-bit hash of the whole row, the same on every server for the same values, generated columns and all.

        Values that PostgreSQL takes for equal though they are not the same (numeric 1.0 and 1.00, -0.0, jsonb) are
        hashed by their text, as their types write it: that of a record, since a cast to text may leave something out.
        """
        return hash_of_columns(row, self.table.columns)

    def hash_of_key(self, row: str = "r") -> sql.Composable:
        """The same of its key alone."""
        return hash_of_columns(row, self.key)


def hash_of_columns(row: str, columns: tuple[Column, ...]) -> sql.Composable:
    """A 64-bit hash of these columns of `row`; as `MovedTable.hash_of`."""
    parts = [_hashed(row, column) for column in columns if _is_hashed_as_it_is(column)]
    if written := [sql.Identifier(row, column.name) for column in columns if not _is_hashed_as_it_is(column)]:
        parts.append(sql.SQL('ROW({})::pg_catalog.text COLLATE "C"').format(sql.SQL(", ").join(written)))
    return sql.SQL("pg_catalog.hash_record_extended(ROW({}), 0)").format(sql.SQL(", ").join(parts))


def _is_hashed_as_it_is(column: Column) -> bool:
    return column.type.partition("(")[0] in _HASHED_AS_THEY_ARE


def _hashed(row: str, column: Column) -> sql.Composable:
    """By the bytes, whatever the column's collation takes for equal."""
    name = sql.Identifier(row, column.name)
    return sql.SQL('{} COLLATE "C"').format(name) if column.type.partition("(")[0] in _TEXTS else name


@dataclass(frozen=True)
class Scope:
    """What transfer `move` moves from one shard to another; its tables parents first.

    `graph` is the receiving side's, `giving` what the giving side shows of it, where that is not the same. Tables have
    the numbers of `numbers`, by which both sides call what is made for them. `lane` tells transfers of one number
    apart that share a shard. With `shared`, the rows of shared tables go along. `foreign` are tables whose own side
    gives nothing back by their keys.
    """

    move: int
    whose: Whose
    graph: TableGraph = field(repr=False)
    giving: TableGraph | None = field(default=None, repr=False)
    numbers: tuple[TableName, ...] = field(default=(), repr=False)
    lane: int | None = None
    shared: bool = False
    foreign: frozenset[TableName] = field(default=frozenset(), repr=False)

    @classmethod
    def of_tenant(cls, move: int, tenant: str, graph: TableGraph) -> Scope:
        """One tenant's rows, between shards of one schema."""
        return cls(move, OneTenant(tenant), graph)

    @property
    def tenant(self) -> str:
        """The one tenant's id. Raises TypeError where there are many."""
        if isinstance(self.whose, OneTenant):
            return self.whose.tenant
        raise TypeError("the scope has the tenants of a whole shard")

    @cached_property
    def tables(self) -> tuple[MovedTable, ...]:
        """Its tables, each after those that say whose its rows are; shared ones first."""
        names = sorted(
            (name for group in self.graph.copy_order for name in group),
            key=lambda name: (self._group(name), self._depth(name), name),
        )
        names = [*self._shared_names(), *names]
        number_of = {name: number for number, name in enumerate(self.numbers or names)}
        return tuple(
            MovedTable(
                self.move, number_of[name], self.graph[name], key_columns(self.graph[name].table), self.graph,
                self.whose, self.giving, self.lane, notes_itself=name not in self.foreign,
            )
            for name in names
        )  # fmt: skip

    def _shared_names(self) -> list[TableName]:
        if not self.shared:
            return []
        tables = [each.table for each in self.graph.tables if each.kind == "shared"]
        parents = {table.name: [key.table for key in table.foreign_keys] for table in tables}
        return [name for group in parents_first(parents) for name in group]

    def _group(self, name: TableName) -> int:
        return next(place for place, group in enumerate(self.graph.copy_order) if name in group)

    def _depth(self, name: TableName) -> int:
        """How many steps it is to a tenant key. Ways never go in a circle."""
        return max(
            (1 + self._depth(self.graph[step.table].table.name) for step in self.graph[name].way.steps), default=0
        )

    @property
    def fence(self) -> Fence:
        """The one tenant's."""
        return of_move(self.move)

    @property
    def refused(self) -> sql.Identifier:
        """The function that tells a writer of the tenant where to go."""
        return sql.Identifier(SCHEMA, f"refuse_{self.move}")

    @property
    def copied(self) -> sql.Identifier:
        """On the target: which parts of which table are there."""
        return sql.Identifier(SCHEMA, f"copied_{_of_lane(self.move, self.lane)}")


def _of_lane(move: int, lane: int | None) -> str:
    return str(move) if lane is None else f"{move}_{lane}"


def key_columns(table: Table) -> tuple[Column, ...]:
    """The columns of the table's key; none where it has no key."""
    key = key_of(table)
    return tuple(table.column(name) for name in key.columns) if key else ()
