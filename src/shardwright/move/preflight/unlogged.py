"""Unlogged tables."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Shards


@check("warning", cure="ALTER TABLE … SET LOGGED")
def unlogged(ground: Shards) -> Iterator[Finding]:
    """An unlogged table is empty after a crash: a target that crashes during the move loses what was copied.

    The comparison notices it before the switch, and not after.
    """
    for side in ground.sides:
        for table in side.carried:
            if table.is_unlogged:
                fact = f"{side.shown(table.name)} on {side.name} is unlogged: a crash empties it"
                cure = f"ALTER TABLE {table.name.identifier.as_string()} SET LOGGED"
                yield unlogged.warning(fact, cure, shard=side.name)
