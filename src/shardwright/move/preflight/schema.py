"""The schemas differ."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground, Side
from shardwright.move.preflight.said import NAMED
from shardwright.pg.fingerprint import Difference, differences
from shardwright.pg.queries import load

_queries = load(__package__)
_CURE = "shardwright migrate; or mend what shardwright check names"
# PostgreSQL 15 prints them in another way than 16 and later.
_PRINTED_ANEW = frozenset({"view", "materialized view", "rule"})


@check("error", cure="`shardwright migrate`, or mend what `shardwright check` names")
def schema(ground: Ground) -> Iterator[Finding]:
    """A row of the source has to be a row of the target: same columns, constraints, partitions, functions.

    So a row that the source took is one that the target takes. Views are left out where one shard is on PostgreSQL 15
    and the other is not.
    """
    left, right = (side.fingerprint for side in ground.sides)
    printed_alike = len({_is_15(side) for side in ground.sides}) == 1
    found = [each for each in differences(left, right) if _counts(each, printed_alike)]
    for each in found[:NAMED]:
        yield schema.error(_told(each, ground), _CURE)
    if rest := len(found) - NAMED if len(found) > NAMED else 0:
        yield schema.error(f"{rest} more objects of {ground.source.name} and {ground.target.name} differ", _CURE)


def _is_15(side: Side) -> bool:
    return int(side.one(_queries["server"])[0]) // 10000 == 15


def _counts(difference: Difference, printed_alike: bool) -> bool:
    if difference.left is None or difference.right is None:
        return True
    return printed_alike or difference.kind not in _PRINTED_ANEW


def _told(difference: Difference, ground: Ground) -> str:
    sides = {ground.source.name: difference.left, ground.target.name: difference.right}
    told = (f"{definition or 'there'} on {name}" for name, definition in sides.items() if definition is not None)
    missing = (f"missing on {name}" for name, definition in sides.items() if definition is None)
    return f"{difference.kind} {difference.name}: {', '.join((*told, *missing))}"
