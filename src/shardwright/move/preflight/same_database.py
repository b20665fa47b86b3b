"""Source and target are one database."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground
from shardwright.pg.queries import load

_queries = load(__package__)
_CURE = "name another shard: the tenant is there already"


@check("error", cure="name another shard", is_decisive=True)
def same_database(ground: Ground) -> Iterator[Finding]:
    """Source and target are one shard, or one database that two URLs lead to.

    A tenant that is moved onto itself would be deleted at the clean-up.
    """
    if ground.source.name == ground.target.name:
        yield same_database.error(f"{ground.tenant} is to move from {ground.source.name} to itself", _CURE)
    elif _lead_to_one(ground):
        names = f"{ground.source.name} and {ground.target.name}"
        yield same_database.error(f"{names} are one database by two ways", f"take {ground.target.name} out of [shards]")


def _lead_to_one(ground: Ground) -> bool:
    """Whether a lock of one connection is seen by the other: exact also for copies of whole servers."""
    number = {"number": secrets.randbelow(1 << 62)}
    source, target = ground.sides
    source.ask(_queries["mark"], number)
    try:
        return bool(target.one(_queries["is_marked"], number)[0])
    finally:
        source.ask(_queries["unmark"], number)
