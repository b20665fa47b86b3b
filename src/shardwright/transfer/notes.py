"""What a reader should know of a placed table: rows that may have no tenant, references nobody vouches for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from shardwright.pg.tables import ForeignKey
from shardwright.transfer.graph import (
    PlacedTable,
    TableGraph,
    carried_key,
    columns_text,
    is_not_null,
    with_partitions,
)

Note = Callable[[TableGraph, PlacedTable], Iterator[str]]


def with_notes(graph: TableGraph, tenant_key: str) -> TableGraph:
    """The same graph, each table with its notes."""
    return replace(
        graph, tables=tuple(replace(each, notes=(*_notes(graph, each, tenant_key),)) for each in graph.tables)
    )


def loose_references(graph: TableGraph, placed: PlacedTable) -> Iterator[ForeignKey]:
    """The foreign keys between rows of tenants that may lead to another tenant's row, as far as the catalogs know.

    Not the way to the tenant itself, and not those that carry the tenant key with them.
    """
    for table in with_partitions(placed):
        for key in table.foreign_keys:
            there = graph.find(key.table)
            if there is None or not there.is_of_tenants or key in placed.way.steps:
                continue
            if placed.way.key is None or carried_key(key, there.way) != placed.way.key:
                yield key


def _notes(graph: TableGraph, placed: PlacedTable, tenant_key: str) -> Iterator[str]:
    if placed.is_of_tenants:
        for note in (_without_tenant, _other_type, _loose, _unvalidated, _cycle, _to_ignored, _no_primary_key):
            yield from note(graph, placed)
    elif placed.kind == "ignored":
        yield from _left_behind(graph, placed)
    elif placed.kind == "shared" and placed.table.has(tenant_key):
        yield f"it is shared, and has {tenant_key}"
    yield from _partitions(graph, placed)
    yield from (f"inherits from {graph.catalog.shown(name)}" for name in placed.table.inherits)


def _without_tenant(graph: TableGraph, placed: PlacedTable) -> Iterator[str]:
    if placed.way.is_whole:
        return
    columns = [placed.way.key] if placed.way.key else [columns_text(step.columns) for step in placed.way.steps]
    nullable = all(not is_not_null(placed.table, step) for step in placed.way.steps)
    if not nullable:
        yield f"a row belongs to no tenant where {graph.path(placed)} ends in null"
    elif len(columns) == 1:
        yield f"a row belongs to no tenant where {columns[0]} is null"
    else:
        yield f"a row belongs to no tenant where {', '.join(columns)} are null"


def _other_type(graph: TableGraph, placed: PlacedTable) -> Iterator[str]:
    root = next(each for each in graph.tables if each.kind == "root")
    if placed.way.key is None or root.way.key is None:
        return
    own, its = placed.table.column(placed.way.key), root.table.column(root.way.key)
    if own.type != its.type:
        yield f"{own.name} is {own.type}, {graph.catalog.shown(root.table.name)}.{its.name} is {its.type}"


def _loose(graph: TableGraph, placed: PlacedTable) -> Iterator[str]:
    shown = graph.catalog.shown
    told = (f"{columns_text(key.columns)} → {shown(key.table)}" for key in loose_references(graph, placed))
    if keys := ", ".join(dict.fromkeys(told)):
        yield f"may refer to another tenant's row: {keys}"


def _unvalidated(graph: TableGraph, placed: PlacedTable) -> Iterator[str]:
    for step in placed.way.steps:
        if not step.is_validated:
            yield f"{step.name} is not validated: a row may refer to none of {graph.catalog.shown(step.table)}"


def _cycle(graph: TableGraph, placed: PlacedTable) -> Iterator[str]:
    group = next(group for group in graph.copy_order if placed.table.name in group)
    others = [graph.catalog.shown(name) for name in group if name != placed.table.name]
    if others:
        yield f"in a cycle of foreign keys with {', '.join(others)}"


def _to_ignored(graph: TableGraph, placed: PlacedTable) -> Iterator[str]:
    for key in placed.table.foreign_keys:
        there = graph.find(key.table)
        if there and there.kind == "ignored":
            shown = graph.catalog.shown(key.table)
            yield f"{columns_text(key.columns)} refers to {shown}, which is ignored: the row may not be elsewhere"


def _no_primary_key(graph: TableGraph, placed: PlacedTable) -> Iterator[str]:
    del graph
    if not placed.table.primary_key:
        yield "no primary key"


def _left_behind(graph: TableGraph, placed: PlacedTable) -> Iterator[str]:
    for key in placed.table.foreign_keys:
        there = graph.find(key.table)
        if there and there.is_of_tenants:
            yield f"{columns_text(key.columns)} refers to {graph.catalog.shown(key.table)}, whose rows may leave"


def _partitions(graph: TableGraph, placed: PlacedTable) -> Iterator[str]:
    usual = {key.columns for key in placed.table.uniques}
    for part in placed.partitions:
        shown = graph.catalog.shown(part.name)
        own = [key.name for key in part.uniques if key.columns not in usual]
        own += [key.name for key in part.foreign_keys]
        if own:
            yield f"its partition {shown} has constraints of its own: {', '.join(own)}"
        if part.storage == "foreign":
            yield f"its partition {shown} is a foreign table"
