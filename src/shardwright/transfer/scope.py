"""What one transfer moves: a tenant's tables with their keys and columns, and the names of what it makes for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from psycopg import sql

from shardwright.pg.tables import Column, Table, TableName
from shardwright.transfer.graph import PlacedTable, TableGraph
from shardwright.transfer.keys import key_of
from shardwright.transfer.rows import is_of_tenant, rows_of_tenant, rows_with_tenant

SCHEMA = "shardwright"
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
    tenant: sql.Composable = field(repr=False)

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
    def list(self) -> sql.Identifier:
        """The keys of all rows that are to be copied, numbered."""
        return sql.Identifier(SCHEMA, f"keys_{self.move}_{self.number}")

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
        return rows_of_tenant(self.graph, self.name, self.tenant, row=row)

    def checked(self, row: str = "r") -> sql.Composable:
        """The same for a row that is found by its key: no index leads to it by the tenant.

        The planner's idea of how many rows a tenant has is old while the tenant writes, and it would rather compare
        each of them with each key.
        """
        return sql.SQL("({}) IS TRUE").format(self.mine(row))

    def known(self, row: str = "r") -> sql.Composable:
        """A condition: the row is some tenant's."""
        return rows_with_tenant(self.graph, self.name, row=row)

    def whose(self, row: str) -> sql.Composable:
        """Both in one look: true for the tenant's row, false for another's, null for nobody's."""
        return is_of_tenant(self.graph, self.name, self.tenant, row=row)

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
        return _hash(row, self.table.columns)

    def hash_of_key(self, row: str = "r") -> sql.Composable:
        """The same of its key alone."""
        return _hash(row, self.key)


def _hash(row: str, columns: tuple[Column, ...]) -> sql.Composable:
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


def fence_of(move: int) -> sql.Identifier:
    """The sequence that is the flag of the transfer of that number."""
    return sql.Identifier(SCHEMA, f"fence_{move}")


@dataclass(frozen=True)
class Scope:
    """One tenant in transfer `move`; its tables parents first."""

    move: int
    tenant: str
    graph: TableGraph = field(repr=False)

    @cached_property
    def tables(self) -> tuple[MovedTable, ...]:
        """The tables of tenants, each after those that say whose its rows are."""
        literal = sql.Literal(self.tenant)
        names = sorted(
            (name for group in self.graph.copy_order for name in group),
            key=lambda name: (self._group(name), self._depth(name), name),
        )
        placed = (self.graph[name] for name in names)
        return tuple(
            MovedTable(self.move, number, each, key_columns(each.table), self.graph, literal)
            for number, each in enumerate(placed)
        )

    def _group(self, name: TableName) -> int:
        return next(place for place, group in enumerate(self.graph.copy_order) if name in group)

    def _depth(self, name: TableName) -> int:
        """How many steps it is to a tenant key. Ways never go in a circle."""
        return max(
            (1 + self._depth(self.graph[step.table].table.name) for step in self.graph[name].way.steps), default=0
        )

    @property
    def fence(self) -> sql.Identifier:
        """The sequence that is the flag."""
        return fence_of(self.move)

    @property
    def refused(self) -> sql.Identifier:
        """The function that tells a writer of the tenant where to go."""
        return sql.Identifier(SCHEMA, f"refuse_{self.move}")

    @property
    def copied(self) -> sql.Identifier:
        """On the target: which parts of which table are there."""
        return sql.Identifier(SCHEMA, f"copied_{self.move}")


def key_columns(table: Table) -> tuple[Column, ...]:
    """The columns of the table's key; none where it has no key."""
    key = key_of(table)
    return tuple(table.column(name) for name in key.columns) if key else ()
