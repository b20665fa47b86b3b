"""Directory and shards disagree."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.bluegreen.preflight.ground import Ground
from shardwright.catalog.comparison import Difference
from shardwright.catalog.tenants import verify
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.said import NAMED, counted, listed


@check("error", cure="`shardwright tenants sync`")
def directory(ground: Ground) -> Iterator[Finding]:
    """Every tenant of a root table is placed on that shard in the directory, and none is on two.

    Who is placed elsewhere would be switched by a placement that nobody follows; who is on two shards would be mixed
    up on green. Reads all ids of the root tables.
    """
    found = verify(ground.fleet)
    for shard, fault in found.unread.items():
        yield directory.error(f"the root table of {shard} can't be read: {fault.reason}", fault.hint, shard=shard)
    said = {
        "unplaced": ("not in the directory", "shardwright tenants sync"),
        "elsewhere": ("on another shard than the directory says", "shardwright tenants sync --accept"),
        "missing": ("in the directory and on no shard", "shardwright tenants sync --forget"),
        "twice": ("on several shards", "DELETE the rows of all but the right one, then: shardwright tenants sync"),
        "too_long": ("too long an id for the directory", "give the tenant a shorter one"),
    }
    for kind, (told, cure) in said.items():
        differing = found.kinds[kind]
        if differing.count:
            verb = "is" if differing.count == 1 else "are"
            if kind == "too_long":
                verb = "has" if differing.count == 1 else "have"
            examples = listed(map(_shown, differing.first[: NAMED + 1]))
            yield directory.error(f"{counted(differing.count, 'tenant')} {verb} {told}: {examples}", cure)


def _shown(difference: Difference) -> str:
    placed = f"placed on {difference.placed}" if difference.placed else ""
    found = f"found on {' and '.join(difference.found)}" if difference.found else ""
    return f"{difference.tenant} ({', '.join(filter(None, (placed, found)))})"
