"""How one side of a blue-green change shows the tables of the other: frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from psycopg import sql

from shardwright.pg.tables import Table, TableName, Tables
from shardwright.transfer.graph import Problem, TableGraph


@dataclass(frozen=True)
class Feed:
    """A table of the giving side whose changes change an image; `key` are its columns that make the image's key."""

    table: TableName
    key: tuple[str, ...]


@dataclass(frozen=True)
class Image:
    """A table of the receiving side, and how the giving side shows it.

    `table` has only the columns that are given; `shown` is the same table as it is written after FROM at the giving
    side. `select` is the user's, `line` the part of the configuration that tells of the table.
    """

    table: Table
    shown: Table
    feeds: tuple[Feed, ...]
    line: str
    select: str | None = None

    @property
    def name(self) -> TableName:
        """The receiving table's name."""
        return self.table.name

    @property
    def is_plain(self) -> bool:
        """Whether the giving side has the table itself, with these columns."""
        return self.shown.image is None


@dataclass(frozen=True)
class Images:
    """What one side gives the other: a table each, by name; what stands in the way; and the graphs of both sides.

    `receiving` is the receiving side's graph without the tables that get nothing; they are ignored there, and named
    by `left_alone`. `giving_side_view` is the same graph as the giving side shows it: conditions on rows of the
    receiving tables are written for the giving side with it. `untaken` are columns of the giving side that no image
    takes, as far as that can be told without reading a SELECT; `unread` its tables that feed none; `ungiven` the
    columns of receiving tables that have their defaults.
    """

    giving: Tables = field(repr=False)
    tables: tuple[Image, ...]
    problems: tuple[Problem, ...]
    receiving: TableGraph = field(repr=False)
    giving_side_view: TableGraph = field(repr=False)
    left_alone: tuple[TableName, ...] = ()
    untaken: Mapping[TableName, tuple[str, ...]] = field(default_factory=dict)
    ungiven: Mapping[TableName, tuple[str, ...]] = field(default_factory=dict)
    unread: tuple[TableName, ...] = ()

    @cached_property
    def by_name(self) -> Mapping[TableName, Image]:
        """Each image under the receiving table's name."""
        return {image.name: image for image in self.tables}

    def fed_by(self, table: TableName) -> tuple[tuple[Image, Feed], ...]:
        """The images that a change of this table of the giving side changes."""
        return tuple((image, feed) for image in self.tables for feed in image.feeds if feed.table == table)


def within(select: str) -> sql.Composable:
    """The user's SQL as part of a query. A semicolon at its end would end that, and a comment the line."""
    return sql.SQL("(\n{}\n)").format(sql.SQL(select.strip().rstrip(";")))
