"""Tables that one side can't show as the other has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from shardwright.bluegreen.preflight.ground import Ground
from shardwright.bluegreen.shapes.check import check_shapes
from shardwright.bluegreen.shapes.shape_checks import LOSSY, ONE_WAY
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.said import listed

_TRIED: Final = 20  # tenants of each blue shard


@check(
    "error",
    "warning",
    "note",
    cure="the line under `[bluegreen.tables]` or `[bluegreen.back]` that the finding names; or `--allow` its word",
)
def shapes(ground: Ground) -> Iterator[Finding]:
    """Each table of green can be made from blue's, and each of blue's from green's for the way back.

    Asked of the SELECTs and the catalogs first; then rows of the largest and smallest tenants of each blue shard are
    brought to green and home again in a transaction that is rolled back. What does not come back as it was is named by
    column: `lossy`; what can't come back at all: `one-way`. Tables whose columns may hold less than blue's are read
    whole, for nulls, lengths and keys.
    """
    for side in ground.blue:
        found = check_shapes(
            side.connection, ground.model.connection, ground.shown, _tenants(ground, side.name), allow=ground.allow
        )
        for each in found:
            if side is not ground.blue[0] and each.check not in ("rows", "round-trip"):
                continue  # of the schema, which all have
            if ground.one_way and each.allow in (LOSSY, ONE_WAY):
                continue
            of_rows = each.check in ("rows", "round-trip")
            fact = f"{each.fact} ({side.name})" if of_rows and len(ground.blue) > 1 else each.fact
            yield replace(each, check=shapes.name, fact=fact)
    shown = ground.model.shown
    if alone := ground.shown.there.left_alone:
        yield shapes.note(f"nothing of blue comes to {listed(map(shown, alone))}: they stay as green has them")
    if lost := ground.shown.there.untaken:
        told = listed(f"{ground.blue[0].shown(table)}.{name}" for table, names in lost.items() for name in names)
        yield shapes.note(f"green has no place for {told}")


def _tenants(ground: Ground, shard: str) -> list[str]:
    """Half of them the largest, half the smallest."""
    theirs = {tenant: load for tenant, load in ground.loads.items() if load.shard == shard}
    ordered = sorted(theirs, key=lambda tenant: (theirs[tenant].rows, tenant))
    return list(dict.fromkeys((*ordered[-_TRIED // 2 :], *ordered[: _TRIED // 2])))
