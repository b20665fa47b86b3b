"""Generated columns."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground
from shardwright.move.preflight.said import listed


@check("note", cure="nothing to mend")
def generated_columns(ground: Ground) -> Iterator[Finding]:
    """A stored generated column is not copied but computed anew on the target, by the functions that are there."""
    for placed in ground.tables:
        if names := [column.name for column in placed.table.columns if column.generated == "stored"]:
            shown = ground.source_side.shown(placed.table.name)
            yield generated_columns.note(f"{listed(names)} of {shown} will be computed anew on {ground.target.name}")
