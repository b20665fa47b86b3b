"""Tenants can't be spread as the configuration asks."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright import errors
from shardwright.bluegreen.preflight.ground import Ground
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.said import listed


@check("error", "warning", cure="mend `placement` or the line under `[bluegreen.pins]`", is_decisive=True)
def pins(ground: Ground) -> Iterator[Finding]:
    """Each tenant has one green shard: `pairs` need as many green shards as blue ones, and pins name tenants and green
    shards that are there.

    A pin for a tenant that is on no shard does nothing: a warning. Asks how much each tenant has, by one GROUP BY a
    table; of tables with more than a million rows a sample.
    """
    try:
        placed = ground.placed
    except errors.GreenNotPlaced as error:
        yield pins.error(str(error), error.hint)
        return
    if strangers := [tenant for tenant in ground.section.pins if tenant not in placed]:
        yield pins.warning(f"no shard has the pinned tenants {listed(strangers)}", "take them out of [bluegreen.pins]")
