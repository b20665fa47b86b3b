"""Too many locks are needed at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from shardwright.bluegreen.preflight.ground import Ground
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.pg.queries import load
from shardwright.transfer.everyone import AT_ONCE

_queries = load("shardwright.move.preflight")
_own = load(__package__)
_EACH: Final = 6  # beside the streams of the copy: to read, to write, to lock, to switch and to look at it
_MANY: Final = 20_000


@check("error", "note", cure="raise `max_locks_per_transaction`, and restart the server")
def locks(ground: Ground) -> Iterator[Finding]:
    """Each tenant gets a fence of his own on both his shards, 500 in one transaction; a transaction holds a lock on
    each of its fences, and on every table and index that it reads.

    A note from 20,000 tenants of one shard on: that many small sequences are made there, and dropped in the end.
    """
    for side in ground.sides:
        places, relations = side.one(_own["lock_places"])
        needed = AT_ONCE + relations
        if places < needed:
            fact = f"{side.name} has room for {places:,} locks, a change takes up to {needed:,} at once"
            yield locks.error(fact, "ALTER SYSTEM SET max_locks_per_transaction = 256, and a restart", shard=side.name)
    tenants = Counter(load.shard for load in ground.loads.values())
    for name, count in tenants.items():
        if count >= _MANY:
            yield locks.note(f"{count:,} fences are made on {name}, one for each tenant", shard=name)
