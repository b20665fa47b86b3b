"""The mover may not make its schema."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Shards
from shardwright.move.preflight.said import quoted
from shardwright.pg.queries import load

_queries = load(__package__)


@check("error", cure="GRANT CREATE, TEMPORARY ON DATABASE … TO the mover's role")
def database_rights(ground: Shards) -> Iterator[Finding]:
    """A move makes the schema `shardwright` on both shards, and temporary tables: lists of keys."""
    for side in ground.sides:
        database, may_create, may_temp, owns_ours = side.one(_queries["database_rights"])
        role = quoted(side.role)
        if not (may_create and may_temp):
            wanted = ", ".join(right for right, has in (("CREATE", may_create), ("TEMPORARY", may_temp)) if not has)
            fact = f"role {side.role} has no right to {wanted} in database {database} of {side.name}"
            cure = f"GRANT {wanted} ON DATABASE {quoted(database)} TO {role}"
            yield database_rights.error(fact, cure, shard=side.name)
        if not owns_ours:
            fact = f"role {side.role} may not create in the schema shardwright of {side.name}"
            cure = f"GRANT USAGE, CREATE ON SCHEMA shardwright TO {role}"
            yield database_rights.error(fact, cure, shard=side.name)
