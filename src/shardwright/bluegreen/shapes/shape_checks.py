"""What speaks against shapes before any row is looked at: from the catalogs, and from the planner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import psycopg
from psycopg import sql

from shardwright.bluegreen.shapes import lines
from shardwright.bluegreen.shapes.carry import fits, type_there
from shardwright.bluegreen.shapes.describe import Reads, reads
from shardwright.bluegreen.shapes.images import Image, Images, within
from shardwright.bluegreen.shapes.shape import BACK
from shardwright.bluegreen.shapes.trial import trial
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.said import listed
from shardwright.pg.faults import explain
from shardwright.pg.queries import load
from shardwright.pg.tables import Table, TableName
from shardwright.transfer.drain import BY_INDEX
from shardwright.transfer.graph import columns_text
from shardwright.transfer.keys import key_of

CONSTANT, ONE_WAY, LOSSY = "constant", "one-way", "lossy"
_FEW: Final = 1_000  # rows of a table that may be read whole each time
_queries = load(__package__)


def problems(images: Images, *, allow: str | None = None) -> Iterator[Finding]:
    """What has no image. On the way back: with ONE_WAY, since a change can do without."""
    for each in images.problems:
        yield Finding("error", "shapes", each.fact, each.cure, allow=allow)


def dependence(connection: psycopg.Connection[Any], images: Images) -> Iterator[Finding]:
    """What an image reads and isn't told of, whose changes would not be brought; what no image reads."""
    read: dict[TableName, set[str]] = {}
    for image in images.tables:
        try:
            found = reads(connection, images.giving, image)
        except psycopg.Error as error:
            fault = explain(error)
            fact = f"[{image.line}] what its select reads can't be looked at: {fault.reason}"
            allow = CONSTANT if isinstance(error, psycopg.errors.InsufficientPrivilege) else None
            yield Finding("error", "dependence", fact, fault.hint, allow=allow)
            continue
        for table, columns in found.columns.items():
            read.setdefault(table, set()).update(columns)
        yield from _undeclared(images, image, found)
    fed = {feed.table for image in images.tables for feed in image.feeds}
    for table in sorted(fed):
        own = images.giving.by_name[table].columns
        if unread := [each.name for each in own if each.name not in read.get(table, ()) and not each.generated]:
            fact = f"{images.giving.shown(table)}.{columns_text(tuple(unread))} is read by nothing: it is not brought"
            yield Finding("note", "dependence", fact)


def defaults(images: Images) -> Iterator[Finding]:
    """Columns that get no value from the other side."""
    for table, columns in images.ungiven.items():
        fact = f"{images.receiving.catalog.shown(table)}.{columns_text(columns)} is not given: it has its default, anew"
        yield Finding("note", "defaults", f"{fact} each time the row changes at the giving side")


def _undeclared(images: Images, image: Image, read: Reads) -> Iterator[Finding]:
    fed = {feed.table for feed in image.feeds}
    key = key_of(image.table)
    for table in sorted(set(read.columns) - fed):
        shown = images.giving.shown(table)
        fact = f"[{image.line}] reads {shown}, which is not in its from: a change of {shown} would not be brought"
        places = ", ".join(f"the column for {name}" for name in (key.columns if key else ()))
        more = f"from = {{ …, {lines.key(shown)} = [{places}] }}"
        cure = f"[{image.line}] {more}; or --allow {CONSTANT} where it never changes"
        yield Finding("error", "dependence", fact, cure, allow=CONSTANT)
    if read.functions:
        fact = f"[{image.line}] calls {listed(read.functions)}: what that reads can't be told"
        yield Finding("warning", "dependence", fact, "a function that hangs on nothing but its arguments is IMMUTABLE")


def plans(connection: psycopg.Connection[Any], images: Images) -> Iterator[Finding]:
    """How the giving side finds the rows under a few keys, which each drain asks for; and whether it can note them."""
    for image in images.tables:
        if image.is_plain or (key := key_of(image.table)) is None:
            continue
        try:
            with trial(connection, images.giving):
                yield from _shape_of_plan(connection, image)
                yield from _whole_reads(connection, images, image)
                for feed in image.feeds:
                    yield from _noted(connection, image, feed.table, feed.key, key.columns)
        except psycopg.Error as error:
            fault = explain(error)
            yield Finding("error", "plans", f"[{image.line}] can't be asked for a key: {fault.reason}", fault.hint)


def _shape_of_plan(connection: psycopg.Connection[Any], image: Image) -> Iterator[Finding]:
    """What stands at the top of the user's SELECT, where it may make rows hang on one another."""
    if image.select is None:
        return
    top = _explained(connection, sql.SQL("SELECT * FROM {} AS s").format(within(image.select)))
    if any(node["Node Type"] == "Limit" for node in _tops(top)):
        fact = f"[{image.line}] select has a LIMIT: which rows it gives hangs on all others"
        yield Finding("error", "plans", fact, f"[{image.line}] take LIMIT or OFFSET out of the select")
    elif any(node["Node Type"] == "WindowAgg" for node in _tops(top)):
        fact = f"[{image.line}] select has a window function, by which a row may hang on rows of other keys"
        yield Finding("warning", "plans", fact, "right only where PARTITION BY is the key")


def _tops(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The node, and those below it as long as there is one each."""
    yield node
    below = [each for each in node.get("Plans", ()) if each["Parent Relationship"] not in {"SubPlan", "InitPlan"}]
    if len(below) == 1:
        yield from _tops(below[0])


def _whole_reads(connection: psycopg.Connection[Any], images: Images, image: Image) -> Iterator[Finding]:
    connection.execute(sql.SQL("SET LOCAL enable_seqscan = off; {}").format(sql.SQL(BY_INDEX)))
    key = [image.shown.column(name) for name in _key(image)]
    nulls = sql.SQL(", ").join(sql.SQL("NULL::{}").format(sql.SQL(type_there(column))) for column in key)
    same = sql.SQL(" AND ").join(
        sql.SQL("{} {} {}").format(
            sql.Identifier("r", column.name), sql.SQL(column.equality), sql.Identifier("q", f"k{place}")
        )
        for place, column in enumerate(key, 1)
    )
    names = sql.SQL(", ").join(sql.Identifier(f"k{place}") for place in range(1, len(key) + 1))
    columns = sql.SQL(", ").join(sql.Identifier("r", column.name) for column in image.shown.columns)
    query = sql.SQL("SELECT {} FROM (VALUES ({}), ({})) AS q ({}) JOIN {} AS r ON {}").format(
        columns, nulls, nulls, names, image.shown.source, same
    )
    large = {str(each.name): each for each in images.giving.tables if each.rows > _FEW}
    whole = {
        name
        for node in _nodes(_explained(connection, query))
        if (name := f"{node.get('Schema')}.{node.get('Relation Name')}") in large and "Index Cond" not in node
        and node["Node Type"] in {"Seq Scan", "Index Scan", "Index Only Scan"}
    }  # fmt: skip
    for name in sorted(whole):
        fact = f"[{image.line}] {name} is read whole for each batch of changes: the key leads to no index of it"
        cure = (
            "a SELECT without DISTINCT, GROUP BY, ORDER BY, whose key is a column as it is; or an index on what it is"
        )
        yield Finding("warning", "plans", fact, cure)


def _noted(
    connection: psycopg.Connection[Any], image: Image, table: TableName, own: tuple[str, ...], key: tuple[str, ...]
) -> Iterator[Finding]:
    """Whether a trigger could write the feed's columns down as the image's key; else it would break the writers."""
    columns = sql.SQL(", ").join(map(sql.Identifier, own))
    query = sql.SQL("SELECT {} FROM {} LIMIT 0").format(columns, table.identifier)
    given = connection.execute(query).pgresult
    for place, column in enumerate(image.shown.column(name) for name in key):
        values = {"given": given.ftype(place) if given else 0, "wanted": type_there(column)}
        row = connection.execute(_queries["is_assignable"], values).fetchone()
        if row is None or not row[0]:
            fact = f"[{image.line}] {table}.{own[place]} can't be written down as {column.name}, {type_there(column)}"
            yield Finding("error", "plans", fact, "a key whose column has the type of the one that it is made from")


def _explained(connection: psycopg.Connection[Any], query: sql.Composable) -> dict[str, Any]:
    row = connection.execute(sql.SQL("EXPLAIN (FORMAT JSON, VERBOSE) {}").format(query)).fetchone()
    plan: dict[str, Any] = row[0][0]["Plan"] if row else {}
    return plan


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from _nodes(below)


def way_back(forward: Images, back: Images) -> Iterator[Finding]:
    """Whether blue can hold what green may write, by the catalogs: forward.giving is blue."""
    yield from problems(back, allow=ONE_WAY)
    blue, green = forward.giving, back.giving
    fed = {feed.table for image in forward.tables for feed in image.feeds}
    troubled = {name for each in back.problems for name in each.tables}
    for name in sorted(fed):
        table, image = blue.by_name[name], back.by_name.get(name)
        if image is not None:
            yield from _held(forward, back, table, image)
        elif name not in troubled:
            cure = lines.proposed(BACK, table, None, (blue, green))
            fact = f"{blue.shown(name)} is made from nothing of green: what is written there could not come home"
            yield Finding("error", "way-back", fact, cure, allow=ONE_WAY)


def _held(forward: Images, back: Images, table: Table, image: Image) -> Iterator[Finding]:
    shown = forward.giving.shown(table.name)
    missing = tuple(each.name for each in table.columns if not image.table.has(each.name) and not each.generated)
    if missing:
        fact = f"{shown}.{columns_text(missing)} is not made from green: a row that changes there comes home without it"
        yield Finding("error", "way-back", fact, f"[{image.line}] give it in a select", allow=LOSSY)
    own = back.giving.by_name.get(table.name) if image.select is None else None
    if own is None:
        return
    for column in image.table.columns:
        there = own.column(column.name)
        if not fits(there.type, column.type):
            fact = f"{shown}.{column.name} is {column.type}, and {there.type} in green: not all of that fits"
            yield Finding("warning", "way-back", fact, f"[{image.line}] a select that makes it fit")
        if column.is_not_null and not there.is_not_null:
            fact = f"{shown}.{column.name} may not be null, and may in green: such a row could not come home"
            yield Finding("warning", "way-back", fact, f"[{image.line}] coalesce({lines.name(column.name)}, …)")
    kept = {frozenset(each.columns) for each in own.uniques if not each.is_partial and not each.has_expressions}
    for key in image.table.uniques:
        if not key.is_partial and not any(each <= set(key.columns) for each in kept):
            fact = f"{shown}.{columns_text(key.columns)} is unique, and not in green: two rows could not come home"
            yield Finding("warning", "way-back", fact, f"the same constraint in green: {key.name}")


def _key(image: Image) -> tuple[str, ...]:
    key = key_of(image.table)
    return key.columns if key else ()
