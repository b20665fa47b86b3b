"""Room for the tenant on the target's disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.estimate import estimate
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground

_WITH_WAL: Final = 1.3


@check("note", cure="look at the target's disk: PostgreSQL does not tell how much of it is free")
def disk(ground: Ground) -> Iterator[Finding]:
    """The tenant needs about so much room on the target: its rows and indexes, and a third more for the WAL."""
    megabytes = estimate(ground).bytes * _WITH_WAL / 1e6
    yield disk.note(f"the tenant needs about {megabytes:,.1f} MB on {ground.target.name}", shard=ground.target.name)
