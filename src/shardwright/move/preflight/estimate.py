"""How much a move has to carry, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from shardwright.move.preflight.ground import Ground, Side
from shardwright.transfer.graph import PlacedTable

# What a copy and its comparison get done in a second on one pair of connections, from a server that keeps its indexes
# on slow disks to one that has all in memory.
_ROWS_A_SECOND: Final = (15_000, 150_000)
_BYTES_A_SECOND: Final = (10e6, 80e6)
_STEPS: Final = 0.5, 5.0  # seconds for what every move does: triggers, catch-up, switch, clean-up
_ROUND_TRIPS: Final = 12  # within the write gap, on each side
_GAP: Final = 0.010  # seconds: the last drain of a tenant that writes little


@dataclass(frozen=True)
class TableEstimate:
    """What the tenant has in one table. `is_counted`: else the planner's guess, since counting took too long."""

    table: str
    rows: int
    bytes: int
    is_counted: bool = True


@dataclass(frozen=True)
class Estimate:
    """What a move carries. `seconds` is a band, from fast to slow servers; `write_gap` in seconds."""

    tables: tuple[TableEstimate, ...]
    seconds: tuple[float, float]
    write_gap: float

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(each.rows for each in self.tables)

    @property
    def bytes(self) -> int:
        """Of all tables, with what their indexes take."""
        return sum(each.bytes for each in self.tables)

    def as_dict(self) -> dict[str, Any]:
        """The estimate as `--json` prints it."""
        return {
            "rows": self.rows,
            "bytes": self.bytes,
            "seconds": [round(each, 1) for each in self.seconds],
            "write_gap": round(self.write_gap, 3),
            "tables": [asdict(each) for each in self.tables],
        }


def estimate(ground: Ground) -> Estimate:
    """The tenant's rows and bytes in each table, and from them the time. Counts the rows on the source.

    Bytes are the table's own, by the tenant's share of its rows. Raises psycopg.Error.
    """
    tables = tuple(_of_table(ground, placed) for placed in ground.tables)
    rows, size = sum(each.rows for each in tables), sum(each.bytes for each in tables)
    return Estimate(tables, seconds_for(rows, size), write_gap(ground.sides))


def seconds_for(rows: int, size: int) -> tuple[float, float]:
    """How long it takes to copy so much and compare it, on fast servers and on slow ones."""
    slow, fast = (
        max(rows / per_row, size / per_byte) for per_row, per_byte in zip(_ROWS_A_SECOND, _BYTES_A_SECOND, strict=True)
    )
    return fast + _STEPS[0], slow + _STEPS[1]


def write_gap(sides: Sequence[Side]) -> float:
    """For how many seconds a tenant that writes little can't write, by the round trips to both.

    Raises psycopg.Error.
    """
    return _GAP + sum(map(_round_trip, sides)) * _ROUND_TRIPS


def _of_table(ground: Ground, placed: PlacedTable) -> TableEstimate:
    query = sql.SQL("FROM {} AS r WHERE {}").format(placed.table.source, ground.is_of_tenant(placed.table.name))
    side, is_counted = ground.source_side, True
    try:
        rows = int(side.one(sql.SQL("SELECT count(*) {}").format(query))[0])
    except psycopg.errors.QueryCanceled:
        ((plan,),) = side.ask(sql.SQL("EXPLAIN (FORMAT JSON) SELECT {}").format(query))
        rows, is_counted = int(plan[0]["Plan"]["Plan Rows"]), False
    whole = max(placed.rows, rows, 1)
    return TableEstimate(side.shown(placed.table.name), rows, placed.bytes * rows // whole, is_counted)


def _round_trip(side: Side) -> float:
    """The shortest of three, in seconds."""

    def times() -> Iterator[float]:
        for _ in range(3):
            started = time.perf_counter()
            side.ask(sql.SQL("SELECT"))
            yield time.perf_counter() - started

    return min(times())
