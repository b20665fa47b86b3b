"""The databases sort in two ways."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Shards
from shardwright.pg.queries import load

_queries = load(__package__)


@check("warning", cure="create the target anew with the source's locale")
def locale(ground: Shards) -> Iterator[Finding]:
    """With another default collation the application sorts, compares and folds capitals in another way after the move.

    What is unique by `lower(…)` on one shard need not be so on the other.
    """
    first, *others = ((side.name, side.one(_queries["locale"])) for side in ground.sides)
    for other in others:
        if other[1] != first[1]:
            fact = ", ".join(f"{name} has the locale {' '.join(filter(None, each))}" for name, each in (first, other))
            yield locale.warning(fact, f"create {other[0]} anew as {first[0]} is")
