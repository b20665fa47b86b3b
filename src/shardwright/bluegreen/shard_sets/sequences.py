"""Sequences of blue and green shards that draw at the same time, and never the same number.

The promise, for every column of a table of tenants that draws from a sequence:

- No green shard draws a number that a blue shard has drawn, or that rows of a blue shard hold, or that a blue shard
  will draw while `room_left` gives more than 0: green begins above a floor, and blue goes on below it.
- No two green shards draw the same number.
- The other way, from `raise_home` on, the same with the sides changed: no blue shard draws what green has drawn or will
  draw while there is room. Blue keeps its own increments and ranges, so what held among blue shards holds again.

Numbers that a session has cached (CACHE) count as drawn, for the sequence stands behind them. The promise does not
cover numbers that the application gives itself after `raise_sequences`, nor somebody's setval().
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import psycopg
from psycopg import sql

from shardwright import errors
from shardwright.bluegreen.shapes.images import Images
from shardwright.bluegreen.shard_sets.numbering import Given, Plan, Refusal, Room, Start, alike, deal, keep, unfit
from shardwright.catalog.ask import ask_each
from shardwright.move.preflight.finding import Finding
from shardwright.pg.connect import connect
from shardwright.pg.queries import load
from shardwright.pg.sequences import Sequence as Numbers
from shardwright.pg.sequences import of_no_column, read_lasts, read_sequences
from shardwright.pg.tables import Table, TableName, Tables, read_tables
from shardwright.shard import Shard
from shardwright.transfer.graph import PlacedTable, with_partitions
from shardwright.transfer.scope import key_columns

Column: TypeAlias = tuple[TableName, str]
Elsewhere: TypeAlias = Mapping[Column, Sequence[Column]]

_queries = load(__package__, "sequences.sql")
_NAME = "shardwright bluegreen"
_SETTINGS = {"lock_timeout": "2s", "statement_timeout": "5min"}
_CEILINGS: Final = {"smallint": (1 << 15) - 1, "integer": (1 << 31) - 1, "bigint": (1 << 63) - 1}
_CHECK: Final = "sequences"


def numbers_from(images: Images) -> dict[Column, list[Column]]:
    """The giving columns that the numbers of a receiving key come from, where they are not those of its own name."""
    found: dict[Column, list[Column]] = {}
    for image in images.tables:
        if image.select is None:
            continue
        for place, column in enumerate(key_columns(image.table)):
            found[image.name, column.name] = [(feed.table, feed.key[place]) for feed in image.feeds]
    return found


@dataclass(frozen=True)
class RoomLeft:
    """How much of a room the giving shards have used: numbers, not draws; with none left two shards may meet."""

    room: Room
    used: int
    left: int


@dataclass(frozen=True)
class _Side:
    """What one shard says of its sequences."""

    shard: Shard
    sequences: Mapping[Column, Numbers]
    held: Mapping[Column, int]


def raise_sequences(
    blue: Sequence[Shard],
    green: Sequence[Shard],
    tables: Sequence[PlacedTable],
    *,
    elsewhere: Elsewhere | None = None,
    room: int | None = None,
    connections_per_host: int = 4,
) -> tuple[Room, ...]:
    """Green draws as this module's first lines promise; gives the rooms that are left to blue, to be kept for
    `room_left`.

    `tables`: those of green's graph that are filled from blue, of tenants and shared; of shared ones all green shards
    go on with the same number. `elsewhere`: the blue columns whose numbers a green column gets, where they are not
    those of its own name. `room` in numbers; by itself a million, a quarter of what was drawn where that is more,
    never more than a quarter of what is left. Repeatable, also to make more room: nothing is ever lowered.
    Raises SequencesRefused, psycopg.Error; nothing is changed by the former.
    """
    work = _Work(blue, green, tables, elsewhere or {}, room, connections_per_host)
    return work.carry_out(deal)


def raise_home(
    green: Sequence[Shard],
    blue: Sequence[Shard],
    tables: Sequence[PlacedTable],
    *,
    elsewhere: Elsewhere | None = None,
    room: int | None = None,
    connections_per_host: int = 4,
) -> tuple[Room, ...]:
    """As `raise_sequences` for the way back, before the first tenant goes home: `tables` of blue's graph, filled from
    green.

    Blue's sequences keep increment, remainder and range; writers there do not wait.
    """
    return _Work(green, blue, tables, elsewhere or {}, room, connections_per_host).carry_out(keep)


def room_left(shards: Sequence[Shard], rooms: Sequence[Room], *, connections_per_host: int = 4) -> list[RoomLeft]:
    """How far the giving `shards` have come in their `rooms`, the narrowest first. Raises psycopg.Error."""
    wanted = {name for room in rooms for name in room.sources}
    lasts = ask_each(shards, lambda shard: _lasts(shard, wanted), connections_per_host=connections_per_host)
    found = []
    for room in rooms:
        drawn = [lasts[shard][name] for shard in room.shards for name in room.sources if name in lasts[shard]]
        last = max(drawn, default=room.base)
        found.append(RoomLeft(room, max(0, last - room.base), room.floor - last))
    return sorted(found, key=lambda each: each.left)


def check_sequences(
    giving: Sequence[Shard],
    receiving: Sequence[Shard],
    tables: Sequence[PlacedTable],
    *,
    elsewhere: Elsewhere | None = None,
    home: bool = False,
    connections_per_host: int = 4,
) -> list[Finding]:
    """Why sequences could not be raised, and those that are left alone; changes nothing.

    `receiving` may be empty, before there are such shards: then only the giving side is looked at. Raises
    psycopg.Error.
    """
    work = _Work(giving, receiving, tables, elsewhere or {}, None, connections_per_host)
    refused = [*work.unfit(), *work.refusals(keep if home else deal)] if receiving else work.unfit()
    facts = {(each.fact, each.cure, each.shard): None for each in refused}
    found = [Finding("error", _CHECK, fact, cure, shard) for fact, cure, shard in facts]
    return found + _left_alone((*giving, *receiving), connections_per_host)


class _Work:
    """Plans for the sequences of some tables, from what the shards of both sides say."""

    def __init__(
        self,
        giving: Sequence[Shard],
        receiving: Sequence[Shard],
        tables: Sequence[PlacedTable],
        elsewhere: Elsewhere,
        room: int | None,
        connections_per_host: int,
    ) -> None:
        self._room = room
        self._limit = connections_per_host
        self._receiving = receiving
        self._tables = {table.name: (table, placed) for placed in tables for table in with_partitions(placed)}
        own = [table for table, _ in self._tables.values()]
        self._theirs = ask_each(receiving, lambda shard: _read(shard, own), connections_per_host=connections_per_host)
        columns = {column for side in self._theirs.values() for column in side.sequences}
        if not receiving:
            columns = {(table.name, column.name) for table in own for column in table.columns}
        self._sources = {column: tuple(elsewhere.get(column, (column,))) for column in columns}
        wanted = {source for sources in self._sources.values() for source in sources}
        self._given = ask_each(giving, lambda shard: _draws(shard, wanted), connections_per_host=connections_per_host)

    def carry_out(self, way: Callable[..., Plan]) -> tuple[Room, ...]:
        """The receiving sequences are raised. Raises SequencesRefused, psycopg.Error."""
        plans, refused = self._plans(way)
        if refused:
            raise errors.SequencesRefused(findings="\n".join(f"{each.fact}; {each.cure}" for each in refused))
        todo: dict[str, list[Start]] = defaultdict(list)
        for start in (start for plan in plans for start in plan.starts):
            todo[start.shard].append(start)
        present = {name: {each.name: each for each in side.sequences.values()} for name, side in self._theirs.items()}
        ask_each(
            self._receiving,
            lambda shard: _set(shard, todo[shard.name], present[shard.name]),
            connections_per_host=self._limit,
        )
        return tuple(room for plan in plans for room in plan.rooms)

    def refusals(self, way: Callable[..., Plan]) -> list[Refusal]:
        """Why sequences can't be raised."""
        return self._plans(way)[1]

    def unfit(self) -> list[Refusal]:
        """The giving sequences of which nothing can be said."""
        seen = ((name, each) for name, side in self._given.items() for each in side.sequences.values())
        return [why for name, each in seen if (why := unfit(name, each))]

    def _plans(self, way: Callable[..., Plan]) -> tuple[list[Plan], list[Refusal]]:
        plans, refused = [], []
        for columns in self._together():
            numbers = {
                name: next(side.sequences[column] for column in columns if column in side.sequences)
                for name, side in self._theirs.items()
            }
            act = alike if self._is_shared(columns) and way is deal else way
            try:
                plans.append(act(self._givens(columns), numbers, ceiling=self._ceiling(columns), room=self._room))
            except Refusal as why:
                refused.append(why)
        return plans, refused

    def _together(self) -> Iterator[list[Column]]:
        """The receiving columns that draw from one sequence, which each receiving shard has."""
        columns: dict[TableName, list[Column]] = defaultdict(list)
        for column in sorted(self._sources):
            sides = [side.sequences.get(column) for side in self._theirs.values()]
            if any(each is None for each in sides):
                lacking = [name for name, side in self._theirs.items() if column not in side.sequences]
                table, name = column
                fact = f"{table}.{name} draws from a sequence, and not on {', '.join(lacking)}"
                raise errors.SequencesRefused(findings=f"{fact}; shardwright check shows how the schemas differ")
            columns[next(each.name for each in sides if each)].append(column)
        yield from columns.values()

    def _givens(self, columns: Sequence[Column]) -> list[Given]:
        found = []
        for name, side in self._given.items():
            sources = [source for column in columns for source in self._sources[column]]
            sequences = {side.sequences[each].name: side.sequences[each] for each in sources if each in side.sequences}
            held = max((side.held[each] for each in sources if each in side.held), default=None)
            found.append(Given(name, tuple(sequences.values()), held))
        return found

    def _ceiling(self, columns: Sequence[Column]) -> int:
        types = (self._tables[table][0].column(column).type for table, column in columns)
        return min(_CEILINGS.get(kind, _CEILINGS["bigint"]) for kind in types)

    def _is_shared(self, columns: Sequence[Column]) -> bool:
        return all(self._tables[table][1].kind == "shared" for table, _ in columns)


def _read(shard: Shard, tables: Sequence[Table]) -> _Side:
    with connect(shard.url, application_name=_NAME, settings=_SETTINGS) as connection:
        return _Side(shard, read_sequences(connection, tables), {})


def _draws(shard: Shard, columns: set[Column]) -> _Side:
    """Those of `columns` that the shard has: their sequences, and the highest numbers in them."""
    with connect(shard.url, application_name=_NAME, settings=_SETTINGS) as connection:
        tables = read_tables(connection)
        here = {each for each in columns if each[0] in tables.by_name and tables.by_name[each[0]].has(each[1])}
        sequences = read_sequences(connection, [tables.by_name[name] for name in sorted({name for name, _ in here})])
        drawn = {column: numbers for column, numbers in sequences.items() if column in here}
        held = {column: most for column in here if (most := _most(connection, tables, column, drawn)) is not None}
        return _Side(shard, drawn, held)


def _most(
    connection: psycopg.Connection[Any], tables: Tables, column: Column, drawn: Mapping[Column, Numbers]
) -> int | None:
    """The highest number in a column within its sequence's range; asked only where an index has the answer."""
    table, name = tables.by_name[column[0]], column[1]
    is_number = table.column(name).type in _CEILINGS
    if not is_number or not any(key.columns[:1] == (name,) and not key.is_partial for key in table.uniques):
        return None
    numbers = drawn.get(column)
    low, high = (numbers.lowest, numbers.highest) if numbers else (-_CEILINGS["bigint"], _CEILINGS["bigint"])
    query = _queries["most"].format(
        column=sql.Identifier("r", name), table=table.source, low=sql.Literal(low), high=sql.Literal(high)
    )
    row = connection.execute(query).fetchone()
    return None if row is None else row[0]


def _set(shard: Shard, starts: Sequence[Start], present: Mapping[TableName, Numbers]) -> None:
    with connect(shard.url, application_name=_NAME, settings=_SETTINGS) as connection:
        for start in starts:
            after, name = start.as_set, start.sequence.name
            before = present[name]
            values = {"name": name.identifier, "first": sql.Literal(start.first)}
            if (after.increment, after.lowest, after.highest) == (before.increment, before.lowest, before.highest):
                # No ALTER, whose lock waits for every transaction that has drawn: there may be writers.
                text = sql.Literal(name.identifier.as_string(connection))
                connection.execute(_queries["go_on"].format(text=text, **values))
            else:
                bounds = {"lowest": sql.Literal(after.lowest), "highest": sql.Literal(after.highest)}
                step = sql.Literal(after.increment)
                connection.execute(_queries["go_on_otherwise"].format(step=step, **bounds, **values))


def _lasts(shard: Shard, wanted: set[TableName]) -> dict[TableName, int]:
    with connect(shard.url, application_name=_NAME, settings=_SETTINGS) as connection:
        return read_lasts(connection, wanted)


def _left_alone(shards: Sequence[Shard], limit: int) -> list[Finding]:
    """A warning for each sequence that no column draws from: only the application knows what its numbers are."""

    def ask(shard: Shard) -> list[Numbers]:
        with connect(shard.url, application_name=_NAME, settings=_SETTINGS) as connection:
            return of_no_column(connection)

    return [
        Finding(
            "warning",
            _CHECK,
            f"no column draws from {each.name}, which is at {each.next:,}: it is not raised, and not kept in step",
            f"at the switch, where it is to go on: SELECT setval({_text(each.name)}, …)",
            shard,
        )
        for shard, found in ask_each(shards, ask, connections_per_host=limit).items()
        for each in found
    ]


def _text(name: TableName) -> str:
    return sql.Literal(name.identifier.as_string()).as_string()
