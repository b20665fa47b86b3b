"""Room for the tenants on green's disks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from shardwright.bluegreen.preflight.ground import Ground
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding

_WITH_WAL: Final = 1.3


@check("note", cure="look at the servers' disks: PostgreSQL does not tell how much of them is free")
def disk(ground: Ground) -> Iterator[Finding]:
    """Each green server needs about so much room: its tenants' rows and indexes, and a third more for the WAL. While
    both sets live a blue server needs room for the keys of rows that change, too."""
    host_of = {shard.name: shard.host for shard in ground.fleet.green}
    needed: dict[str, float] = defaultdict(float)
    for tenant, green in ground.placed.items():
        needed[host_of[green]] += ground.loads[tenant].bytes * _WITH_WAL
    for host, size in needed.items():
        yield disk.note(f"the tenants need about {size / 1e6:,.1f} MB on {host}")
