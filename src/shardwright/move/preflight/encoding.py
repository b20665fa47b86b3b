"""The databases write characters in two ways."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Shards
from shardwright.pg.queries import load

_queries = load(__package__)


@check("error", cure="create the target anew with the source's encoding")
def encoding(ground: Shards) -> Iterator[Finding]:
    """Rows travel as bytes: with another encoding texts change, or can't be stored."""
    first, *others = ((side.name, side.one(_queries["server"])[2]) for side in ground.sides)
    for name, theirs in others:
        if theirs != first[1]:
            fact = f"{first[0]} is encoded in {first[1]}, {name} is encoded in {theirs}"
            cure = f"create {name} anew with ENCODING '{first[1]}' TEMPLATE template0"
            yield encoding.error(fact, cure, shard=name)
