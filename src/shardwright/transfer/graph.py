"""The table graph: which kind each table is, how its rows belong to a tenant, in which order tables are copied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

from shardwright.pg.tables import ForeignKey, Table, TableName, Tables

Kind: TypeAlias = Literal["root", "direct", "indirect", "shared", "ignored"]
OF_TENANTS: frozenset[Kind | None] = frozenset({"root", "direct", "indirect"})


@dataclass(frozen=True)
class Way:
    """How the tenant of a row is found: in its column `key`, else by any of `steps` to rows whose tenant is known.

    `climbs` are references of the table to itself, followed for a row whose own steps are null. `is_whole`: no row
    can be without a tenant, as far as the catalogs know.
    """

    key: str | None = None
    steps: tuple[ForeignKey, ...] = ()
    climbs: tuple[ForeignKey, ...] = ()
    is_whole: bool = True


@dataclass(frozen=True)
class PlacedTable:
    """A table with its kind, None where it can't be placed, and why. A partitioned table has its partitions in it."""

    table: Table
    kind: Kind | None
    why: str
    way: Way = Way()
    notes: tuple[str, ...] = ()
    partitions: tuple[Table, ...] = ()

    @property
    def is_of_tenants(self) -> bool:
        """Whether its rows belong to tenants."""
        return self.kind in OF_TENANTS

    @property
    def rows(self) -> int:
        """How many rows it has, all partitions together; an estimate."""
        return self.table.rows if not self.partitions else sum(each.rows for each in self.partitions)

    @property
    def bytes(self) -> int:
        """What it takes on disk with its indexes, all partitions together."""
        return self.table.bytes + sum(each.bytes for each in self.partitions)


@dataclass(frozen=True)
class Problem:
    """Why `tables` can't be placed, or a line of [tenants] can't be followed; the cure is the line to write."""

    tables: tuple[TableName, ...]
    fact: str
    cure: str


@dataclass(frozen=True)
class TableGraph:
    """Every table of one shard but partitions, by name; and what has to be mended before a tenant can be moved.

    `copy_order` has the tables of tenants, parents first; tables that refer to one another in a cycle are one group.
    """

    catalog: Tables
    tables: tuple[PlacedTable, ...]
    copy_order: tuple[tuple[TableName, ...], ...]
    problems: tuple[Problem, ...] = ()

    @cached_property
    def _by_name(self) -> dict[TableName, PlacedTable]:
        own = {each.table.name: each for each in self.tables}
        return own | {part.name: each for each in self.tables for part in each.partitions}

    def __getitem__(self, name: TableName) -> PlacedTable:
        """The table of that name, or the one that has the partition of that name. Raises KeyError."""
        return self._by_name[name]

    def find(self, name: TableName) -> PlacedTable | None:
        """As `[]`; None for a table that is none of the user's, as one that an extension brought."""
        return self._by_name.get(name)

    @property
    def delete_order(self) -> tuple[tuple[TableName, ...], ...]:
        """Children first."""
        return self.copy_order[::-1]

    def path(self, placed: PlacedTable) -> str:
        """`organization_id`, or `task_id → tasks.organization_id`; empty for a table that is nobody's."""
        return " or ".join(self.paths(placed))

    def paths(self, placed: PlacedTable) -> list[str]:
        """Each way to the tenant key by itself; there are several where a row may take any of them."""
        walked = ""
        while len(placed.way.steps) == 1:
            walked += self._towards(placed.way.steps[0])
            placed = self[placed.way.steps[0].table]
        ends = [placed.way.key] if placed.way.key is not None else []
        further = (self._towards(step) + end for step in placed.way.steps for end in self.paths(self[step.table]))
        return [walked + end for end in (*ends, *further)]

    def _towards(self, step: ForeignKey) -> str:
        return f"{columns_text(step.columns)} → {self.catalog.shown(step.table)}."

    def as_dict(self) -> dict[str, Any]:
        """The graph as `--json` prints it."""
        shown = self.catalog.shown
        return {
            "tables": [self._as_dict(placed) for placed in self.tables],
            "copy_order": [[shown(name) for name in group] for group in self.copy_order],
            "problems": [
                {"tables": [shown(name) for name in each.tables], "fact": each.fact, "cure": each.cure}
                for each in self.problems
            ],
        }

    def _as_dict(self, placed: PlacedTable) -> dict[str, Any]:
        table = placed.table
        return {
            "table": self.catalog.shown(table.name),
            "kind": placed.kind,
            "why": placed.why,
            "paths": self.paths(placed),
            "primary_key": [column.name for column in table.primary_key],
            "rows": placed.rows,
            "bytes": placed.bytes,
            "partitions": [self.catalog.shown(each.name) for each in placed.partitions],
            "notes": list(placed.notes),
        }


def columns_text(columns: tuple[str, ...]) -> str:
    """`task_id`, or `(organization_id, project_id)`."""
    return columns[0] if len(columns) == 1 else f"({', '.join(columns)})"


def is_not_null(table: Table, key: ForeignKey) -> bool:
    """Whether no row can leave the reference out."""
    return all(table.column(name).is_not_null for name in key.columns)


def carried_key(key: ForeignKey, there: Way) -> str | None:
    """The column of `key` that holds the tenant's id, because the row referred to has it in the tenant key."""
    pairs = zip(key.columns, key.referenced_columns, strict=True)
    return next((own for own, theirs in pairs if theirs == there.key), None)


def with_partitions(placed: PlacedTable) -> Iterator[Table]:
    """The table and all below it."""
    yield placed.table
    yield from placed.partitions
