"""The sequences that columns draw from: their steps, bounds and positions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psycopg

from shardwright.pg.queries import load
from shardwright.pg.tables import Table, TableName

_queries = load(__package__, "sequences.sql")


@dataclass(frozen=True)
class Sequence:
    """Where a sequence stands, and what it will give: `next`, next + increment, and so on within bounds.

    `ceiling` is the highest number that its type holds.
    """

    name: TableName
    increment: int
    lowest: int
    highest: int
    cycles: bool
    ceiling: int
    last: int
    is_called: bool

    @cached_property
    def next(self) -> int:
        """The number it gives next."""
        return self.last + self.increment if self.is_called else self.last

    def meets(self, other: Sequence) -> bool:
        """Whether the two may give one number."""
        if max(self.lowest, other.lowest) > min(self.highest, other.highest):
            return False
        if self.cycles or other.cycles:
            return True
        return (self.next - other.next) % math.gcd(self.increment, other.increment) == 0


def read_sequences(
    connection: psycopg.Connection[Any], tables: Iterable[Table]
) -> dict[tuple[TableName, str], Sequence]:
    """The sequence of each column of `tables` that draws from one: owned, identity, or named in its default.

    Raises psycopg.Error.
    """
    rows = connection.execute(_queries["of_columns"], _named(table.name for table in tables)).fetchall()
    found = {}
    for schema, table, column, space, name, *numbers in rows:
        found[TableName(schema, table), column] = _sequence(connection, TableName(space, name), numbers)
    return found


def of_no_column(connection: psycopg.Connection[Any]) -> list[Sequence]:
    """The sequences that no column draws from, as far as the catalogs know; none of ours, or of an extension's."""
    found = connection.execute(_queries["of_no_column"]).fetchall()
    return [_sequence(connection, TableName(space, name), numbers) for space, name, *numbers in found]


def read_lasts(connection: psycopg.Connection[Any], sequences: Iterable[TableName]) -> dict[TableName, int]:
    """How far each of these sequences has come; one that is not there is left out. Raises psycopg.Error."""
    found = connection.execute(_queries["which_are_there"], _named(sequences)).fetchall()
    return {name: _position(connection, name)[0] for name in (TableName(*row) for row in found)}


def _named(names: Iterable[TableName]) -> dict[str, list[str]]:
    names = list(names)
    return {"schemas": [each.schema for each in names], "names": [each.name for each in names]}


def _sequence(connection: psycopg.Connection[Any], name: TableName, numbers: list[Any]) -> Sequence:
    last, is_called = _position(connection, name)
    increment, lowest, highest, cycles, ceiling = numbers
    return Sequence(name, increment, lowest, highest, cycles, ceiling, last, is_called)


def _position(connection: psycopg.Connection[Any], name: TableName) -> tuple[int, bool]:
    row = connection.execute(_queries["position"].format(sequence=name.identifier)).fetchone()
    assert row is not None  # noqa: S101 a sequence has one row
    return row[0], row[1]
