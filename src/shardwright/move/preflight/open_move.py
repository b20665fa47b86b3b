"""The tenant is moving already."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground
from shardwright.pg.queries import load

_queries = load(__package__)


@check("error", cure="finish that move, or undo it")
def open_move(ground: Ground) -> Iterator[Finding]:
    """A shard takes part in one move of a tenant at a time, and a move is open until its way back is closed."""
    for side in ground.sides:
        if not side.one(_queries["has_moves"])[0]:
            continue
        for move, which in side.ask(_queries["moves"], {"tenant": ground.tenant}):
            fact = f"move {move} of tenant {ground.tenant} is still open on {side.name}, which is its {which}"
            cure = f"shardwright move finish {ground.tenant}, or shardwright move undo {ground.tenant}"
            yield open_move.error(fact, cure, shard=side.name)
