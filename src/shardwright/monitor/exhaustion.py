"""What is about to run out on a shard: the numbers of sequences and of integer keys, transaction ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from psycopg import sql

from shardwright.pg.queries import load
from shardwright.pg.tables import TableName

Kind = Literal["sequence", "column", "key", "transactions", "multixacts"]
_queries = load(__package__, "exhaustion.sql")
_KEYS_AT_ONCE = 200
_AGE_LIMIT = 2**31  # beyond which PostgreSQL could not tell old from new; it refuses writes shortly before
AGED = 0.5  # autovacuum holds it at a tenth where it can work, so that half is late already
_SHOWN = 5
_NARROW = (2**15 - 1, 2**31 - 1)


@dataclass(frozen=True)
class Exhaustion:
    """Something that will run out: `used` of it is gone (0 to 1), `left` are to come until `limit`.

    `kind`: a sequence by its own bounds; a column too narrow for the sequence whose numbers it holds; a key that
    somebody else gives out; the database's transaction ids, or multixacts.
    """

    shard: str
    kind: Kind
    name: str
    used: float
    left: int
    limit: int
    fact: str
    cure: str

    def as_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {**vars(self), "used": round(self.used, 4)}


@dataclass(frozen=True)
class Exhaustions:
    """What one shard said: what runs out, and the sequences and keys that could not be read."""

    found: tuple[Exhaustion, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def blind(self) -> str | None:
        """What could not be read, in words."""
        if not self.unreadable:
            return None
        more = f" and {len(self.unreadable) - _SHOWN} more" if len(self.unreadable) > _SHOWN else ""
        return f"its role may not read {', '.join(self.unreadable[:_SHOWN])}{more}, so how far they are is not known"


def exhaustions(connection: psycopg.Connection[Any], shard: str, threshold: float) -> Exhaustions:
    """What is used up by `threshold` (0 to 1) or more; transaction ids by half. Raises psycopg.Error."""
    sequences, dark = _sequences(connection, shard)
    keys, hidden = _keys(connection, shard)
    near = (each for each in (*sequences, *keys) if each.used >= threshold)
    aged = (each for each in _ages(connection, shard) if each.used >= min(threshold, AGED))
    return Exhaustions((*near, *aged), (*dark, *hidden))


def _sequences(connection: psycopg.Connection[Any], shard: str) -> tuple[list[Exhaustion], list[str]]:
    found: list[Exhaustion] = []
    dark = []
    for schema, name, *numbers, may_read, last, table_schema, table, column, ceiling in connection.execute(
        _queries["sequences"]
    ):
        sequence = TableName(schema, name)
        if not may_read:
            dark.append(f"sequence {sequence}")
        if last is None:
            continue
        holder = (TableName(table_schema, table), column, ceiling) if column is not None else None
        found += _of_sequence(shard, sequence, numbers, last, holder)
    return found, dark


def _of_sequence(
    shard: str, name: TableName, numbers: Sequence[Any], last: int, holder: tuple[TableName, str, int] | None
) -> Iterator[Exhaustion]:
    """By its own bounds, unless it begins again there; and by the column that its numbers are written to."""
    increment, lowest, highest, cycles = numbers
    if not cycles:
        end = highest if increment > 0 else lowest
        start = lowest if increment > 0 else highest
        cure = _lengthen(name, end, holder)
        fact = f"sequence {name} is at {last} of {end}"
        yield _used(
            shard, "sequence", str(name), gone=abs(last - start), whole=abs(end - start), step=abs(increment),
            limit=end, fact=fact, cure=cure,
        )  # fmt: skip
    if holder is not None and increment > 0 and holder[2] < highest:
        table, column, ceiling = holder
        fact = f"{table}.{column} holds numbers up to {ceiling}, and its sequence {name} is at {last}"
        yield _used(
            shard, "column", f"{table}.{column}", gone=last, whole=ceiling, step=increment, limit=ceiling,
            fact=fact, cure=_widen(table, column),
        )  # fmt: skip


def _lengthen(name: TableName, end: int, holder: tuple[TableName, str, int] | None) -> str:
    """What gives it more numbers: a wider type where its own is at its end, else other bounds."""
    sequence = f"ALTER SEQUENCE {name.identifier.as_string()}"
    if end not in _NARROW:
        return f"{sequence} {'MAXVALUE' if end > 0 else 'MINVALUE'} …"
    return f"{_widen(*holder[:2])}; then: {sequence} AS bigint" if holder else f"{sequence} AS bigint"


def _used(
    shard: str, kind: Kind, name: str, *, gone: int, whole: int, limit: int, fact: str, cure: str, step: int = 1
) -> Exhaustion:
    left = max(0, whole - gone) // step
    return Exhaustion(shard, kind, name, max(0.0, gone / whole) if whole else 1.0, left, limit, fact, cure)


def _widen(table: TableName, column: str) -> str:
    name = sql.Identifier(column).as_string()
    return f"ALTER TABLE {table.identifier.as_string()} ALTER {name} TYPE bigint, by a revision"


def _keys(connection: psycopg.Connection[Any], shard: str) -> tuple[list[Exhaustion], list[str]]:
    keys = [(TableName(row[0], row[1]), *row[2:]) for row in connection.execute(_queries["keys"]).fetchall()]
    hidden = [f"{table}.{column}" for table, column, _, may_read in keys if not may_read]
    readable = [each[:3] for each in keys if each[3]]
    found = []
    for start in range(0, len(readable), _KEYS_AT_ONCE):
        part = readable[start : start + _KEYS_AT_ONCE]
        for place, highest in connection.execute(_highest(part)):
            table, column, ceiling = part[place]
            if highest is not None and highest > 0:
                fact = f"{table}.{column} is at {highest} of {ceiling}"
                name, cure = f"{table}.{column}", _widen(table, column)
                found.append(
                    _used(shard, "key", name, gone=highest, whole=ceiling, limit=ceiling, fact=fact, cure=cure)
                )
    return found, hidden


def _highest(keys: Iterable[tuple[TableName, str, int]]) -> sql.Composed:
    """One statement for all: each is a look at the end of an index."""
    each = (
        _queries["highest"].format(place=sql.Literal(place), column=sql.Identifier(column), table=table.identifier)
        for place, (table, column, _) in enumerate(keys)
    )
    return sql.SQL(" UNION ALL ").join(each)


def _ages(connection: psycopg.Connection[Any], shard: str) -> Iterator[Exhaustion]:
    row = connection.execute(_queries["ages"]).fetchone()
    assert row is not None  # noqa: S101 the database we are in
    kinds: tuple[tuple[Kind, str, int], ...] = (
        ("transactions", "transaction", row[0]), ("multixacts", "multixact", row[1])
    )  # fmt: skip
    for kind, word, age in kinds:
        fact = f"its oldest {word} is {age} old of {_AGE_LIMIT}, and autovacuum does not freeze it"
        cure = "end long transactions, prepared ones and unused replication slots there; then: VACUUM (FREEZE)"
        yield _used(shard, kind, word, gone=age, whole=_AGE_LIMIT, limit=_AGE_LIMIT, fact=fact, cure=cure)
