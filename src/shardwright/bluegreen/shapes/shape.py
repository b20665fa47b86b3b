"""Finds how the giving side shows each table of the receiving side, from both catalogs and the shapes; pure.

A table with a shape is what its SELECT gives. One without is the giving side's table of that very name: the columns
that both have. One with neither is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from psycopg import sql

from shardwright.bluegreen.shapes import lines
from shardwright.bluegreen.shapes.carry import PLAIN_EQUALITY, carried, expression, is_as_it_is, is_text_there
from shardwright.bluegreen.shapes.images import Feed, Image, Images, within
from shardwright.config import ShapeSection
from shardwright.pg.tables import Column, ForeignKey, Table, TableName, Tables
from shardwright.transfer import names
from shardwright.transfer.graph import PlacedTable, Problem, TableGraph, Way, columns_text, with_partitions
from shardwright.transfer.keys import key_of

FORWARD, BACK = "bluegreen.tables", "bluegreen.back"
Described = Mapping[str, Mapping[str, str]]
_KINDS = frozenset({"root", "direct", "indirect", "shared", None})


def images(
    giving: Tables,
    receiving: Tables,
    shapes: Mapping[str, ShapeSection],
    graph_of_receiving: TableGraph,
    *,
    described: Described | None = None,
    section: str = FORWARD,
) -> Images:
    """Every image, and everything that has to be mended.

    `described`: the columns that each SELECT gives at the giving side, and their types (`describe.describe`), under
    the shape's name. A shape that is not there is taken to give every column in some other type. `section` is where
    the shapes are written: FORWARD or BACK.
    """
    return _Shaping(giving, receiving, shapes, graph_of_receiving, described or {}, section).images()


@dataclass(frozen=True)
class _Given:
    """What the giving side has of one table: a type for each column, None where it is not known.

    `own` is its table of that name; `select` the one that it has instead, and `entry` the name of that in the
    configuration.
    """

    types: Mapping[str, str | None]
    feeds: tuple[Feed, ...]
    entry: str
    own: Table | None = None
    select: str | None = None

    @property
    def source(self) -> sql.Composable:
        """What to write after FROM."""
        return self.own.source if self.own is not None else within(self.select or "")


class _Shaping:
    """One table after the other finds its image; what stands in the way is in `problems`."""

    def __init__(
        self,
        giving: Tables,
        receiving: Tables,
        shapes: Mapping[str, ShapeSection],
        graph: TableGraph,
        described: Described,
        section: str,
    ) -> None:
        self._giving = giving
        self._receiving = receiving
        self._graph = graph
        self._described = described
        self._section = section
        self._problems: list[Problem] = []
        self._shapes = dict(self._resolved(shapes))
        self._untaken: dict[TableName, tuple[str, ...]] = {}
        self._ungiven: dict[TableName, tuple[str, ...]] = {}

    def images(self) -> Images:
        """All of them, by the names of their tables."""
        found: dict[TableName, Image] = {}
        for placed in self._graph.tables:
            if placed.kind in _KINDS and (image := self._image(placed)) is not None:
                found[placed.table.name] = image
        self._check_ways(found)
        fed = {feed.table for image in found.values() for feed in image.feeds}
        alone = tuple(each.table.name for each in self._graph.tables if each.kind in _KINDS and self._is_alone(each))
        return Images(
            giving=self._giving,
            tables=tuple(found[name] for name in sorted(found)),
            problems=(*self._of_the_graph(set(alone)), *self._problems),
            receiving=self._receiving_graph(found),
            giving_side_view=self._view(found),
            left_alone=alone,
            untaken={name: columns for name, columns in self._untaken.items() if columns},
            ungiven={name: columns for name, columns in self._ungiven.items() if columns},
            unread=tuple(
                table.name for table in self._giving.tables if table.partition_of is None and table.name not in fed
            ),
        )

    # --- names --------------------------------------------------------------------------------

    def _resolved(self, shapes: Mapping[str, ShapeSection]) -> list[tuple[TableName, tuple[str, ShapeSection]]]:
        found: dict[TableName, tuple[str, ShapeSection]] = {}
        for entry, shape in shapes.items():
            line = self._line(entry)
            named = names.find(self._receiving, entry)
            table = named.tables[0] if named.is_exact and len(named.tables) == 1 else None
            if table is None:
                self._problem((), f"[{line}] names {entry}, which is no table there", self._closest(entry))
            elif (placed := self._graph.find(table)) is None or placed.table.name != table:
                self._problem((table,), f"[{line}] names a partition", f"name the table that {entry} is part of")
            elif placed.kind == "ignored":
                self._problem((table,), f"[{line}] names a table that is ignored", "take it out of tenants.ignored")
            elif table in found:
                self._problem((table,), f"{entry} is in two parts: {found[table][0]} and {entry}", "leave one of them")
            else:
                found[table] = entry, shape
        return list(found.items())

    def _closest(self, entry: str) -> str:
        close = names.guess(self._receiving, entry)
        return f"write [{self._line(close)}]" if close else f"take [{self._line(entry)}] out"

    def _line(self, entry: str) -> str:
        return f"{self._section}.{lines.key(entry)}"

    def _is_alone(self, placed: PlacedTable) -> bool:
        return placed.table.name not in self._shapes and placed.table.name not in self._giving.by_name

    # --- one table ----------------------------------------------------------------------------

    def _image(self, placed: PlacedTable) -> Image | None:
        if placed.table.name in self._shapes:
            return self._shaped(placed.table, *self._shapes[placed.table.name])
        own = self._giving.by_name.get(placed.table.name)
        if own is None:
            return None
        if own.partition_of is not None:
            fact = f"{self._shown(own.name)} is a table of its own, and a partition at the giving side"
            self._problem((own.name,), fact, self._proposed(placed.table, None))
            return None
        return self._by_name(placed.table, own)

    def _by_name(self, table: Table, own: Table) -> Image | None:
        """The columns that both have."""
        taken = [column for column in table.columns if self._is_taken(column, own)]
        key = key_of(table)
        if not self._is_whole(table, {column.name for column in taken}, self._proposed(table, own)):
            return None
        self._untaken[own.name] = tuple(
            column.name for column in own.columns if not table.has(column.name) and column.generated is None
        )
        types = {column.name: column.type for column in own.columns}
        feeds = (Feed(own.name, key.columns if key else ()),)
        return self._made(table, taken, _Given(types, feeds, self._shown(table.name), own=own))

    def _is_taken(self, column: Column, own: Table) -> bool:
        """A generated one only where both make it alike, since it is compared then."""
        if not own.has(column.name):
            return False
        there = own.column(column.name)
        alike = (there.generated, there.expression, there.type) == (column.generated, column.expression, column.type)
        return column.generated is None or alike

    def _shaped(self, table: Table, entry: str, shape: ShapeSection) -> Image | None:
        line, key = self._line(entry), key_of(table)
        if key is None:
            fact = f"{self._shown(table.name)} has no key, so a changed row of [{line}] could not be found again"
            self._problem((table.name,), fact, "give it a primary key, in green's revision")
            return None
        feeds = self._feeds(table, line, key.columns, shape)
        types: Mapping[str, str | None] | None = self._described.get(entry)
        if types is None:
            types = {column.name: None for column in table.columns if column.generated is None}
        if not self._is_fit(table, line, set(types)) or feeds is None:
            return None
        if not self._is_whole(table, set(types), f"[{line}] give it in the select"):
            return None
        taken = [column for column in table.columns if column.name in types]
        return self._made(table, taken, _Given(types, feeds, entry, select=shape.select))

    def _is_fit(self, table: Table, line: str, given: set[str]) -> bool:
        """Whether the SELECT gives nothing but what can be written to the table."""
        before = len(self._problems)
        for name in sorted(given):
            if not table.has(name):
                fact = f"[{line}] gives {name}, which {self._shown(table.name)} has not"
                self._problem((table.name,), fact, f"[{line}] take {name} out of the select")
            elif table.column(name).generated is not None:
                fact = f"[{line}] gives {name}, which {self._shown(table.name)} makes by itself"
                self._problem((table.name,), fact, f"[{line}] take {name} out of the select")
        return len(self._problems) == before

    def _is_whole(self, table: Table, given: set[str], cure: str) -> bool:
        """Whether a row can be written with these columns, and found again by its key."""
        shown, key = self._shown(table.name), key_of(table)
        missing = [name for name in (key.columns if key else ()) if name not in given]
        needed = [each.name for each in table.columns if lines.needs_value(each) and each.name not in given]
        if missing:
            self._problem((table.name,), f"{shown}.{columns_text(tuple(missing))} is its key, and is not given", cure)
        elif needed:
            fact = f"{shown}.{columns_text(tuple(needed))} may not be null, has no default, and is not given"
            self._problem((table.name,), fact, cure)
        return not (missing or needed)

    def _feeds(self, table: Table, line: str, key: tuple[str, ...], shape: ShapeSection) -> tuple[Feed, ...] | None:
        before, feeds = len(self._problems), list[Feed]()
        for entry, columns in shape.from_.items():
            found = names.find(self._giving, entry)
            own = self._giving.by_name[found.tables[0]] if found.is_exact and len(found.tables) == 1 else None
            if own is None:
                close = names.guess(self._giving, entry)
                cure = f"[{line}] from = {{ {lines.key(close or 'TABLE')} = {names.listed(columns)} }}"
                self._problem((table.name,), f"[{line}] is made from {entry}, which is no table", cure)
            elif own.partition_of is not None:
                cure = f"[{line}] name the table that it is part of, in from"
                self._problem((table.name,), f"[{line}] is made from {entry}, a partition", cure)
            elif unknown := [name for name in columns if not own.has(name)]:
                fact = f"[{line}] from names {entry}.{columns_text(tuple(unknown))}, which is no column"
                self._problem((table.name,), fact, f"[{line}] from = {{ {lines.key(entry)} = {_places(key)} }}")
            elif len(columns) != len(key):
                fact = f"[{line}] from names {len(columns)} columns of {entry}, and the key of "
                fact += f"{self._shown(table.name)} is {columns_text(key)}"
                self._problem((table.name,), fact, f"[{line}] from = {{ {lines.key(entry)} = {_places(key)} }}")
            else:
                feeds.append(Feed(own.name, tuple(columns)))
        return tuple(feeds) if len(self._problems) == before else None

    def _made(self, table: Table, taken: list[Column], given: _Given) -> Image | None:
        columns = tuple(carried(given.types[column.name], column) for column in taken)
        limited = _limited(table, columns)
        self._ungiven[table.name] = tuple(
            column.name for column in table.columns if column.generated is None and not limited.has(column.name)
        )
        line, own = self._line(given.entry), given.own
        if own is not None and all(is_as_it_is(given.types[column.name], column) for column in taken):
            shown = replace(limited, storage=own.storage, rows=own.rows, bytes=own.bytes)
            return Image(limited, shown, given.feeds, line)
        if key_of(table) is None:
            fact = f"{self._shown(table.name)} has no key, and its columns have other types at the giving side"
            self._problem((table.name,), fact, f"give {self._shown(table.name)} a primary key, in green's revision")
            return None
        values = (
            sql.SQL("{} AS {}").format(
                expression(given.types[column.name], column, sql.Identifier("s", column.name)),
                sql.Identifier(column.name),
            )
            for column in taken
        )
        image = sql.SQL("SELECT {} FROM {} AS s").format(sql.SQL(", ").join(values), given.source)
        return Image(limited, replace(limited, image=image), given.feeds, line, given.select)

    # --- the graphs ---------------------------------------------------------------------------

    def _check_ways(self, found: dict[TableName, Image]) -> None:
        """A row's tenant has to be found at the giving side, by the columns that are given."""
        for name in list(found):
            placed, table = self._graph[name], found[name].table
            way, line = placed.way, found[name].line
            needed = [way.key] if way.key else [c for step in (*way.steps, *way.climbs) for c in step.columns]
            missing = tuple(dict.fromkeys(column for column in needed if column and not table.has(column)))
            left = [step for step in way.steps if self._graph[step.table].table.name not in found]
            if missing:
                fact = f"{self._shown(name)}.{columns_text(missing)} says whose a row is, and is not given"
                self._problem((name,), fact, f"[{line}] give it in the select")
            for step in left:
                fact = f"{self._shown(name)} belongs to tenants by {columns_text(step.columns)} → "
                fact += f"{self._shown(step.table)}, which nothing is given for"
                parent = self._graph[step.table].table
                self._problem((name,), fact, self._proposed(parent, None))
        root = next((each for each in self._graph.tables if each.kind == "root"), None)
        if root is not None and self._is_alone(root):
            fact = f"{self._shown(root.table.name)} is the root table, and the giving side has none of that name"
            self._problem((root.table.name,), fact, self._proposed(root.table, None))

    def _of_the_graph(self, alone: set[TableName]) -> list[Problem]:
        """What is in the way of placing tables, but for those that are left alone."""
        return [each for each in self._graph.problems if not each.tables or not alone.issuperset(each.tables)]

    def _receiving_graph(self, found: dict[TableName, Image]) -> TableGraph:
        tables = tuple(
            replace(each, table=found[each.table.name].table)
            if each.table.name in found
            else replace(each, kind="ignored", why=self._why_alone(each), way=Way(), notes=())
            for each in self._graph.tables
        )
        by_name = {name: image.table for name, image in found.items()}
        catalog = replace(
            self._receiving, tables=tuple(by_name.get(table.name, table) for table in self._receiving.tables)
        )
        return replace(self._graph, catalog=catalog, tables=tables, copy_order=self._order(found), problems=())

    def _why_alone(self, placed: PlacedTable) -> str:
        return placed.why if placed.kind == "ignored" else "nothing is given for it"

    def _view(self, found: dict[TableName, Image]) -> TableGraph:
        tables = tuple(
            _shown(each, image, found, self._partitions(image))
            for each in self._graph.tables
            if (image := found.get(each.table.name)) is not None
        )
        catalog = Tables(
            tuple(sorted((part for each in tables for part in with_partitions(each)), key=lambda each: each.name)),
            self._receiving.search_path,
        )
        return replace(self._graph, catalog=catalog, tables=tables, copy_order=self._order(found), problems=())

    def _partitions(self, image: Image) -> tuple[Table, ...]:
        """Those of the giving side's own table."""
        return tuple(self._below(image.name)) if image.is_plain else ()

    def _below(self, name: TableName) -> list[Table]:
        own = [table for table in self._giving.tables if table.partition_of == name]
        return [part for table in own for part in (table, *self._below(table.name))]

    def _order(self, found: dict[TableName, Image]) -> tuple[tuple[TableName, ...], ...]:
        groups = (tuple(name for name in group if name in found) for group in self._graph.copy_order)
        return tuple(group for group in groups if group)

    # --- small words --------------------------------------------------------------------------

    def _proposed(self, table: Table, own: Table | None) -> str:
        return lines.proposed(self._section, table, own, (self._receiving, self._giving))

    def _problem(self, tables: tuple[TableName, ...], fact: str, cure: str) -> None:
        self._problems.append(Problem(tables, fact, cure))

    def _shown(self, name: TableName) -> str:
        return self._receiving.shown(name)


def _limited(table: Table, columns: tuple[Column, ...]) -> Table:
    """The table with these columns, and the keys and references that need no others."""
    own = {column.name for column in columns}
    return replace(
        table,
        columns=columns,
        uniques=tuple(each for each in table.uniques if own.issuperset(each.columns)),
        foreign_keys=tuple(each for each in table.foreign_keys if own.issuperset(each.columns)),
        sequences=tuple(each for each in table.sequences if each.column in own),
    )


def _shown(
    placed: PlacedTable, image: Image, found: Mapping[TableName, Image], partitions: tuple[Table, ...]
) -> PlacedTable:
    """The table as the giving side shows it: what is a text there refers as one."""
    plain = {key: _as_there(key, image.shown, found) for key in placed.table.foreign_keys}
    keys = tuple(plain[key] for key in image.shown.foreign_keys)
    steps, climbs = (tuple(plain.get(key, key) for key in keys) for keys in (placed.way.steps, placed.way.climbs))
    way = replace(placed.way, steps=steps, climbs=climbs)
    return replace(placed, table=replace(image.shown, foreign_keys=keys), way=way, partitions=partitions)


def _as_there(key: ForeignKey, own: Table, found: Mapping[TableName, Image]) -> ForeignKey:
    there = found[key.table].shown if key.table in found else own
    pairs = zip(key.columns, key.referenced_columns, key.operators, strict=True)
    operators = (
        PLAIN_EQUALITY if _is_text(own, mine) or _is_text(there, theirs) else operator
        for mine, theirs, operator in pairs
    )
    return replace(key, operators=tuple(operators))


def _is_text(table: Table, name: str) -> bool:
    return table.has(name) and is_text_there(table.column(name))


def _places(key: tuple[str, ...]) -> str:
    return f"[{', '.join(f'the column for {name}' for name in key)}]"
