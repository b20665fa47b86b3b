"""Rows of one side that are looked at by their keys, each column by its hash."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import psycopg
from psycopg import sql

from shardwright.bluegreen.shapes.carry import type_there
from shardwright.pg.tables import Column, Table
from shardwright.transfer.keys import key_of
from shardwright.transfer.scope import hash_of_columns

Key: TypeAlias = tuple[str | None, ...]
Hashes: TypeAlias = dict[Key, tuple[int | None, ...]]


@dataclass(frozen=True)
class Seen:
    """One table as one side has it: what to write after FROM, and the columns that tell its rows apart."""

    table: Table
    key: tuple[Column, ...]
    is_shown: bool  # by the giving side, where some types are others

    @classmethod
    def of(cls, table: Table, *, is_shown: bool) -> Seen:
        """The table, or image, by its own key; without one no row is found."""
        key = key_of(table)
        return cls(table, tuple(table.column(name) for name in key.columns) if key else (), is_shown)

    def by(self, columns: tuple[str, ...]) -> Seen:
        """The same by other columns."""
        return Seen(self.table, tuple(self.table.column(name) for name in columns), self.is_shown)

    def keys(self, connection: psycopg.Connection[Any], condition: sql.Composable, most: int) -> list[Key]:
        """The keys of so many rows for which `condition` on `r` is true."""
        query = sql.SQL("SELECT {} FROM {} AS r WHERE {} LIMIT {}").format(
            self.named, self.table.source, condition, sql.Literal(most)
        )
        return connection.execute(query).fetchall() if self.key else []

    def columns_of(
        self, connection: psycopg.Connection[Any], keys: Collection[Key], columns: tuple[str, ...]
    ) -> list[Key]:
        """These columns as text, of the rows under `keys`."""
        texts = sql.SQL(", ").join(as_text(sql.Identifier("r", name)) for name in columns)
        return connection.execute(self.under(keys, texts)).fetchall() if keys else []

    def hashes(self, connection: psycopg.Connection[Any], keys: Collection[Key] | None) -> list[tuple[Any, ...]]:
        """The key and the hash of each column, of the rows under `keys`, or of all."""
        hashed = (hash_of_columns("r", (column,)) for column in self.table.columns)
        what = sql.SQL("{}, {}").format(self.named, sql.SQL(", ").join(hashed))
        if keys is None:
            return connection.execute(sql.SQL("SELECT {} FROM {} AS r").format(what, self.table.source)).fetchall()
        return connection.execute(self.under(keys, what)).fetchall() if keys else []

    def told_apart(self, rows: list[tuple[Any, ...]]) -> Hashes:
        """What `hashes` gave, by key."""
        return {tuple(row[: len(self.key)]): tuple(row[len(self.key) :]) for row in rows}

    def under(self, keys: Collection[Key], what: sql.Composable) -> sql.Composed:
        """A query of the rows `r` under these keys."""
        return sql.SQL("SELECT {} FROM {} JOIN {} AS r ON {}").format(
            what, given(keys), self.table.source, self.is_given("r")
        )

    def is_given(self, row: str) -> sql.Composable:
        """A condition: the row has the `given` key."""
        return sql.SQL(" AND ").join(
            sql.SQL("{} {} {}::{}").format(
                sql.Identifier(row, column.name),
                sql.SQL(column.equality),
                sql.Identifier("given", f"v{place}"),
                sql.SQL(type_there(column) if self.is_shown else column.type),
            )
            for place, column in enumerate(self.key, 1)
        )

    @property
    def named(self) -> sql.Composable:
        """The key of row `r`, as texts."""
        return sql.SQL(", ").join(as_text(sql.Identifier("r", column.name)) for column in self.key)


def as_text(value: sql.Composable) -> sql.Composable:
    """The value, as its type writes it."""
    return sql.SQL("{}::pg_catalog.text").format(value)


def given(keys: Collection[Key]) -> sql.Composable:
    """What to write after FROM for these keys, as columns v1, v2, … of `given`. Literals, since COPY binds none."""
    lists = list(_lists(keys))
    names = sql.SQL(", ").join(sql.Identifier(f"v{place}") for place in range(1, len(lists) + 1))
    return sql.SQL("unnest({}) AS given ({})").format(sql.SQL(", ").join(lists), names)


def _lists(keys: Collection[Key]) -> Iterator[sql.Composable]:
    for values in zip(*sorted(keys, key=repr), strict=True):
        yield sql.SQL("{}::pg_catalog.text[]").format(sql.Literal(list(values)))
