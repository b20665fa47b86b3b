"""SQL that says which rows of a table are one tenant's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import TypeAlias

from psycopg import sql

from shardwright.pg.tables import Column, ForeignKey, Table, TableName
from shardwright.transfer.graph import PlacedTable, TableGraph, carried_key

_AS_IT_IS = sql.SQL("{}")
OfKey: TypeAlias = Callable[[sql.Identifier, Column], sql.Composable]


def rows_of_tenant(graph: TableGraph, name: TableName, tenant: sql.Composable, *, row: str = "r") -> sql.Composable:
    """A condition on `row`, true for the rows that belong to `tenant`.

    `row` is what the table (its `source`) is called in the query. `tenant` is the id as text, which PostgreSQL then
    takes for the column's own type: `sql.Literal(id)`, or `sql.SQL("$1")` to bind it with a psycopg.RawCursor. No
    Placeholder: beside one, psycopg would take a % in the name of a table for another.
    Raises ValueError where the table's rows belong to no tenant.
    """
    return rows_where(graph, name, _equals(tenant), row=row)


def rows_where(graph: TableGraph, name: TableName, of_key: OfKey, *, row: str = "r") -> sql.Composable:
    """A condition on `row`, true where `of_key` holds for the tenant key that the row leads to. Raises ValueError as
    `rows_of_tenant`."""
    return _Condition(graph, of_key).of(name, row)


def rows_with_tenant(graph: TableGraph, name: TableName, *, row: str = "r") -> sql.Composable:
    """A condition on `row`, true for the rows that belong to any tenant. Raises ValueError as `rows_of_tenant`."""
    return rows_where(graph, name, lambda key, _: sql.SQL("{} IS NOT NULL").format(key), row=row)


def answer_where(graph: TableGraph, name: TableName, of_key: OfKey, *, row: str) -> sql.Composable:
    """What both conditions say of one `row`, in one look: true where `of_key` holds for its tenant key, false where it
    does not, null where it has none. Raises ValueError as `rows_of_tenant`."""
    return _Answer(graph, of_key).of(name, row)


def owner(graph: TableGraph, name: TableName, *, row: str) -> sql.Composable:
    """Whose `row` is: the tenant's id as text, null where it is nobody's. Raises ValueError as `rows_of_tenant`."""
    return _Owner(graph, lambda key, _: sql.SQL("{}::pg_catalog.text").format(key)).of(name, row)


def rows_below(
    graph: TableGraph, name: TableName, above: TableName, above_row: str, *, row: str = "r"
) -> sql.Composable | None:
    """A condition on `row` of an indirect table: it leads to its tenant through `above_row`, of table `above`. None
    where no row of the one leads through the other."""
    return _Below(graph, above, above_row).leads(name, row)


def _equals(tenant: sql.Composable) -> OfKey:
    return lambda key, column: sql.SQL("{} {} {}").format(key, sql.SQL(column.equality), tenant)


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

    _of_all = sql.SQL("pg_catalog.bool_or({})")

    def _any_of(self, conditions: Sequence[sql.Composable]) -> sql.Composable:
        return sql.SQL("GREATEST({})").format(sql.SQL(", ").join(conditions))

    def _parent(self, step: ForeignKey, row: str, parent: str) -> sql.Composable:
        """An aggregate takes as long as all the rest of the look, so it is left out where there is one parent."""
        is_one = all(operator.endswith(".=)") for operator in step.operators)  # unlike a period's, that overlaps
        return sql.SQL("(SELECT {} FROM {} AS {} WHERE {}{})").format(
            (_AS_IT_IS if is_one else self._of_all).format(self.of(step.table, parent)),
            self._table(step.table).source,
            sql.Identifier(parent),
            joined(step, parent, row),
            sql.SQL(" LIMIT 1" if is_one else ""),
        )

    def _above(self, rows: sql.Composable, tree: str, condition: sql.Composable) -> sql.Composable:
        return sql.SQL("({} SELECT {} FROM {})").format(rows, self._of_all.format(condition), sql.Identifier(tree))


class _Owner(_Answer):
    """The same with the tenant's id for an answer; where there are several ways, all lead to one."""

    _of_all = sql.SQL("pg_catalog.max({})")


class _Below:
    """From a row by its foreign keys up to another row, whose way to a tenant it shares."""

    def __init__(self, graph: TableGraph, above: TableName, above_row: str) -> None:
        self._graph = graph
        self._above = above
        self._row = above_row
        self._numbers = count(1)

    def leads(self, name: TableName, row: str) -> sql.Composable | None:
        placed = self._graph[name]
        if placed.way.key is not None:
            return None
        if not placed.way.climbs:
            return self._any(placed, placed.way.steps, row)
        tree, parent = f"below_{next(self._numbers)}", f"below_{next(self._numbers)}"
        found = self._any(placed, (*placed.way.steps, *placed.way.climbs), tree)
        if found is None:
            return None
        columns = list(dict.fromkeys(c for key in (*placed.way.steps, *placed.way.climbs) for c in key.columns))
        climbs = sql.SQL(" OR ").join(sql.SQL("({})").format(joined(key, parent, tree)) for key in placed.way.climbs)
        return sql.SQL(
            "EXISTS (WITH RECURSIVE {tree} AS (SELECT {own} UNION SELECT {theirs} FROM {table} AS {parent}, {tree} "
            "WHERE {climbs}) SELECT FROM {tree} WHERE {found})"
        ).format(
            tree=sql.Identifier(tree), parent=sql.Identifier(parent), table=placed.table.source,
            own=_columns(row, columns), theirs=_columns(parent, columns), climbs=climbs, found=found,
        )  # fmt: skip

    def _any(self, placed: PlacedTable, steps: Iterable[ForeignKey], row: str) -> sql.Composable | None:
        found = [each for step in steps if (each := self._step(placed, step, row)) is not None]
        return sql.SQL("({})").format(sql.SQL(" OR ").join(found)) if found else None

    def _step(self, placed: PlacedTable, step: ForeignKey, row: str) -> sql.Composable | None:
        there = self._graph[step.table].table
        ways = [joined(step, self._row, row)] if there.name == self._above else []
        if there.name != placed.table.name:  # else it is a climb, which the tree has gone up
            parent = f"below_{next(self._numbers)}"
            if (further := self.leads(there.name, parent)) is not None:
                exists = "EXISTS (SELECT FROM {} AS {} WHERE {} AND {})"
                ways.append(sql.SQL(exists).format(
                    there.source, sql.Identifier(parent), joined(step, parent, row), further
                ))  # fmt: skip
        return sql.SQL("({})").format(sql.SQL(" OR ").join(ways)) if ways else None


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
