"""SQL that says which rows of a table are one tenant's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import TypeAlias

from psycopg import sql

from shardwright.pg.tables import Column, ForeignKey, Table, TableName
from shardwright.transfer.graph import PlacedTable, TableGraph, carried_key

OfKey: TypeAlias = Callable[[sql.Identifier, Column], sql.Composable]


def rows_of_tenant(graph: TableGraph, name: TableName, tenant: sql.Composable, *, row: str = "r") -> sql.Composable:
    """A condition on `row`, true for the rows that belong to `tenant`.

    `row` is what the table (its `source`) is called in the query. `tenant` is the id as text, which PostgreSQL then
    takes for the column's own type: `sql.Literal(id)`, or `sql.SQL("$1")` to bind it with a psycopg.RawCursor. No
    Placeholder: beside one, psycopg would take a % in the name of a table for another.
    Raises ValueError where the table's rows belong to no tenant.
    """

    def is_it(key: sql.Identifier, column: Column) -> sql.Composable:
        return sql.SQL("{} {} {}").format(key, sql.SQL(column.equality), tenant)

    return rows_where(graph, name, is_it, row=row)


def rows_where(graph: TableGraph, name: TableName, of_key: OfKey, *, row: str = "r") -> sql.Composable:
    """A condition on `row`, true where `of_key` holds for the tenant key that the row leads to. Raises ValueError as
    `rows_of_tenant`."""
    return _Condition(graph, of_key).of(name, row)


def rows_with_tenant(graph: TableGraph, name: TableName, *, row: str = "r") -> sql.Composable:
    """A condition on `row`, true for the rows that belong to any tenant. Raises ValueError as `rows_of_tenant`."""
    return rows_where(graph, name, lambda key, _: sql.SQL("{} IS NOT NULL").format(key), row=row)


class _Condition:
    """From a row by its foreign keys up to a tenant key, and there `of_key`."""

    def __init__(self, graph: TableGraph, of_key: OfKey) -> None:
        self._graph = graph
        self._of_key = of_key
        self._numbers = count(1)

    def of(self, name: TableName, row: str) -> sql.Composable:
        placed = self._graph[name]
        if not placed.is_of_tenants:
            raise ValueError(f"{name} is {placed.kind or 'not placed'}: its rows belong to no tenant")
        if placed.way.key is not None:
            return self._of_key(sql.Identifier(row, placed.way.key), placed.table.column(placed.way.key))
        return self._climbing(placed, row) if placed.way.climbs else self._any_step(placed, row)

    def _any_step(self, placed: PlacedTable, row: str) -> sql.Composable:
        steps = [self._step(step, row) for step in placed.way.steps]
        return steps[0] if len(steps) == 1 else sql.SQL("({})").format(sql.SQL(" OR ").join(steps))

    def _step(self, step: ForeignKey, row: str) -> sql.Composable:
        carried = carried_key(step, self._graph[step.table].way)
        if carried is not None:
            return self._of_key(sql.Identifier(row, carried), self._carried_column(step))
        parent = self._alias("parent")
        return sql.SQL("EXISTS (SELECT FROM {} AS {} WHERE {} AND {})").format(
            self._table(step.table).source,
            sql.Identifier(parent),
            joined(step, parent, row),
            self.of(step.table, parent),
        )

    def _climbing(self, placed: PlacedTable, row: str) -> sql.Composable:
        """The row, or any above it. UNION and not UNION ALL: it ends where rows refer to one another in a circle."""
        tree, above = self._alias("tree"), self._alias("above")
        columns = list(dict.fromkeys(c for key in (*placed.way.steps, *placed.way.climbs) for c in key.columns))
        climbs = [sql.SQL("({})").format(joined(climb, above, tree)) for climb in placed.way.climbs]
        return sql.SQL(
            "EXISTS (WITH RECURSIVE {tree} AS (SELECT {own} UNION SELECT {theirs} FROM {table} AS {above}, {tree} "
            "WHERE {climbs}) SELECT FROM {tree} WHERE {condition})"
        ).format(
            tree=sql.Identifier(tree),
            above=sql.Identifier(above),
            table=placed.table.source,
            own=_columns(row, columns),
            theirs=_columns(above, columns),
            climbs=sql.SQL(" OR ").join(climbs),
            condition=self._any_step(placed, tree),
        )

    def _carried_column(self, step: ForeignKey) -> Column:
        """The tenant key that the reference carries along, as its own table has it."""
        there = self._graph[step.table]
        return there.table.column(str(there.way.key))

    def _table(self, name: TableName) -> Table:
        return self._graph.catalog.by_name[name]

    def _alias(self, word: str) -> str:
        return f"{word}_{next(self._numbers)}"


def joined(key: ForeignKey, parent: str, child: str) -> sql.Composable:
    """The comparison that the foreign key itself makes, between rows that the query calls `parent` and `child`."""
    parts = zip(key.referenced_columns, key.operators, key.columns, strict=True)
    return sql.SQL(" AND ").join(
        sql.SQL("{} {} {}").format(
            sql.Identifier(parent, theirs),
            sql.SQL(operator),  # quoted by the server
            sql.Identifier(child, own),
        )
        for theirs, operator, own in parts
    )


def _columns(row: str, columns: Iterable[str]) -> sql.Composable:
    return sql.SQL(", ").join(sql.Identifier(row, column) for column in columns)
