"""Roles have rights on blue that nothing gives them on green."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.bluegreen.grants import lacking
from shardwright.bluegreen.preflight.ground import GreenSide, Ground
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.said import script


@check("warning", cure="GRANT … ON … TO the role, on every green shard: in a revision, or before the first switch")
def grants(ground: Ground) -> Iterator[Finding]:
    """The application's roles have to be able to do on green what they can on blue, or fail at the first statement
    after their tenant was switched. Green has the rights that its revisions give, and no others.

    Green shards that are not there, or not at their revision, are told as one, by a scratch database.
    """
    wanted = ground.history.resolve(ground.revision)
    ready = [side for side in ground.green if ground.states[side.name] == wanted]
    for side in ready:
        yield from _of(ground, side, side.name, side.name)
    if ground.absent or len(ready) < len(ground.green):
        yield from _of(ground, ground.model, "green, once its shards are made", None)


def _of(ground: Ground, side: GreenSide, told: str, shard: str | None) -> Iterator[Finding]:
    blue = ground.blue[0]
    for lack in lacking(blue.connection, side.connection, blue.graph, side.graph):
        cure = script(lack.grants)
        if not lack.is_there:
            cure = f"make the role there; then {cure}"
        yield grants.warning(f"{told}: {lack}, as it may on blue", cure, shard=shard)
