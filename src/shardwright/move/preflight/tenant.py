"""The tenant is not on the source, or its id is written in another way."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
from psycopg import sql

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground
from shardwright.move.preflight.said import quoted
from shardwright.pg.tables import Column

INTEGERS = frozenset({"smallint", "integer", "bigint"})


@check("error", "warning", cure="name the tenant as PostgreSQL writes its id", is_decisive=True)
def tenant(ground: Ground) -> Iterator[Finding]:
    """The tenant has its row in the root table of the source, and is named as PostgreSQL writes its id.

    `07` and `7` are one number and two texts; the fence compares texts. A tenant key of another type than the id of
    the root table may write one id in two ways, which is a warning.
    """
    if ground.root is None:
        return
    try:
        found = ground.source_side.ask(_id_of(ground))
    except psycopg.errors.DataError as error:
        said = error.diag.message_primary
        yield tenant.error(f"{ground.tenant} is no id of a tenant: {said}", "shardwright tenants")
        return
    written = str(found[0][0]) if found else None
    shown = ground.source_side.shown(ground.root.table.name)
    if written is None:
        fact = f"{shown} of {ground.source.name} has no tenant {ground.tenant}"
        yield tenant.error(fact, "shardwright tenants sync", shard=ground.source.name)
    elif written != ground.tenant:
        yield tenant.error(f"PostgreSQL writes the tenant {ground.tenant} as {written}", f"name it {written}")
    yield from _other_types(ground)


def _id_of(ground: Ground) -> sql.Composed:
    root = ground.root
    assert root is not None  # noqa: S101 asked for by `tenant`
    key = sql.Identifier("r", str(root.way.key))
    condition = ground.is_of_tenant(root.table.name)
    return sql.SQL("SELECT {}::text FROM {} AS r WHERE {}").format(key, root.table.source, condition)


def _other_types(ground: Ground) -> Iterator[Finding]:
    root = ground.root
    assert root is not None  # noqa: S101 asked for by `tenant`
    its = root.table.column(str(root.way.key))
    for placed in ground.tables:
        key = placed.way.key
        if key is None or _family(own := placed.table.column(key)) == _family(its):
            continue
        shown = ground.source_side.shown(placed.table.name)
        root_key = f"{ground.source_side.shown(root.table.name)}.{its.name}"
        column = quoted(key)
        cure = (
            f"ALTER TABLE {placed.table.name.identifier.as_string()} ALTER COLUMN {column} TYPE {its.type}"
            f" USING {column}::{its.type}"
        )
        yield tenant.warning(f"{shown}.{key} is {own.type}, {root_key} is {its.type}", cure)


def _family(column: Column) -> str:
    """Types in one family write one value as one text."""
    bare = re.sub(r"\(.*\)", "", column.type)
    if bare in INTEGERS:
        return "integer"
    return "text" if bare in {"text", "character varying"} else bare
