"""Large objects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Shards
from shardwright.move.preflight.said import quoted, script
from shardwright.pg.tables import Column

_NUMBERS_OF_LARGE_OBJECTS: Final = re.compile(r'^(?:oid|(?:.*\.)?"?lo"?)$')


@check("error", cure="bytea columns, by a revision for every shard; or `--allow large-objects`")
def large_objects(ground: Shards) -> Iterator[Finding]:
    """A column of type `oid` or `lo` holds the number of a large object, which lies elsewhere and does not move.

    On the target the number means another large object, or none. Allow it where such columns hold other numbers.
    """
    for placed in ground.tables:
        found = [column for column in placed.table.columns if _NUMBERS_OF_LARGE_OBJECTS.match(column.type)]
        if found:
            shown = ground.giving[0].shown(placed.table.name)
            names = " and ".join(f"{shown}.{column.name} ({column.type})" for column in found)
            cure = script(_as_bytes(placed.table.name.identifier.as_string(), column) for column in found)
            yield large_objects.error(f"{names} can hold large objects, which do not move", cure, allow="large-objects")


def _as_bytes(table: str, column: Column) -> str:
    name = quoted(column.name)
    return f"ALTER TABLE {table} ALTER COLUMN {name} TYPE bytea USING lo_get({name})"
