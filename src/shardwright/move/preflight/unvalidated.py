"""Rows that the source has and the target would refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from psycopg import sql

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground
from shardwright.move.preflight.probe import printed
from shardwright.move.preflight.said import counted
from shardwright.pg.queries import load
from shardwright.pg.tables import TableName
from shardwright.transfer.graph import with_partitions

_queries = load(__package__)
_COUNTED: Final = 1_000


@check("error", cure="mend the rows, then ALTER TABLE … VALIDATE CONSTRAINT …")
def unvalidated(ground: Ground) -> Iterator[Finding]:
    """A constraint that is `NOT VALID` holds for new rows only, and on the target every row is new.

    So the tenant's rows that break a CHECK or NOT NULL constraint on the source would be refused there.
    """
    for placed in ground.tables:
        for schema, table, name, expression in ground.source_side.ask_of(
            list(with_partitions(placed)), _queries["unvalidated"]
        ):
            condition = sql.SQL("{} AND ({}) IS FALSE").format(
                ground.is_of_tenant(placed.table.name), printed(expression)
            )
            query = sql.SQL("SELECT count(*) FROM (SELECT FROM {} AS r WHERE {} LIMIT {}) AS found")
            source = ground.graph.catalog.by_name[TableName(schema, table)].source
            count = int(ground.source_side.one(query.format(source, condition, sql.Literal(_COUNTED + 1)))[0])
            if count:
                rows = counted(count, "row", _COUNTED)
                fact = f"{rows} of the tenant in {ground.source_side.shown(TableName(schema, table))} break {name}"
                show = sql.SQL("SELECT * FROM {} AS r WHERE {}").format(source, condition).as_string(ground.on_source)
                yield unvalidated.error(fact, f"mend what this shows: {show}", shard=ground.source.name)
