"""Blue shards are not alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from shardwright.bluegreen.preflight.ground import GreenSide, Ground
from shardwright.move.preflight.declare import Check, check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.said import listed
from shardwright.pg.fingerprint import differences
from shardwright.runs.results import revisions_text


@check("error", cure="`shardwright migrate`, or mend what `shardwright check` names")
def blue_alike(ground: Ground) -> Iterator[Finding]:
    """All blue shards are at one revision and have one schema: one set of triggers, and one shape, fit all of them."""
    at = {side.name: revisions_text(ground.states[side.name]) for side in ground.blue}
    ((usual, _),) = Counter(at.values()).most_common(1)
    for name, revision in at.items():
        if revision != usual:
            fact = f"{name} is at {revision}, the other blue shards are at {usual}"
            yield blue_alike.error(fact, f"shardwright migrate {usual}", shard=name)
    alike = [side for side in ground.blue if at[side.name] == usual]
    yield from odd_ones(ground, blue_alike, alike)


def odd_ones(ground: Ground, of: Check[Ground], sides: list[GreenSide]) -> Iterator[Finding]:
    """Those of these shards whose schema is not that of most of them, with the objects that differ."""
    prints = ground.of_each(sides, lambda side: side.fingerprint)
    if not prints:
        return
    ((usual, _),) = Counter(each.digest for each in prints.values()).most_common(1)
    first = next(name for name, each in prints.items() if each.digest == usual)
    for name, each in prints.items():
        if each.digest != usual:
            told = listed(f"{found.kind} {found.name}" for found in differences(prints[first], each))
            yield of.error(f"the schema of {name} is not that of {first}: {told}", "shardwright check", shard=name)
