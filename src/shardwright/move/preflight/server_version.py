"""The servers are too old."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.catalog.check import OLDEST_SERVER
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Shards
from shardwright.pg.queries import load

_queries = load(__package__)


@check("error", cure="upgrade the server")
def server_version(ground: Shards) -> Iterator[Finding]:
    """Moves need PostgreSQL 15: what they ask of the catalogs, and rights on single settings, are not in older ones."""
    for side in ground.sides:
        number, version, _ = side.one(_queries["server"])
        if number < OLDEST_SERVER:
            fact = f"PostgreSQL {version} of {side.name} is older than 15"
            yield server_version.error(fact, "upgrade the server", shard=side.name)
