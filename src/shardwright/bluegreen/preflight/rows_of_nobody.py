"""Rows that belong to no tenant."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.bluegreen.preflight.ground import Ground
from shardwright.move.preflight import rows_of_nobody as of_a_move
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding


@check("warning", cure="give them a tenant, or keep blue's archive; NOT NULL, if there should be none")
def rows_of_nobody(ground: Ground) -> Iterator[Finding]:
    """Rows whose tenant key is null, or whose references end in null, are brought to no green shard: they are gone
    with blue.

    Counted in tables whose rows may have no tenant; of large tables estimated from a sample.
    """
    for side in ground.blue:
        for placed in side.carried_whole:
            if placed.is_of_tenants and not placed.way.is_whole and (told := of_a_move.of_nobody(side, placed)):
                yield rows_of_nobody.warning(f"{told} belong to no tenant, and stay there", shard=side.name)
