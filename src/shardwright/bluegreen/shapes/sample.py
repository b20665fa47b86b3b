"""The round trip, tried on some rows of some tenants: blue to an empty green shard, and back; nothing of it stays.

Green's own constraints take the rows or refuse them; then every column is compared by its hash: as blue shows it and as
green has it, and as blue has it and as green would give it back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg import sql

from shardwright.bluegreen.shapes.images import Feed, Image, Images
from shardwright.bluegreen.shapes.shape_checks import LOSSY, ONE_WAY
from shardwright.bluegreen.shapes.trial import trial
from shardwright.bluegreen.shapes.tried_rows import Hashes, Key, Seen, given
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.said import counted
from shardwright.pg.faults import explain
from shardwright.pg.tables import Column, ForeignKey, TableName
from shardwright.transfer.graph import PlacedTable, TableGraph, columns_text
from shardwright.transfer.rows import joined, rows_of_tenant
from shardwright.transfer.stream import stream

ROWS: Final = 300
_SHARED_ROWS: Final = 10_000  # of a shared table, since rows of all tenants may need any of them
_REPLICA: Final = "SET LOCAL session_replication_role = replica"


@dataclass(frozen=True)
class Tried:
    """How many rows of each green table were tried, and what was found."""

    rows: dict[str, int]
    findings: tuple[Finding, ...]


def round_trip(
    blue: psycopg.Connection[Any],
    green: psycopg.Connection[Any],
    forward: Images,
    back: Images | None,
    tenants: Sequence[str],
    *,
    rows: int = ROWS,
) -> Tried:
    """Tries up to `rows` rows a table (more of shared ones) of these tenants; both sessions in autocommit.

    `green` is a shard without rows, and no one else's while this goes on. Without `back`, or where that has problems,
    only the way there is tried. What does not come back as it was is an error that LOSSY lets pass. Raises
    psycopg.Error where a session breaks.
    """
    if forward.problems:
        return Tried({}, ())
    found = _Trip(blue, green, forward, None if back is None or back.problems else back, tenants, rows)
    return Tried(found.brought, tuple(found.go()))


@dataclass
class _Trip:
    blue: psycopg.Connection[Any]
    green: psycopg.Connection[Any]
    forward: Images
    back: Images | None
    tenants: Sequence[str]
    rows: int
    brought: dict[str, int] = field(default_factory=dict)
    failed: set[TableName] = field(default_factory=set)
    wanted: dict[TableName, set[Key]] = field(default_factory=dict)
    shown: dict[TableName, Hashes] = field(default_factory=dict)

    def go(self) -> Iterator[Finding]:
        """Everything that is found."""
        with ExitStack() as stack:
            stack.enter_context(trial(self.blue, self.forward.giving))
            stack.enter_context(trial(self.green, self.forward.receiving.catalog, writes=True))
            try:
                with self.green.transaction():
                    self.green.execute(_REPLICA)
            except psycopg.errors.InsufficientPrivilege:
                cure = "GRANT SET ON PARAMETER session_replication_role TO the role, by a superuser"
                yield Finding("error", "round-trip", "no row can be tried: the role may not write as a replica", cure)
                return
            try:
                with self.blue.transaction():
                    homes = self._choose()
            except psycopg.Error as error:
                if self.blue.closed:
                    raise
                yield Finding("error", "round-trip", f"no rows of a tenant can be found: {_told(error)}")
                return
            for image in self._in_order():
                yield from self._there(image)
            if self.back is not None:
                for image in self.back.tables:
                    yield from self._home(self.back, image, homes.get(image.name, set()))
        yield from self._fickle()

    # --- which rows -----------------------------------------------------------------------------

    def _choose(self) -> dict[TableName, set[Key]]:
        """Keys of blue rows that are to come home; in `wanted` those of all images that they feed, and some more."""
        for image in self.forward.tables:
            self.wanted[image.name] = self._some(Seen.of(image.shown, is_shown=True), self.forward.giving_side_view)
        homes: dict[TableName, set[Key]] = {}
        for each in self.back.tables if self.back else ():
            assert self.back is not None  # noqa: S101 it has tables
            own = Seen.of(each.table, is_shown=False)
            keys = homes[each.name] = self._some(own, self.back.receiving)
            table = Seen(self.forward.giving.by_name[each.name], own.key, is_shown=False)
            for image, feed in self.forward.fed_by(each.name):
                self.wanted[image.name].update(table.columns_of(self.blue, keys, feed.key) if feed.key else ())
        return homes

    def _some(self, seen: Seen, graph: TableGraph) -> set[Key]:
        placed: PlacedTable = graph[seen.table.name]
        if not placed.is_of_tenants:
            return set(seen.keys(self.blue, sql.SQL("true"), max(self.rows, _SHARED_ROWS)))
        each = -(-self.rows // max(len(self.tenants), 1))
        conditions = (rows_of_tenant(graph, seen.table.name, sql.Literal(tenant)) for tenant in self.tenants)
        return {key for condition in conditions for key in seen.keys(self.blue, condition, each)}

    def _in_order(self) -> list[Image]:
        """Shared tables, then parents first."""
        places = {name: place for place, group in enumerate(self.forward.receiving.copy_order) for name in group}
        return sorted(self.forward.tables, key=lambda image: places.get(image.name, -1))

    # --- the way there --------------------------------------------------------------------------

    def _there(self, image: Image) -> Iterator[Finding]:
        keys, shown = self.wanted[image.name], Seen.of(image.shown, is_shown=True)
        if not keys:
            return
        try:
            with self.blue.transaction(), self.green.transaction():
                self.brought[self._shown(image)] = self._bring(image, shown, keys)
            with self.blue.transaction():
                yield from self._compared(image, shown, keys)
                yield from self._references(image, shown, keys)
        except psycopg.Error as error:
            if self.blue.closed or self.green.closed:
                raise
            self.failed.add(image.name)
            fact = f"[{image.line}] a row can't be written to {self._shown(image)}: {_told(error)}"
            yield Finding("error", "round-trip", fact, f"[{image.line}] a select whose rows fit")
            return
        for feed_less in self._without_feed(image):
            fact = f"[{image.line}] gives the key {_key(feed_less)}, which no table in its from has: "
            fact += "its changes would not be found"
            yield Finding(
                "error", "round-trip", fact, f"[{image.line}] from = the columns that make the key, unchanged"
            )

    def _bring(self, image: Image, shown: Seen, keys: Collection[Key]) -> int:
        copied = [column for column in image.table.columns if column.generated is None]
        columns = sql.SQL(", ").join(sql.Identifier("r", column.name) for column in copied)
        names = sql.SQL(", ").join(sql.Identifier(column.name) for column in copied)
        form = sql.SQL("BINARY" if all(column.is_portable for column in copied) else "TEXT")
        rows = shown.under(keys, columns)
        return stream(self.blue, rows, self.green, image.name.identifier, names, form).rows

    def _compared(self, image: Image, shown: Seen, keys: Collection[Key]) -> Iterator[Finding]:
        ours = self.shown[image.name] = shown.told_apart(shown.hashes(self.blue, keys))
        arrived = Seen.of(image.table, is_shown=False)
        theirs = arrived.told_apart(arrived.hashes(self.green, None))
        if missing := ours.keys() - theirs.keys():
            fact = f"[{image.line}] {counted(len(missing), 'row')} did not arrive in {self._shown(image)} (first: "
            yield Finding("error", "round-trip", f"{fact}{_first(missing)})", "a trigger or a rule there swallows them")
        for column, wrong in _different(image.table.columns, ours, theirs):
            fact = f"[{image.line}] {self._shown(image)}.{column.name} is not in green what blue shows, in "
            fact += f"{counted(len(wrong), 'row')} (first at {_first(wrong)})"
            cure = f"[{image.line}] a select that gives the value as {column.type} has it, the same each time"
            yield Finding("error", "round-trip", fact, cure)

    def _references(self, image: Image, shown: Seen, keys: Collection[Key]) -> Iterator[Finding]:
        """Foreign keys are not checked by what writes as a replica."""
        as_shown = self.forward.giving_side_view[image.name].table.foreign_keys
        for key, key_there in zip(image.table.foreign_keys, as_shown, strict=True):
            if not key.is_validated or self._is_kept_by_blue(image, key):
                continue
            parent = self.forward.giving_side_view.find(key.table)
            side, own = (self.blue, shown) if parent else (self.green, Seen.of(image.table, is_shown=False))
            source = parent.table.source if parent else key.table.identifier
            query = sql.SQL("{} WHERE {} AND NOT EXISTS (SELECT FROM {} AS p WHERE {}) LIMIT 1").format(
                own.under(keys, own.named),
                sql.SQL(" AND ").join(sql.SQL("{} IS NOT NULL").format(sql.Identifier("r", c)) for c in key.columns),
                source,
                joined(key_there if parent else key, "p", "r"),
            )
            row = side.execute(query).fetchone()
            if row is not None:
                there = self.forward.receiving.catalog.shown(key.table)
                fact = f"[{image.line}] {self._shown(image)}.{columns_text(key.columns)} refers to no row of {there} "
                yield Finding("error", "round-trip", f"{fact}(first at {_key(row)})", f"[{image.line}] or [{there}]")

    def _is_kept_by_blue(self, image: Image, key: ForeignKey) -> bool:
        parent = self.forward.by_name.get(key.table)
        own = self.forward.giving.by_name.get(image.name)
        if own is None or parent is None or image.select is not None or parent.select is not None:
            return False
        alike = ((each.columns, each.table, each.referenced_columns, each.is_validated) for each in own.foreign_keys)
        return (key.columns, key.table, key.referenced_columns, True) in alike

    def _without_feed(self, image: Image) -> list[Key]:
        """One key that is in no feed."""
        if image.select is None:
            return []
        missing = set(self.shown[image.name])
        for feed in image.feeds:
            missing -= self._in_feed(feed, missing)
        return sorted(missing, key=repr)[:1]

    def _in_feed(self, feed: Feed, keys: Collection[Key]) -> set[Key]:
        if not keys:
            return set()
        table = self.forward.giving.by_name[feed.table]
        seen = Seen.of(table, is_shown=False).by(feed.key)
        values = sql.SQL(", ").join(sql.Identifier("given", f"v{place}") for place in range(1, len(feed.key) + 1))
        as_texts = sql.SQL(" AND ").join(
            sql.SQL("{}::pg_catalog.text OPERATOR(pg_catalog.=) {}").format(
                sql.Identifier("r", name), sql.Identifier("given", f"v{place}")
            )
            for place, name in enumerate(feed.key, 1)
        )
        for condition in (seen.is_given("r"), as_texts):
            query = sql.SQL("SELECT {} FROM {} WHERE EXISTS (SELECT FROM {} AS r WHERE {})").format(
                values, given(keys), table.source, condition
            )
            try:
                with self.blue.transaction():
                    return set(self.blue.execute(query).fetchall())
            except (psycopg.DataError, psycopg.ProgrammingError):
                continue  # a key of another feed is none of this one's type
        return set()

    # --- the way home ---------------------------------------------------------------------------

    def _home(self, back: Images, image: Image, keys: set[Key]) -> Iterator[Finding]:
        if not keys or any(feed.table in self.failed for feed in image.feeds):
            return
        own, shown = Seen.of(image.table, is_shown=False), Seen.of(image.shown, is_shown=True)
        try:
            with self.green.transaction():
                theirs = shown.told_apart(shown.hashes(self.green, None))
        except psycopg.Error as error:
            if self.green.closed:
                raise
            fact = f"[{image.line}] the rows for {image.name} can't be made: {_told(error)}"
            yield Finding("error", "round-trip", fact, f"[{image.line}] a select that can", allow=ONE_WAY)
            return
        ours = own.told_apart(own.hashes(self.blue, keys))
        shown_name, cure = back.receiving.catalog.shown(image.name), f"[{image.line}] a select that gives it back"
        for column, wrong in _different(image.table.columns, ours, theirs):
            fact = f"{shown_name}.{column.name} comes back as another value in {len(wrong)} of "
            fact += f"{counted(len(ours), 'row')} (first at {_first(wrong)})"
            yield Finding("error", "round-trip", fact, cure, allow=LOSSY)
        if missing := ours.keys() - theirs.keys():
            fact = f"{shown_name}: {len(missing)} of {counted(len(ours), 'row')} would not come back (first: "
            yield Finding("error", "round-trip", f"{fact}{_first(missing)})", cure, allow=LOSSY)
        if extra := (added := theirs.keys() - ours.keys()) - set(own.columns_of(self.blue, added, _names(own.key))):
            fact = f"{shown_name}: {counted(len(extra), 'row')} would come back that blue has not (first: "
            yield Finding("error", "round-trip", f"{fact}{_first(extra)})", cure, allow=LOSSY)

    # --- once more ------------------------------------------------------------------------------

    def _fickle(self) -> Iterator[Finding]:
        """Values that are others in the next transaction: now(), random()."""
        with trial(self.blue, self.forward.giving):
            for image in self.forward.tables:
                before = self.shown.get(image.name, {})
                if image.select is None or not before:
                    continue
                shown = Seen.of(image.shown, is_shown=True)
                now = shown.told_apart(shown.hashes(self.blue, list(before)))
                for column, wrong in _different(image.table.columns, before, now):
                    if len(wrong) == len(before.keys() & now.keys()):
                        fact = f"[{image.line}] gives another {column.name} each time it is asked"
                        yield Finding(
                            "error", "round-trip", fact, f"[{image.line}] a value that hangs on the row alone"
                        )

    def _shown(self, image: Image) -> str:
        return self.forward.receiving.catalog.shown(image.name)


def _different(columns: Sequence[Column], ours: Hashes, theirs: Hashes) -> Iterator[tuple[Column, list[Key]]]:
    """Each column that is not the same on both sides, with the keys of those rows."""
    both = ours.keys() & theirs.keys()
    for place, column in enumerate(columns):
        if wrong := [key for key in both if ours[key][place] != theirs[key][place]]:
            yield column, wrong


def _told(error: psycopg.Error) -> str:
    """With the value that did not fit, where the server names it."""
    context = (error.diag.context or "").partition("\n")[0]
    return explain(error).reason + (f" ({context})" if context else "")


def _first(keys: Collection[Key]) -> str:
    return _key(min(keys, key=repr))


def _key(key: Key) -> str:
    return columns_text(tuple(str(value) for value in key))


def _names(columns: Sequence[Column]) -> tuple[str, ...]:
    return tuple(column.name for column in columns)
