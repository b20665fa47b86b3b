"""Row security hides rows from the mover."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Shards
from shardwright.move.preflight.said import listed, quoted
from shardwright.pg.queries import load
from shardwright.pg.tables import TableName
from shardwright.transfer.graph import with_partitions

_queries = load(__package__)


@check("error", cure="ALTER ROLE the mover's role BYPASSRLS, or own the table without FORCE ROW LEVEL SECURITY")
def row_security(ground: Shards) -> Iterator[Finding]:
    """A policy that holds for the mover's role hides rows from it, and what it does not see would be left behind."""
    for side in ground.sides:
        tables = [table for each in side.graph.tables if each.kind != "ignored" for table in with_partitions(each)]
        if found := side.ask_of(tables, _queries["row_security"]):
            names = listed(side.shown(TableName(*name)) for name in found)
            fact = f"role {side.role} is subject to row security on {names} of {side.name}"
            yield row_security.error(fact, f"ALTER ROLE {quoted(side.role)} BYPASSRLS", shard=side.name)
