"""A green shard that is there can not become what it has to be."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright import errors
from shardwright.bluegreen.preflight.blue_alike import odd_ones
from shardwright.bluegreen.preflight.ground import Ground
from shardwright.bluegreen.shard_sets.create import require_fit
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.said import quoted
from shardwright.pg.queries import load

_queries = load(__package__)
_NAME = "shardwright bluegreen plan"


@check("error", cure="another database for the green shard, or one that is brought to the revision")
def green_fit(ground: Ground) -> Iterator[Finding]:
    """A green shard that is there is on the way to its revision; those that have come to it have one schema."""
    for side in ground.green:
        try:
            require_fit([side.shard], ground.history, ground.revision, connections_per_host=ground.limit)
        except errors.GreenNotMade as error:
            cure = f"another database for {side.name}, or: DROP DATABASE {quoted(side.shard.url.database)}"
            yield green_fit.error(error.faults, cure, shard=side.name)
    wanted = ground.history.resolve(ground.revision)
    yield from odd_ones(ground, green_fit, [side for side in ground.green if ground.states[side.name] == wanted])
