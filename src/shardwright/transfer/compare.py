"""Compare: whether two shards hold the same rows of the tenant, by count and by hash; it knows nothing of the copy.

Every row is hashed on its own server, generated columns too, and the hashes are added up: in whatever order rows lie,
equal sums and counts mean equal rows. Where they differ, the same by buckets of keys leads to the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from shardwright.transfer.drain import make_room
from shardwright.transfer.scope import MovedTable, Scope
from shardwright.transfer.sessions import hold
from shardwright.transfer.stream import stream

_BUCKETS = 4096
_EXAMPLES = 10


@dataclass(frozen=True)
class TableProof:
    """One table on one side: rows that were compared, their hash, and how many keys were left out as changed since; a
    table without a key is left out whole, and counts as one."""

    table: str
    rows: int
    hash: str
    left_out: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The proof as the certificate holds it."""
        return dict(vars(self))


@dataclass(frozen=True)
class TableDifference:
    """A table that differs, with the first keys: missing at the target, too many there, or with other values."""

    table: str
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    different: tuple[str, ...]

    def __str__(self) -> str:
        words = {"missing": self.missing, "extra": self.extra, "different": self.different}
        told = (f"{word}: {', '.join(keys)}" for word, keys in words.items() if keys)
        return f"{self.table}: {'; '.join(told) or 'rows without a key differ'}"


@dataclass(frozen=True)
class Comparison:
    """Both sides, table by table, and what differs."""

    source: tuple[TableProof, ...]
    target: tuple[TableProof, ...]
    differences: tuple[TableDifference, ...]

    @property
    def is_equal(self) -> bool:
        """Whether both hold the same rows."""
        return self.source == self.target

    @property
    def rows(self) -> int:
        """How many rows were compared."""
        return sum(proof.rows for proof in self.source)


def compare(
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    scope: Scope,
    *,
    done: Callable[[int], None] = lambda _: None,
) -> Comparison:
    """Both sides as the two sessions see them; `done` is told how many tables are compared. Raises psycopg.Error."""
    proofs: list[tuple[TableProof, TableProof]] = []
    hold(source)  # which may have done with a table long before the other has
    with ThreadPoolExecutor(1, thread_name_prefix="compare") as pool:
        for table in scope.tables:
            there = pool.submit(_prove, target, table, None)
            proofs.append((_prove(source, table.here, None), there.result()))
            done(len(proofs))
    return _comparison(scope, source, target, proofs, {})


def compare_frozen(
    frozen: psycopg.Connection[Any],
    living: psycopg.Connection[Any],
    scope: Scope,
    *,
    done: Callable[[int], None] = lambda _: None,
) -> Comparison:
    """The side whose fence is closed with the one that takes writes, leaving out on both the keys captured there since.

    To be called within a snapshot of `living`, before anything is drained back: that would cover up what differs.
    """
    proofs: list[tuple[TableProof, TableProof]] = []
    left_out: dict[int, sql.Composable] = {}
    with frozen.transaction(force_rollback=True), ThreadPoolExecutor(1, thread_name_prefix="compare") as pool:
        hold(frozen)
        hold(living)
        _make_room(frozen, scope)
        for table in scope.tables:
            if _bring_changed(living, frozen, table):
                left_out[table.number] = table.drained
            there = pool.submit(_prove, living, table, table.changed if table.number in left_out else None)
            proofs.append((_prove(frozen, table.here, left_out.get(table.number)), there.result()))
            done(len(proofs))
        return _comparison(scope, frozen, living, proofs, left_out)


def _make_room(frozen: psycopg.Connection[Any], scope: Scope) -> None:
    """For keys as this side shows them; it may have room for those that it is given itself, which may be others."""
    for table in scope.tables:
        frozen.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table.drained))
    make_room(frozen, [table.here for table in scope.tables])


def _bring_changed(living: psycopg.Connection[Any], frozen: psycopg.Connection[Any], table: MovedTable) -> bool:
    """Whether any key was captured since; the frozen side has them too then."""
    found = living.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(table.changed)).fetchone()
    if found is None or not found[0]:
        return False
    if table.key:
        changed = sql.SQL("SELECT DISTINCT {} FROM {}").format(table.keys, table.changed)
        stream(living, changed, frozen, table.drained, table.keys, table.key_format)
    return True


def prove(connection: psycopg.Connection[Any], scope: Scope) -> tuple[TableProof, ...]:
    """The giving side by itself, nothing left out."""
    return tuple(_prove(connection, table.here, None) for table in scope.tables)


def _prove(connection: psycopg.Connection[Any], table: MovedTable, out: sql.Composable | None) -> TableProof:
    """A table without a key that has changed at all is left out altogether."""
    row = connection.execute(
        sql.SQL("SELECT count(*), coalesce(sum({}), 0)::text FROM {} AS r WHERE {} AND {}").format(
            table.hash_of(), table.table.source, table.mine(), _without(table, out)
        )
    ).fetchone()
    assert row is not None  # noqa: S101 an aggregate gives a row
    found = connection.execute(_count_out(table, out)).fetchone() if out is not None else (0,)
    return TableProof(table.shown, row[0], row[1], found[0] if found else 0)


def _count_out(table: MovedTable, queue: sql.Composable) -> sql.Composed:
    if not table.key:
        return sql.SQL("SELECT 1").format()
    return sql.SQL("SELECT count(*) FROM (SELECT DISTINCT {} FROM {}) AS _").format(table.keys, queue)


def _without(table: MovedTable, out: sql.Composable | None) -> sql.Composed:
    if out is None:
        return sql.SQL("true").format()
    if not table.key:
        return sql.SQL("false").format()
    return sql.SQL("NOT EXISTS (SELECT FROM {} AS q WHERE {})").format(out, table.is_row("r", "q"))


def _comparison(
    scope: Scope,
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    proofs: list[tuple[TableProof, TableProof]],
    left_out: Mapping[int, sql.Composable],
) -> Comparison:
    pairs = zip(scope.tables, proofs, strict=True)
    differences = tuple(
        _difference(source, target, table, left_out.get(table.number))
        for table, (ours, theirs) in pairs
        if ours != theirs
    )
    return Comparison(tuple(ours for ours, _ in proofs), tuple(theirs for _, theirs in proofs), differences)


def _difference(
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    table: MovedTable,
    left_out: sql.Composable | None,
) -> TableDifference:
    if not table.key:
        return TableDifference(table.shown, (), (), ())
    sides = ((source, table.here, left_out), (target, table, table.changed if left_out is not None else None))
    ours, theirs = (dict(_buckets(*side)) for side in sides)
    wrong = [bucket for bucket in ours.keys() | theirs.keys() if ours.get(bucket) != theirs.get(bucket)]
    here, there = (dict(_rows(*side, wrong)) for side in sides)
    return TableDifference(
        table.shown,
        missing=_first(here.keys() - there.keys()),
        extra=_first(there.keys() - here.keys()),
        different=_first(key for key in here.keys() & there.keys() if here[key] != there[key]),
    )


def _first(keys: Any) -> tuple[str, ...]:
    return tuple(sorted(keys)[:_EXAMPLES])


def _bucket(table: MovedTable) -> sql.Composed:
    hashed = sql.SQL("pg_catalog.hashtextextended(ROW({})::text, 0)").format(table.key_of("r"))
    return sql.SQL("(({} % {} + {}) % {})").format(hashed, *map(sql.Literal, (_BUCKETS,) * 3))


def _buckets(connection: psycopg.Connection[Any], table: MovedTable, out: sql.Composable | None) -> Any:
    query = sql.SQL("SELECT {}, count(*) || ' ' || sum({}) FROM {} AS r WHERE {} AND {} GROUP BY 1").format(
        _bucket(table), table.hash_of(), table.table.source, table.mine(), _without(table, out)
    )
    return connection.execute(query).fetchall()


def _rows(
    connection: psycopg.Connection[Any], table: MovedTable, out: sql.Composable | None, buckets: list[int]
) -> Any:
    query = sql.SQL("SELECT ROW({})::text, {} FROM {} AS r "
        "WHERE {} AND {} AND {} = ANY ({}::bigint[]) LIMIT 10000").format(
        table.key_of("r"), table.hash_of(), table.table.source, table.mine(), _without(table, out), _bucket(table),
        sql.Literal(buckets[:50]),
    )  # fmt: skip
    return connection.execute(query).fetchall()
