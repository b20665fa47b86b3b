"""How findings name things: lists that end, counts that may not have been counted to the end, names in SQL."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import sql

NAMED = 5


def listed(names: Iterable[object], most: int = NAMED) -> str:
    """`a, b, c`; of more than `most`: `a, b and 7 more`."""
    every = [str(name) for name in names]
    rest = len(every) - most
    return ", ".join(every[:most]) + (f" and {rest} more" if rest > 0 else "")


def counted(count: int, noun: str, most: int | None = None) -> str:
    """`1 row`, `3 rows`; `more than 1,000 rows` where it was counted no further than `most`."""
    if most is not None and count > most:
        return f"more than {most:,} {noun}s"
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def quoted(*name: str) -> str:
    """The name as SQL has it."""
    return sql.Identifier(*name).as_string()


def script(statements: Iterable[str]) -> str:
    """Statements one after the other."""
    return "; ".join(statements)
