"""The databases sort in two ways."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground
from shardwright.pg.queries import load

_queries = load(__package__)


@check("warning", cure="create the target anew with the source's locale")
def locale(ground: Ground) -> Iterator[Finding]:
    """With another default collation the application sorts, compares and folds capitals in another way after the move.

    What is unique by `lower(…)` on one shard need not be so on the other.
    """
    theirs = {side.name: side.one(_queries["locale"]) for side in ground.sides}
    if len(set(theirs.values())) > 1:
        fact = ", ".join(f"{name} has the locale {' '.join(filter(None, each))}" for name, each in theirs.items())
        yield locale.warning(fact, f"create {ground.target.name} anew as {ground.source.name} is")
