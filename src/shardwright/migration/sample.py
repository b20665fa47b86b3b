"""A sample of a shard's rows that satisfies its foreign keys, copied into a database with the same tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from shardwright.dsn import DatabaseUrl
from shardwright.pg.connect import connect
from shardwright.pg.queries import load
from shardwright.pg.spelling import SPELLING, WHOLE_TABLES
from shardwright.runs.stopping import StopRequest

_NAME = "shardwright sample"
_queries = load(__package__, "sample.sql")
# Rows travel as text, for binary arrays and records name types by numbers that differ between databases. Row security
# is no filter here: half of a family would not satisfy its foreign keys.
_READING = {**WHOLE_TABLES, "statement_timeout": "60s"}

Rows = dict[int, set[str]]  # by the table's oid, where each row is (its ctid)


@dataclass(frozen=True)
class _Table:
    schema: str
    name: str
    tuples: float
    columns: tuple[str, ...]

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def column_list(self) -> sql.Composed:
        return sql.SQL(", ").join(map(sql.Identifier, self.columns))


@dataclass(frozen=True)
class _Reference:
    """A foreign key: the rows that rows of `child` need."""

    child: int
    parent: sql.Identifier
    columns: tuple[str, ...]
    parent_columns: tuple[str, ...]

    @property
    def condition(self) -> sql.Composed:
        pairs = zip(self.parent_columns, self.columns, strict=True)
        equal = (
            sql.SQL("{} = {}").format(sql.Identifier("parent", theirs), sql.Identifier("child", ours))
            for theirs, ours in pairs
        )
        return sql.SQL(" AND ").join(equal)


def copy_sample(
    source: DatabaseUrl, target: DatabaseUrl, rows: int, version_table: str, stop: StopRequest
) -> dict[str, int]:
    """`target` has up to `rows` rows of each table of `source`, and those they refer to; gives how many by table.

    The tables are there, empty and without foreign keys or triggers, which are made afterwards and so prove the
    sample. Reads one snapshot of the source. Cut short once `stop` is asked. Raises psycopg.Error.
    """
    with (
        connect(source, application_name=_NAME, settings=_READING, autocommit=False) as reading,
        connect(target, application_name=_NAME, settings=SPELLING) as writing,
    ):
        reading.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reading.read_only = True
        sampler = _Sampler(reading, version_table, stop)
        chosen = sampler.choose(rows)
        sampler.copy(chosen, writing)
        _copy_sequences(reading, writing)
        names = {oid: f"{table.schema}.{table.name}" for oid, table in sampler.tables.items()}
        return {names[oid]: len(found) for oid, found in chosen.items() if found}


class _Sampler:
    """One shard's snapshot, and its tables and foreign keys."""

    def __init__(self, reading: psycopg.Connection[Any], version_table: str, stop: StopRequest) -> None:
        name = sql.Identifier(*version_table.split(".")).as_string()
        found = reading.execute(_queries["tables"], {"version_table": name}).fetchall()
        self.tables = {oid: _Table(schema, table, rows, tuple(each)) for oid, schema, table, rows, each in found}
        self._references: Mapping[int, list[_Reference]] = defaultdict(list)
        for child, schema, parent, columns, parent_columns in reading.execute(_queries["references"]):
            reference = _Reference(child, sql.Identifier(schema, parent), tuple(columns), tuple(parent_columns))
            self._references[child].append(reference)
        self._reading = reading
        self._stop = stop

    def choose(self, rows: int) -> Rows:
        """Where the rows of the sample are: some of each table, then the parents of the newly found, until none is."""
        new: Rows = {oid: self._some(table, rows) for oid, table in self.tables.items() if not self._stop.is_asked}
        chosen: Rows = {}
        while any(new.values()) and not self._stop.is_asked:
            for oid, found in new.items():
                chosen.setdefault(oid, set()).update(found)
            new = self._missing(self._parents(new), chosen)
        return chosen

    def copy(self, chosen: Rows, writing: psycopg.Connection[Any]) -> None:
        """The chosen rows are in the other database."""
        for oid, rows in chosen.items():
            table = self.tables[oid]
            if not rows or not table.columns or self._stop.is_asked:
                continue
            names = {"table": table.identifier, "columns": table.column_list}
            out = _queries["copy_out"].format(**names, rows=sql.Literal(sorted(rows)))
            into = _queries["copy_in"].format(**names)
            with self._reading.cursor().copy(out) as source, writing.cursor().copy(into) as target:
                for block in source:
                    target.write(block)

    def _some(self, table: _Table, rows: int) -> set[str]:
        """From blocks here and there where the table is large; a billion rows cost no more than these."""
        query = _queries["some_rows"]
        shares = (300.0 * rows / table.tuples, 100.0) if table.tuples > 100 * rows else (100.0,)
        found: set[str] = set()
        for percent in shares:
            if len(found) < rows:
                # As literals: where values are bound, a percent sign in a table's name is taken for a placeholder.
                some = query.format(table=table.identifier, percent=sql.Literal(percent), rows=sql.Literal(rows))
                found = {row for (row,) in self._reading.execute(some)}
        return found

    def _parents(self, rows: Rows) -> Iterable[tuple[int, str]]:
        for oid, found in rows.items():
            for reference in self._references.get(oid, ()) if found else ():
                query = _queries["parents"].format(
                    child=self.tables[oid].identifier,
                    parent=reference.parent,
                    condition=reference.condition,
                    rows=sql.Literal(list(found)),
                )
                yield from self._reading.execute(query)

    def _missing(self, wanted: Iterable[tuple[int, str]], chosen: Rows) -> Rows:
        missing: Rows = defaultdict(set)
        for oid, row in wanted:
            if oid in self.tables and row not in chosen.get(oid, ()):
                missing[oid].add(row)
        return missing


def _copy_sequences(reading: psycopg.Connection[Any], writing: psycopg.Connection[Any]) -> None:
    """The sequences go on where the source's stand, or new rows would take the numbers of sampled ones."""
    found = reading.execute(_queries["sequences"]).fetchall()
    columns = {
        "schemas": [row[0] for row in found],
        "names": [row[1] for row in found],
        "values": [row[2] for row in found],
    }
    writing.execute(_queries["set_sequences"], columns)
