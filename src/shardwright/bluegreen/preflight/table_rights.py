"""The role may not read or write tables."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.bluegreen.preflight.ground import Ground
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.said import quoted
from shardwright.move.preflight.table_rights import missing
from shardwright.pg.queries import load

_queries = load(__package__)


@check("error", cure="GRANT USAGE ON SCHEMA …; GRANT SELECT, INSERT, DELETE, TRUNCATE ON … TO the role")
def table_rights(ground: Ground) -> Iterator[Finding]:
    """Rows are read, written and deleted on both sides, since the way leads there and back; green is emptied whole
    where the change is taken back. Alembic's version table is read."""
    version_table = ground.history.location.version_table
    for side in ground.sides:
        row = side.ask(_queries["version_table"], {"name": version_table})
        if row and not row[0][1]:
            fact = f"role {side.role} may not read {version_table} of {side.name}"
            yield table_rights.error(fact, f"GRANT SELECT ON {row[0][0]} TO {quoted(side.role)}", shard=side.name)
        wishes = ["SELECT", "INSERT", "DELETE"] + ([] if side in ground.blue else ["TRUNCATE"])
        for finding in missing(side, side.carried, wishes):
            yield table_rights.error(finding.fact, finding.cure, shard=side.name)
