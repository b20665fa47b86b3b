"""The databases write characters in two ways."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground
from shardwright.pg.queries import load

_queries = load(__package__)


@check("error", cure="create the target anew with the source's encoding")
def encoding(ground: Ground) -> Iterator[Finding]:
    """Rows travel as bytes: with another encoding texts change, or can't be stored."""
    theirs = {side.name: side.one(_queries["server"])[2] for side in ground.sides}
    if len(set(theirs.values())) > 1:
        fact = ", ".join(f"{name} is encoded in {each}" for name, each in theirs.items())
        cure = f"create {ground.target.name} anew with ENCODING '{theirs[ground.source.name]}' TEMPLATE template0"
        yield encoding.error(fact, cure, shard=ground.target.name)
