"""SQL that says which rows of a table are one tenant's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import TypeAlias

from psycopg import sql

from shardwright.pg.tables import Column, ForeignKey, Table, TableName
from shardwright.transfer.graph import PlacedTable, TableGraph, carried_key

_AS_IT_IS, _OF_ALL = sql.SQL("{}"), sql.SQL("pg_catalog.bool_or({})")
_OfKey: TypeAlias = Callable[[sql.Identifier, Column], sql.Composable]


def rows_of_tenant(graph: TableGraph, name: TableName, tenant: sql.Composable, *, row: str = "r") -> sql.Composable:
    """A condition on `row`, true for the rows that belong to `tenant`.

    `row` is what the table (its `source`) is called in the query. `tenant` is the id as text, which PostgreSQL then
    takes for the column's own type: `sql.Literal(id)`, or `sql.SQL("$1")` to bind it with a psycopg.RawCursor. No
    Placeholder: beside one, psycopg would take a % in the name of a table for another.
    Raises ValueError where the table's rows belong to no tenant.
    """
    return _Condition(graph, _equals(tenant)).of(name, row)


def rows_with_tenant(graph: TableGraph, name: TableName, *, row: str = "r") -> sql.Composable:
    """A condition on `row`, true for the rows that belong to any tenant. Raises ValueError as `rows_of_tenant`."""
    return _Condition(graph, lambda key, _: sql.SQL("{} IS NOT NULL").format(key)).of(name, row)


def is_of_tenant(graph: TableGraph, name: TableName, tenant: sql.Composable, *, row: str) -> sql.Composable:
    """What both conditions say of one `row`, in one look: true where it is the tenant's, false where it is another's,
    null where it is nobody's. Raises ValueError as `rows_of_tenant`."""
    return _Answer(graph, _equals(tenant)).of(name, row)


def _equals(tenant: sql.Composable) -> _OfKey:
    return lambda key, column: sql.SQL("{} {} {}").format(key, sql.SQL(column.equality), tenant)


class _Condition:
    """From a row by its foreign keys up to a tenant key, and there `of_key`."""

    def __init__(self, graph: TableGraph, of_key: _OfKey) -> None:
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
        return steps[0] if len(steps) == 1 else self._any_of(steps)

    def _step(self, step: ForeignKey, row: str) -> sql.Composable:
        carried = carried_key(step, self._graph[step.table].way)
        if carried is not None:
            return self._of_key(sql.Identifier(row, carried), self._carried_column(step))
        return self._parent(step, row, self._alias("parent"))

    def _climbing(self, placed: PlacedTable, row: str) -> sql.Composable:
        """The row, or any above it. UNION and not UNION ALL: it ends where rows refer to one another in a circle."""
        tree, above = self._alias("tree"), self._alias("above")
        columns = list(dict.fromkeys(c for key in (*placed.way.steps, *placed.way.climbs) for c in key.columns))
        climbs = [sql.SQL("({})").format(joined(climb, above, tree)) for climb in placed.way.climbs]
        rows = sql.SQL(
            "WITH RECURSIVE {tree} AS (SELECT {own} UNION SELECT {theirs} FROM {table} AS {above}, {tree} "
            "WHERE {climbs})"
        ).format(
            tree=sql.Identifier(tree),
            above=sql.Identifier(above),
            table=placed.table.source,
            own=_columns(row, columns),
            theirs=_columns(above, columns),
            climbs=sql.SQL(" OR ").join(climbs),
        )
        return self._above(rows, tree, self._any_step(placed, tree))

    def _carried_column(self, step: ForeignKey) -> Column:
        """The tenant key that the reference carries along, as its own table has it."""
        there = self._graph[step.table]
        return there.table.column(str(there.way.key))

    def _table(self, name: TableName) -> Table:
        return self._graph.catalog.by_name[name]

    def _alias(self, word: str) -> str:
        return f"{word}_{next(self._numbers)}"

    def _any_of(self, conditions: Sequence[sql.Composable]) -> sql.Composable:
        return sql.SQL("({})").format(sql.SQL(" OR ").join(conditions))

    def _parent(self, step: ForeignKey, row: str, parent: str) -> sql.Composable:
        return sql.SQL("EXISTS (SELECT FROM {} AS {} WHERE {} AND {})").format(
            self._table(step.table).source,
            sql.Identifier(parent),
            joined(step, parent, row),
            self.of(step.table, parent),
        )

    def _above(self, rows: sql.Composable, tree: str, condition: sql.Composable) -> sql.Composable:
        return sql.SQL("EXISTS ({} SELECT FROM {} WHERE {})").format(rows, sql.Identifier(tree), condition)


class _Answer(_Condition):
    """The same with three answers: null has no say beside the others, and true goes before false."""

    def _any_of(self, conditions: Sequence[sql.Composable]) -> sql.Composable:
        return sql.SQL("GREATEST({})").format(sql.SQL(", ").join(conditions))

    def _parent(self, step: ForeignKey, row: str, parent: str) -> sql.Composable:
        """An aggregate takes as long as all the rest of the look, so it is left out where there is one parent."""
        is_one = all(operator.endswith(".=)") for operator in step.operators)  # unlike a period's, that overlaps
        return sql.SQL("(SELECT {} FROM {} AS {} WHERE {}{})").format(
            (_AS_IT_IS if is_one else _OF_ALL).format(self.of(step.table, parent)),
            self._table(step.table).source,
            sql.Identifier(parent),
            joined(step, parent, row),
            sql.SQL(" LIMIT 1" if is_one else ""),
        )

    def _above(self, rows: sql.Composable, tree: str, condition: sql.Composable) -> sql.Composable:
        return sql.SQL("({} SELECT {} FROM {})").format(rows, _OF_ALL.format(condition), sql.Identifier(tree))


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
