"""The lanes of a change: what goes each way between a blue and a green shard, and what each shard notes for that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from shardwright.bluegreen.shapes.images import Images
from shardwright.pg.tables import TableName
from shardwright.transfer.everyone import Note, Watch, Watched
from shardwright.transfer.graph import TableGraph
from shardwright.transfer.scope import MovedTable, Scope, key_columns
from shardwright.transfer.whose import Between, OneTenant


@dataclass(frozen=True)
class Lane:
    """One blue and one green shard with tenants between them: what is brought `there`, and `back`.

    Without `back`, there is no way back: what green writes stays there.
    """

    number: int
    blue: str
    green: str
    there: Scope = field(repr=False)
    back: Scope | None = field(repr=False)

    @property
    def pair(self) -> tuple[str, str]:
        """The names of both shards."""
        return self.blue, self.green

    def of_tenant(self, tenant: str, *, to_green: bool) -> Scope:
        """The rows of one tenant, for the proof that they have come."""
        scope = self.there if to_green else self.back
        assert scope is not None  # noqa: S101 nobody goes home where there is no way
        return Scope(
            scope.move, OneTenant(tenant), scope.graph, scope.giving, scope.numbers, scope.lane, foreign=scope.foreign
        )


@dataclass(frozen=True)
class Schemas:
    """The tables of both sets, and how each shows the other's; `back` is None where there is no way back."""

    blue: TableGraph = field(repr=False)
    green: TableGraph = field(repr=False)
    there: Images = field(repr=False)
    back: Images | None = field(repr=False)

    @cached_property
    def numbers(self) -> tuple[TableName, ...]:
        """Every table of either, in the order by which both sides number what is made for it."""
        graphs = (self.blue, self.green)
        return tuple(sorted({each.table.name for graph in graphs for each in graph.tables}))

    def lanes(self, change: int, pairs: Iterable[tuple[str, str]]) -> tuple[Lane, ...]:
        """A lane for each pair. Shared rows come to a shard by its first lane alone."""
        lanes, filled = [], set[str]()
        for number, (blue, green) in enumerate(pairs, 1):
            is_first_of = {name: name not in filled for name in (blue, green)}
            filled.update((blue, green))
            there = self._scope(
                change, Between(change, blue, green, at_green=False), self.there, self.back, number,
                shared=is_first_of[green],
            )  # fmt: skip
            back = None
            if self.back is not None:
                back = self._scope(
                    change, Between(change, blue, green, at_green=True), self.back, self.there, number,
                    shared=is_first_of[blue],
                )  # fmt: skip
            lanes.append(Lane(number, blue, green, there, back))
        return tuple(lanes)

    def _scope(
        self, change: int, whose: Between, images: Images, others: Images | None, lane: int, *, shared: bool
    ) -> Scope:
        return Scope(
            change, whose, images.receiving, images.giving_side_view, self.numbers, lane, shared,
            foreign=frozenset(_foreign(images, others)),
        )  # fmt: skip

    def watch(self, change: int, *, blue: bool, lanes: Sequence[int]) -> Watch:
        """What a shard of one side notes: keys of what it gives, and those of its own rows where they are others."""
        gives, takes = (self.there, self.back) if blue else (self.back, self.there)
        graph = self.blue if blue else self.green
        queues = self._all_tables(change, gives)
        changed = tuple(table for table in self._all_tables(change, takes) if not table.notes_itself)
        notes = dict[TableName, list[Note]]()
        for table in queues:
            assert gives is not None  # noqa: S101 what is given has images
            for feed in gives.by_name[table.name].feeds:
                notes.setdefault(feed.table, []).append(Note(table.queue, feed.key))
        for table in changed:
            key = tuple(column.name for column in table.key)
            notes.setdefault(table.name, []).append(Note(table.changed, key))
        # Whoever takes rows guards them as well, though it may have nothing to give.
        guarded = [*notes, *(each.name for each in self._all_tables(change, takes) if each.name not in notes)]
        watched = tuple(
            Watched(self.numbers.index(name), graph[name], tuple(notes.get(name, ()))) for name in sorted(guarded)
        )
        return Watch(change, graph, watched, queues, changed, tuple(lanes))

    def _all_tables(self, change: int, images: Images | None) -> tuple[MovedTable, ...]:
        """The tables of either direction, shared ones too; of which shards does not matter."""
        if images is None:
            return ()
        others = self.back if images is self.there else self.there
        scope = self._scope(change, Between(change, "", "", at_green=False), images, others, 0, shared=True)
        return scope.tables


def _foreign(images: Images, others: Images | None) -> Iterator[TableName]:
    """The tables that get something, and by whose keys their own side gives nothing back."""
    for image in images.tables:
        own = others.by_name.get(image.name) if others is not None else None
        key = tuple(column.name for column in key_columns(image.table))
        if own is None or not own.is_plain or own.feeds[0].key != key:
            yield image.name


def groups(lanes: Sequence[Lane]) -> list[tuple[Lane, ...]]:
    """Lanes that share a shard together: what one of them brings and forgets, the others need as well."""
    found: list[list[Lane]] = []
    for lane in lanes:
        joined: list[Lane] = [lane]
        for group in [each for each in found if any({*other.pair} & {*lane.pair} for other in each)]:
            joined = [*group, *joined]
            found.remove(group)
        found.append(joined)
    return [tuple(sorted(group, key=lambda each: each.number)) for group in found]


def by_shard(lanes: Iterable[Lane], *, blue: bool) -> Mapping[str, tuple[Lane, ...]]:
    """The lanes of each shard of one side."""
    found: dict[str, tuple[Lane, ...]] = {}
    for lane in lanes:
        name = lane.blue if blue else lane.green
        found[name] = (*found.get(name, ()), lane)
    return found
