"""A green shard that is there has rows already."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from shardwright.bluegreen.preflight.ground import Ground
from shardwright.bluegreen.shard_sets.emptiness import filled
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.said import listed, script
from shardwright.pg.queries import load
from shardwright.transfer.order import parents_first

_queries = load(__package__)
_NAME = "shardwright bluegreen plan"


@check("error", cure="TRUNCATE them, once it is sure that they are of no use")
def green_empty(ground: Ground) -> Iterator[Finding]:
    """Tables that are filled from blue have no rows on a green shard that is there: nobody could tell what comes from
    where."""
    for side in ground.green:
        found = filled(side.connection, side.filled_names)
        if found:
            own = {each.table.name: each.table for each in side.carried_whole if each.table.name in found}
            parents = {name: [key.table for key in each.foreign_keys if key.table in own] for name, each in own.items()}
            ordered = [name for group in reversed(list(parents_first(parents))) for name in group]
            fact = f"{side.name} has rows already in {listed(map(side.shown, found))}"
            cure = script(sql.SQL("DELETE FROM {}").format(name.identifier).as_string() for name in ordered)
            yield green_empty.error(fact, cure, shard=side.name)
