"""Tables whose rows can't be told apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from shardwright.bluegreen.preflight.ground import Ground
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.keys import proposed_key
from shardwright.move.preflight.said import counted
from shardwright.transfer.keys import key_of

_SMALL: Final = 5_000


@check("error", "warning", cure="a primary key, by a revision for every shard")
def keys(ground: Ground) -> Iterator[Finding]:
    """A change of a row is brought by its key: the primary key, or a unique one that no row can leave out.

    A table with neither is brought whole whenever one of its rows has changed: a warning up to 5,000 rows on each
    shard, by the planner's estimate; an error above.
    """
    for side in ground.blue:
        for image in ground.shown.there.tables:
            if key_of(image.table) is not None:
                continue
            rows = side.graph[image.name].rows
            fact = f"{side.shown(image.name)} has no primary key, and {counted(max(rows, 0), 'row')} on {side.name}"
            say = keys.error if rows > _SMALL else keys.warning
            yield say(f"{fact} are brought whole whenever one has changed", proposed_key(image.table))
