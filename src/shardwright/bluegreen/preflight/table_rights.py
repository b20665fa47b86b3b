"""The role may not read or write tables."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.bluegreen.preflight.ground import Ground
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.table_rights import missing


@check("error", cure="GRANT USAGE ON SCHEMA …; GRANT SELECT, INSERT, DELETE, TRUNCATE ON … TO the role")
def table_rights(ground: Ground) -> Iterator[Finding]:
    """Rows are read, written and deleted on both sides, since the way leads there and back; green is emptied whole
    where the change is taken back."""
    for side in ground.sides:
        wishes = ["SELECT", "INSERT", "DELETE"] + ([] if side in ground.blue else ["TRUNCATE"])
        for finding in missing(side, side.carried, wishes):
            yield table_rights.error(finding.fact, finding.cure, shard=side.name)
