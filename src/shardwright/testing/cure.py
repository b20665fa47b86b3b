"""The least that makes a database again what it was: decided from one look, and given as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shardwright.testing.baseline import Baseline, Filled, Look, Name, Position

Way = Literal["untouched", "emptied", "copied"]


@dataclass(frozen=True)
class Cure:
    """Rows to delete, tables to fill anew, sequences to set back; `copied` needs the database made anew instead."""

    way: Way
    empty: tuple[Name, ...] = ()
    trim: tuple[Name, ...] = ()
    refill: tuple[Filled, ...] = ()
    sequences: tuple[tuple[Name, Position], ...] = ()


UNTOUCHED = Cure("untouched")
COPIED = Cure("copied")


def decide(baseline: Baseline, found: Look) -> Cure:
    """The cheapest cure that is enough for what was found."""
    if found.schema_differs or found.settings != baseline.settings:
        return COPIED
    filled = list(zip(baseline.filled, found.filled, strict=True))
    refill = tuple(table for table, counts in filled if counts.old != table.rows)
    trim = tuple(table for table, counts in filled if counts.old == table.rows < counts.all)
    if any(table.contents is None for table in refill) or any(table.is_view for table in trim):
        return COPIED
    cure = Cure(
        "emptied",
        empty=tuple(name for name, has_rows in zip(baseline.empty, found.has_rows, strict=True) if has_rows),
        trim=tuple(table.name for table in trim),
        refill=refill,
        sequences=tuple(
            (name, was)
            for (name, was), now in zip(baseline.sequences.items(), found.positions, strict=True)
            if was != now
        ),
    )
    return cure if cure.empty or cure.trim or cure.refill or cure.sequences else UNTOUCHED
