"""Shares: a large table in as many parts as are copied at once, the same ones after a death.

By where the rows lie, a part for each stretch of blocks: each block is read once, and streams that write do not meet in
the same leaves of an index. A row that changes lies elsewhere from then on, and so may come into another share, but is
noted in the queue as well; that goes for as long as the table keeps its files, which VACUUM FULL and CLUSTER take from
it. Where the giving side shows the rows by a SELECT, or keeps them in something else than a heap, they are shared out
by a hash of their keys, and all of them are read for each share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from psycopg import sql

from shardwright.transfer.scope import MovedTable

_COUNTS = 1 << 12


@dataclass(frozen=True)
class Share:
    """Number `place` of `count`; of so many `blocks` each where they go by place, else None."""

    count: int
    place: int
    blocks: int | None = None

    @classmethod
    def all(cls, count: int, pages: int | None) -> list[Self]:
        """A whole table of so many pages in its largest partition; None where rows can't be told by their place."""
        blocks = None if pages is None else max(-(-pages // count), 1)
        return [cls(count, place, blocks) for place in range(count)]

    @classmethod
    def of(cls, number: int) -> Self:
        """The share that the ledger has under that number."""
        rest, place = divmod(-number, _COUNTS)
        blocks, count = divmod(rest, _COUNTS)
        return cls(count, place, blocks or None)

    @property
    def siblings(self) -> list[Self]:
        """All shares of the table."""
        return [type(self)(self.count, place, self.blocks) for place in range(self.count)]

    @property
    def number(self) -> int:
        """Under which the ledger has it: below that of any other part, and different for each way to share out."""
        return -(((self.blocks or 0) * _COUNTS + self.count) * _COUNTS + self.place)

    def has(self, table: MovedTable, row: str = "r") -> sql.Composable:
        """A condition: the row belongs to it."""
        if self.blocks is None:
            hashed, count = table.hash_of_key(row), sql.Literal(self.count)
            return sql.SQL("({} % {n} + {n}) % {n} = {}").format(hashed, sql.Literal(self.place), n=count)
        at = sql.Identifier(row, "ctid")
        first, after = (sql.SQL("{}::pg_catalog.tid").format(sql.Literal(f"({each * self.blocks},0)"))
                        for each in (self.place, self.place + 1))  # fmt: skip
        conditions = [sql.SQL("{} >= {}").format(at, first)]
        if self.place + 1 < self.count:  # the last one has what was added since, too
            conditions.append(sql.SQL("{} < {}").format(at, after))
        return sql.SQL(" AND ").join(conditions)
