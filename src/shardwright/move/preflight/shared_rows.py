"""Rows that the tenant's rows refer to and that do not move with them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

from psycopg import sql

from shardwright.move.preflight import probe
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground
from shardwright.move.preflight.probe import printed
from shardwright.move.preflight.said import counted, listed
from shardwright.pg.tables import ForeignKey, Table
from shardwright.transfer.graph import columns_text, with_partitions

_WRITTEN_OUT: Final = 20


@check("error", cure="INSERT the missing rows on the target; of ignored tables, too")
def shared_rows(ground: Ground) -> Iterator[Finding]:
    """A row of a shared or ignored table that the tenant's rows refer to has to be on the target already.

    Shared tables should have the same rows on every shard; of ignored ones nobody says so.
    """
    for placed in ground.tables:
        for table in with_partitions(placed):
            for key in table.foreign_keys:
                there = ground.graph.find(key.table)
                if there is not None and there.kind in {"shared", "ignored"}:
                    yield from _missing(ground, table, key)


def _missing(ground: Ground, table: Table, key: ForeignKey) -> Iterator[Finding]:
    types = [table.column(name).type for name in key.columns]
    parent = ground.graph.catalog.by_name[key.table]
    condition = sql.SQL("NOT EXISTS (SELECT FROM {} AS p WHERE {})").format(parent.source, _refers(key, types))
    missing = list(probe.found(ground, _values(ground, table, key), condition))
    if missing:
        shown, theirs = ground.source_side.shown(table.name), ground.source_side.shown(key.table)
        examples = listed(" / ".join(map(str, row)) for row in missing)
        fact = (
            f"{shown}.{columns_text(key.columns)} of the tenant refers to {counted(len(missing), 'row')} of {theirs}"
            f" that {ground.target.name} does not have: {examples}"
        )
        yield shared_rows.error(fact, _cure(ground, key, types, missing), shard=ground.target.name)


def _values(ground: Ground, table: Table, key: ForeignKey) -> sql.Composed:
    """Each value once; a reference with a null in it refers to nothing."""
    columns = [sql.Identifier("r", name) for name in key.columns]
    return sql.SQL("SELECT DISTINCT {} FROM {} AS r WHERE {} AND {}").format(
        sql.SQL(", ").join(sql.SQL("{}::text").format(each) for each in columns),
        table.source,
        ground.is_of_tenant(table.name),
        sql.SQL(" AND ").join(sql.SQL("{} IS NOT NULL").format(each) for each in columns),
    )


def _refers(key: ForeignKey, types: Sequence[str]) -> sql.Composed:
    """Whether the given value refers to the row `p` of the other table."""
    parts = enumerate(zip(key.referenced_columns, key.operators, types, strict=True))
    alike = (
        sql.SQL("{} {} {}::{}").format(sql.Identifier("p", name), printed(operator), probe.value(place), printed(type_))
        for place, (name, operator, type_) in parts
    )
    return sql.SQL(" AND ").join(alike)


def _cure(ground: Ground, key: ForeignKey, types: Sequence[str], missing: list[probe.Values]) -> str:
    """The rows as the source has them, where they are few."""
    parent = ground.graph.catalog.by_name[key.table]
    if len(missing) > _WRITTEN_OUT:
        return f"copy the rows of {parent.name} from {ground.source.name} to {ground.target.name}"
    query = sql.SQL("SELECT json_agg(p) FROM {} AS p WHERE EXISTS (SELECT FROM {} WHERE {})").format(
        parent.source, probe.given(len(types)), _refers(key, types)
    )
    ((rows,),) = probe.ask(ground.source_side, query, missing)
    columns = sql.SQL(", ").join(sql.Identifier(each.name) for each in parent.columns if each.generated is None)
    insert = sql.SQL(
        "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE"
        " SELECT {columns} FROM json_populate_recordset(NULL::{table}, {rows})"
    ).format(table=parent.name.identifier, columns=columns, rows=sql.Literal(json.dumps(rows, ensure_ascii=False)))
    return insert.as_string(ground.on_target)
