"""Finds each table's kind from the catalogs and [tenants]; a pure function.

What [tenants] says of a table counts first. Then, in rounds, so that the shortest way wins:

1. A table with the tenant key is direct. So is one with a NOT NULL foreign key that carries the key: to the primary
   key of the root table, or a composite one that has the key in it. Two such columns are a question to the reader.
2. A table is indirect by a foreign key that no row can leave out to a table whose rows all have a tenant. Of several,
   a validated one is taken, then the first by name; the others become notes, since only the rows can tell whether
   they lead to the same tenant.
3. What is left may have rows without tenant. It is indirect by all its foreign keys to tables of tenants: a row
   belongs to whomever one of them leads to (one of several nullable references, a tree whose inner rows name only
   their parent). A single nullable column that carries the key makes it direct. More than MOST_WAYS are refused:
   their number multiplies from table to table, and the condition on a row with it.
4. The rest can't be placed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace

from shardwright.config import TenantsSection
from shardwright.pg.tables import ForeignKey, Table, TableName, Tables
from shardwright.transfer import names
from shardwright.transfer.graph import (
    OF_TENANTS,
    Kind,
    PlacedTable,
    Problem,
    TableGraph,
    Way,
    carried_key,
    columns_text,
    is_not_null,
    with_partitions,
)
from shardwright.transfer.notes import with_notes
from shardwright.transfer.order import parents_first

MOST_WAYS = 20


def table_graph(tables: Tables, section: TenantsSection) -> TableGraph:
    """The graph of `tables` as [tenants] has it, with everything in it that has to be mended."""
    return _Placing(tables, section).graph()


class _Placing:
    """One table after the other finds its place; what can't is in `problems`, each table once at most."""

    def __init__(self, tables: Tables, section: TenantsSection) -> None:
        self._catalog = tables
        self._section = section
        self._partitions: dict[TableName, list[Table]] = defaultdict(list)
        for table in tables.tables:
            if table.partition_of is not None:
                self._partitions[self._home(table.name)].append(table)
        self._tables = {table.name: table for table in tables.tables if table.partition_of is None}
        self._placed: dict[TableName, PlacedTable] = {}
        self.problems: list[Problem] = []

    def graph(self) -> TableGraph:
        """The graph; without a root table nothing in it is placed."""
        root = self._find_root()
        if root is not None:
            self._place_by_configuration(root)
            self._place_by_column()
            self._in_rounds(self._whole_way)
            self._in_rounds(self._partial_way)
            self._widen()
            self._refuse_too_many_ways()
            self._refuse_the_rest()
            self._refuse_shared_that_refer_to_tenants()
        unplaced = (PlacedTable(table, None, "") for name, table in self._tables.items() if name not in self._placed)
        placed = {each.table.name: each for each in (*self._placed.values(), *unplaced)}
        full = [replace(placed[name], partitions=tuple(self._partitions[name])) for name in self._tables]
        graph = TableGraph(self._catalog, tuple(full), self._copy_order(full), tuple(self.problems))
        return with_notes(graph, self._section.key)

    # --- what [tenants] says ------------------------------------------------------------------

    def _find_root(self) -> Table | None:
        entry = self._section.root
        found = names.find(self._catalog, entry).tables
        everything = tuple(self._tables)
        if not self._tables:
            self._problem((), "there is no table yet", "shardwright migrate")
        elif not found:
            line = f"under [tenants]: root = {names.quoted(names.guess(self._catalog, entry) or 'TABLE')}"
            self._problem(everything, f"tenants.root names {entry}, which is no table", line)
        elif len(found) > 1:
            several = [str(name) for name in found]
            fact = f"tenants.root names {entry}, and that is {' and '.join(several)}"
            self._problem(everything, fact, f"under [tenants]: root = {names.quoted(several[0])}")
        elif found[0] not in self._tables:
            self._problem(everything, *self._is_partition(entry, found[0], "root"))
        elif len(self._tables[found[0]].primary_key) != 1:
            has = "none" if not self._tables[found[0]].primary_key else "one of several columns"
            fact = f"{self._shown(found[0])} is the root table, so its primary key is the tenant's id, and it has {has}"
            self._problem(everything, fact, f"ALTER TABLE {found[0].identifier.as_string()} ADD PRIMARY KEY (…)")
        else:
            return self._tables[found[0]]
        return None

    def _is_partition(self, entry: str, name: TableName, key: str) -> tuple[str, str]:
        home = self._shown(self._home(name))
        fact = f"tenants.{key} names {entry}, a partition of {home}, and a partition is what its table is"
        return fact, f"write {names.quoted(home)} there, in its stead"

    def _place_by_configuration(self, root: Table) -> None:
        key = root.primary_key[0].name
        self._place(root.name, "root", "tenants.root names it", Way(key))
        claims: dict[TableName, list[tuple[bool, str, str]]] = defaultdict(list)
        lists = {"shared": self._section.shared, "ignored": self._section.ignored, "keys": self._section.keys}
        for where, entries in lists.items():
            for entry in entries:
                for name, is_exact in self._claimed(entry, where):
                    claims[name].append((is_exact, where, entry))
        for name, claimed in claims.items():
            exact = [claim for claim in claimed if claim[0]]
            self._place_claimed(name, exact or claimed, root)

    def _claimed(self, entry: str, where: str) -> Iterable[tuple[TableName, bool]]:
        found = names.find(self._catalog, entry)
        if not found.tables and found.is_exact:
            close = names.guess(self._catalog, entry)
            cure = f"write {names.quoted(close)} there" if close else f"take it out of tenants.{where}"
            self._problem((), f"tenants.{where} names {entry}, which is no table", cure)
        for name in found.tables:
            if name in self._tables:
                yield name, found.is_exact
            elif found.is_exact:
                self._problem((), *self._is_partition(entry, name, where))

    def _place_claimed(self, name: TableName, claims: list[tuple[bool, str, str]], root: Table) -> None:
        (is_exact, where, entry), *others = claims
        wheres = list(dict.fromkeys(claim[1] for claim in claims))
        if name == root.name:
            if is_exact:
                fact = f"{self._shown(name)} is named by tenants.root and by tenants.{where}"
                self._problem((), fact, f"take {names.quoted(entry)} out of tenants.{where}")
            return
        columns = {self._section.keys[claim[2]] for claim in claims if claim[1] == "keys"}
        if len(wheres) > 1 or len(columns) > 1:
            said = " and by ".join(f"tenants.{claim[1]} ({claim[2]})" for claim in (claims[0], *others))
            self._problem((name,), f"{self._shown(name)} is named by {said}", "leave it in one of them")
        elif where == "keys":
            self._place_by_named_column(name, columns.pop())
        else:
            kind: Kind = "shared" if where == "shared" else "ignored"
            self._place(name, kind, f"tenants.{where} names {entry}")

    def _place_by_named_column(self, name: TableName, column: str) -> None:
        if self._tables[name].has(column):
            self._place_direct(name, column, f"tenants.keys names {column}")
        else:
            fact = f"tenants.keys says that {column} is the tenant key of {self._shown(name)}, which has no such column"
            self._problem((name,), fact, f"under [tenants.keys]: {names.quoted(self._shown(name))} = COLUMN")

    # --- what the catalogs say ----------------------------------------------------------------

    def _place_by_column(self) -> None:
        for name, table in self._open():
            if table.has(self._section.key):
                self._place_direct(name, self._section.key, f"it has {self._section.key}")

    def _in_rounds(self, place: Callable[[Table], None]) -> None:
        """All tables again and again until none finds a place; a round sees what was placed before it."""
        before = -1
        while len(self._placed) > before:
            before = len(self._placed)
            self._seen = dict(self._placed)
            for _, table in self._open():
                place(table)

    def _whole_way(self, table: Table) -> None:
        steps = [step for step in self._steps(table) if is_not_null(table, step)]
        if self._place_by_carried_key(table, steps):
            return
        steps = [step for step in steps if self._at(step).way.is_whole]
        if steps:
            best = min(steps, key=lambda step: (not step.is_validated, step.name))
            self._place(table.name, "indirect", self._refers(best), Way(steps=(best,)))

    def _partial_way(self, table: Table) -> None:
        steps = self._steps(table)
        carrying = [step for step in steps if self._carried(step)]
        if len({self._carried(step) for step in carrying}) == 1 and len(carrying) < len(steps):
            carrying = []
        if not self._place_by_carried_key(table, carrying) and steps:
            why = " or ".join(map(self._refers, steps))
            self._place(table.name, "indirect", why, Way(steps=tuple(steps), is_whole=False))

    def _place_by_carried_key(self, table: Table, steps: list[ForeignKey]) -> bool:
        """Whether the tenant's id is in the table by these: it is direct then, or a problem where it is there twice."""
        carrying = {column: step for step in steps if (column := self._carried(step)) is not None}
        columns = sorted(carrying)
        if len(columns) == 1:
            self._place_direct(table.name, columns[0], self._refers(carrying[columns[0]]))
        elif columns:
            name = self._shown(table.name)
            fact = f"{name} names a tenant in {' and in '.join(columns)}, and a row belongs to one"
            lines = (f"{names.quoted(name)} = {names.quoted(column)}" for column in columns)
            self._problem((table.name,), fact, f"under [tenants.keys]: {', or '.join(lines)}")
        return bool(columns)

    def _carried(self, step: ForeignKey) -> str | None:
        return carried_key(step, self._at(step).way)

    def _widen(self) -> None:
        """A table whose rows may lack a tenant also takes the ways that were found after it, unless they lead back."""
        for placed in [each for each in self._placed.values() if each.kind == "indirect" and not each.way.is_whole]:
            name, table, steps = placed.table.name, placed.table, list(placed.way.steps)
            self._seen = dict(self._placed)
            for step in self._steps(table):
                if step not in steps and not self._leads_to(self._home(step.table), name):
                    steps.append(step)
            climbs = tuple(key for key in table.foreign_keys if self._home(key.table) == name)
            why = " or ".join(map(self._refers, steps))
            self._placed[name] = replace(placed, why=why, way=Way(steps=tuple(steps), climbs=climbs, is_whole=False))

    def _leads_to(self, start: TableName, end: TableName) -> bool:
        seen, ahead = set(), [start]
        while ahead:
            name = ahead.pop()
            if name == end:
                return True
            if name not in seen:
                seen.add(name)
                ahead += [self._home(step.table) for step in self._placed[name].way.steps]
        return False

    def _steps(self, table: Table) -> list[ForeignKey]:
        """The foreign keys that lead to a table of tenants placed before this round; never to the table itself."""
        ahead = (key for key in table.foreign_keys if self._home(key.table) != table.name)
        return [key for key in ahead if (there := self._seen.get(self._home(key.table))) and there.is_of_tenants]

    # --- what can't be placed -----------------------------------------------------------------

    def _refuse_too_many_ways(self) -> None:
        """Whoever leads to such a table has as many ways itself, so none is left that would need it."""
        above = {name: [self._home(step.table) for step in each.way.steps] for name, each in self._placed.items()}
        ways: dict[TableName, int] = {}
        for (name,) in parents_first(above):
            ways[name] = sum(ways[each] for each in above[name]) or 1
        if many := sorted(name for name, count in ways.items() if count > MOST_WAYS):
            shown, most = ", ".join(map(self._shown, many)), max(ways.values())
            for name in many:
                del self._placed[name]
            fact = f"{shown}: a row may belong to a tenant in up to {most} ways, each of which may be null"
            line = f"under [tenants]: {self._line('ignored', many)}"
            self._problem(tuple(many), fact, f"add the column {self._section.key} to the table; or {line}")

    def _refuse_the_rest(self) -> None:
        refused = {name for problem in self.problems for name in problem.tables}
        while waiting := [name for name, table in self._open() if self._refers_to(table, refused)]:
            refused.update(waiting)
            shown = ", ".join(map(self._shown, waiting))
            self._problem(tuple(waiting), f"what {shown} refers to can't be placed", "mend that first")
        rest = [name for name, _ in self._open()]
        needed = self._needed(rest)
        if alike := [name for name in rest if name in needed]:
            self._refuse(alike, "and others refer to", self._line("shared", alike))
        if alone := [name for name in rest if name not in needed]:
            self._refuse(
                alone, "and nothing refers to", f"{self._line('ignored', alone)} or {self._line('shared', alone)}"
            )

    def _refuse(self, unplaced: list[TableName], referred: str, line: str) -> None:
        shown = ", ".join(map(self._shown, unplaced))
        them, have = ("it", "has") if len(unplaced) == 1 else ("them", "have")
        way = f"no {self._section.key} and no foreign key that leads to {self._section.root}"
        fact = f"{shown} {have} {way}, {referred} {them}"
        cure = f"under [tenants]: {line}; or under [tenants.keys]: {names.quoted(self._shown(unplaced[0]))} = COLUMN"
        self._problem(tuple(unplaced), fact, cure)

    def _needed(self, rest: list[TableName]) -> set[TableName]:
        """Those of `rest` that tables of tenants or shared ones refer to, or others of these."""
        holders = [name for name, placed in self._placed.items() if placed.kind != "ignored"]
        needed: set[TableName] = set()
        while holders:
            ahead = {self._home(key.table) for name in holders for key in self._tables[name].foreign_keys}
            holders = sorted((ahead & set(rest)) - needed)
            needed.update(holders)
        return needed

    def _refuse_shared_that_refer_to_tenants(self) -> None:
        for name, placed in list(self._placed.items()):
            keys = [key for each in (placed.table, *self._partitions[name]) for key in each.foreign_keys]
            wrong = next((key for key in keys if self._kind(key) in OF_TENANTS), None)
            if placed.kind == "shared" and wrong is not None:
                del self._placed[name]
                fact = f"{self._shown(name)} is shared, and {self._refers(wrong)}, whose rows belong to tenants"
                rest = [entry for entry in self._section.shared if names.find(self._catalog, entry).tables != (name,)]
                self._problem((name,), fact, f"under [tenants]: shared = {names.listed(rest)}")

    def _line(self, key: str, more: list[TableName]) -> str:
        """The line of [tenants] with `more` tables in it than now."""
        present: tuple[str, ...] = getattr(self._section, key)
        return f"{key} = {names.listed([*present, *map(self._shown, more)])}"

    def _refers_to(self, table: Table, others: set[TableName]) -> bool:
        return table.name not in others and any(self._home(key.table) in others for key in table.foreign_keys)

    def _problem(self, tables: tuple[TableName, ...], fact: str, cure: str) -> None:
        self.problems.append(Problem(tables, fact, cure))

    # --- small words --------------------------------------------------------------------------

    def _open(self) -> list[tuple[TableName, Table]]:
        """The tables that are neither placed nor a problem."""
        refused = {name for problem in self.problems for name in problem.tables}
        return [each for each in self._tables.items() if each[0] not in self._placed and each[0] not in refused]

    def _place(self, name: TableName, kind: Kind, why: str, way: Way = Way()) -> None:  # noqa: B008 frozen
        self._placed[name] = PlacedTable(self._tables[name], kind, why, way)

    def _place_direct(self, name: TableName, key: str, why: str) -> None:
        self._place(name, "direct", why, Way(key, is_whole=self._tables[name].column(key).is_not_null))

    def _home(self, name: TableName) -> TableName:
        """The table that `name` is a partition of, at the top; else itself."""
        while (
            parent := self._catalog.by_name[name].partition_of if name in self._catalog.by_name else None
        ) is not None:
            name = parent
        return name

    def _at(self, step: ForeignKey) -> PlacedTable:
        return self._seen[self._home(step.table)]

    def _kind(self, key: ForeignKey) -> Kind | None:
        placed = self._placed.get(self._home(key.table))
        return placed.kind if placed else None

    def _refers(self, key: ForeignKey) -> str:
        return f"{columns_text(key.columns)} refers to {self._shown(key.table)}"

    def _shown(self, name: TableName) -> str:
        return self._catalog.shown(name)

    def _copy_order(self, placed: list[PlacedTable]) -> tuple[tuple[TableName, ...], ...]:
        parents = {
            each.table.name: [self._home(key.table) for table in with_partitions(each) for key in table.foreign_keys]
            for each in placed
            if each.is_of_tenants
        }
        return tuple(parents_first(parents))
