"""Partitions that are foreign tables."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Shards


@check("error", cure="ALTER TABLE … DETACH PARTITION …")
def foreign_partitions(ground: Shards) -> Iterator[Finding]:
    """The rows of a foreign table are on another server: its changes can't be captured, its writers not fenced."""
    for side in ground.sides:
        for table in side.carried:
            if table.storage == "foreign" and table.partition_of is not None:
                home = table.partition_of
                fact = f"{side.shown(table.name)}, a partition of {home} on {side.name}, is a foreign table"
                part = table.name.identifier.as_string()
                cure = f"ALTER TABLE {home.identifier.as_string()} DETACH PARTITION {part}"
                yield foreign_partitions.error(fact, cure, shard=side.name)
