"""Tables whose rows can't be told apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground
from shardwright.move.preflight.said import counted, quoted, script
from shardwright.pg.tables import Table
from shardwright.transfer.keys import key_of

SMALL: Final = 5_000


@check("error", "note", cure="a primary key, by a revision for every shard")
def keys(ground: Ground) -> Iterator[Finding]:
    """Changes of a row are brought after it by its key: the primary key, or a unique one that no row can leave out.

    A table with neither is copied whole while the tenant can't write: a note up to 5,000 rows of the tenant, or in an
    offline move; an error above.
    """
    for placed in ground.tables:
        if key_of(placed.table) is not None:
            continue
        shown = ground.source_side.shown(placed.table.name)
        count = ground.count(ground.source_side, placed, SMALL)
        rows = counted(count, "row", SMALL)
        if ground.offline or count <= SMALL:
            fact = f"{shown} has no primary key: {rows} of the tenant are copied while it can't write"
            yield keys.note(fact, proposed_key(placed.table))
        else:
            fact = f"{shown} has no primary key and {rows} of the tenant, too many to copy while it can't write"
            yield keys.error(fact, proposed_key(placed.table))


def proposed_key(table: Table) -> str:
    """A key that is there already but for NOT NULL, else one more column."""
    altered = f"ALTER TABLE {table.name.identifier.as_string()}"
    for key in table.uniques:
        if not (key.is_partial or key.is_deferrable or key.has_expressions):
            nullable = [name for name in key.columns if not table.column(name).is_not_null]
            return script(f"{altered} ALTER COLUMN {quoted(name)} SET NOT NULL" for name in nullable)
    name = next(each for each in ("id", "row_id", "shardwright_id") if not table.has(each))
    if table.partition_key is not None:
        return f"a primary key of {table.name} with its partition key in it"
    return f"{altered} ADD COLUMN {quoted(name)} uuid PRIMARY KEY DEFAULT gen_random_uuid()"
