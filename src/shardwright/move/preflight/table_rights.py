"""The mover may not read or write tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground, Side
from shardwright.move.preflight.said import listed, quoted, script
from shardwright.pg.queries import load
from shardwright.pg.tables import Table, TableName
from shardwright.transfer.graph import with_partitions

_queries = load(__package__)


@check("error", cure="GRANT USAGE ON SCHEMA …; GRANT SELECT, INSERT, DELETE ON … TO the mover's role")
def table_rights(ground: Ground) -> Iterator[Finding]:
    """Rows are read and deleted on the source, written on the target, and the other way round by an undo.

    Shared tables are read, and ignored ones with foreign keys from or to tables of tenants, to see whether the tenant's
    rows refer to any that are not on the target, and what refers to the tenant's rows.
    """
    for side in ground.sides:
        yield from missing(side, side.carried, ["SELECT", "INSERT", "DELETE"])
        yield from missing(side, list(_looked_at(side)), ["SELECT"])


def _looked_at(side: Side) -> Iterator[Table]:
    """The shared tables, and the ignored ones that foreign keys tie to tables of tenants."""
    own = {table.name for table in side.carried}
    referred = {key.table for table in side.carried for key in table.foreign_keys}
    for placed in side.graph.tables:
        tables = list(with_partitions(placed))
        names = {table.name for table in tables}
        refers = {key.table for table in tables for key in table.foreign_keys}
        if placed.kind == "shared" or (placed.kind == "ignored" and (refers & own or names & referred)):
            yield from tables


def missing(side: Side, tables: Sequence[Table], wishes: list[str]) -> Iterator[Finding]:
    """What the role may not do with these tables, of what it needs."""
    found = side.ask_of(tables, _queries["missing_rights"], wishes=wishes)
    if not found:
        return
    role = quoted(side.role)
    closed = dict.fromkeys(schema for schema, _, may_use, _ in found if not may_use)
    grants = [f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {role}" for schema in closed]
    grants += [
        f"GRANT {', '.join(rights)} ON {quoted(schema, name)} TO {role}" for schema, name, _, rights in found if rights
    ]
    names = listed(side.shown(TableName(schema, name)) for schema, name, *_ in found)
    fact = f"role {side.role} may not {', '.join(wishes)} on {names} of {side.name}"
    yield table_rights.error(fact, script(grants), shard=side.name)
