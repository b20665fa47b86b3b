"""Tables that inherit from others."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Shards
from shardwright.move.preflight.said import listed


@check("note", cure="nothing to mend")
def inheritance(ground: Shards) -> Iterator[Finding]:
    """Tables that inherit (`INHERITS`) are moved each by itself, and keys of the parent do not hold for the child."""
    for placed in ground.tables:
        if parents := placed.table.inherits:
            shown = ground.giving[0].shown
            parents_shown = listed(map(shown, parents))
            yield inheritance.note(f"{shown(placed.table.name)} inherits from {parents_shown}: it moves by itself")
