"""Triggers and foreign keys that would get in the way of the mover's own writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground, Side
from shardwright.move.preflight.said import listed, quoted
from shardwright.pg.queries import load
from shardwright.pg.tables import TableName
from shardwright.transfer.graph import columns_text, with_partitions
from shardwright.transfer.sessions import may_write_silently

_queries = load(__package__)
_INSERT_OR_DELETE: Final = 4 | 8
_DELETE: Final = 8


@check("error", "warning", cure="GRANT SET ON PARAMETER session_replication_role TO the mover's role (by a superuser)")
def triggers(ground: Ground) -> Iterator[Finding]:
    """Rows that are copied or cleaned away must not fire the application's triggers once more.

    They don't where the mover may set `session_replication_role`, unless a trigger is enabled for replicas too. A move
    while the tenant works needs that right: rows that have changed are taken out and put in again, which foreign keys
    would forbid, or follow with deletes. An offline move does without, where no trigger would fire and no tables refer
    to one another or to themselves, which can't be filled in order; its copy is slower then: a warning.
    """
    for side in ground.sides:
        events = _DELETE if side is ground.source_side else _INSERT_OR_DELETE
        found = side.ask_of(side.carried, _queries["triggers"], events=events)
        if may_write_silently(side.connection):
            yield from fires_for_replicas(side, found)
        else:
            yield from _without_the_right(ground, side, found)


def fires_for_replicas(side: Side, found: list[tuple[str, str, str, bool, bool]]) -> Iterator[Finding]:
    """The triggers that no role of a session holds back."""
    for schema, table, name, is_for_replicas, _ in found:
        if is_for_replicas:
            shown = side.shown(TableName(schema, table))
            fact = f"trigger {name} of {shown} on {side.name} fires for replicas too: also for each row that is brought"
            cure = f"ALTER TABLE {quoted(schema, table)} ENABLE TRIGGER {quoted(name)}"
            yield triggers.warning(fact, cure, shard=side.name)


def _without_the_right(ground: Ground, side: Side, found: list[tuple[str, str, str, bool, bool]]) -> Iterator[Finding]:
    grant = f"GRANT SET ON PARAMETER session_replication_role TO {quoted(side.role)}"
    lacks = f"role {side.role} may not set session_replication_role on {side.name}"
    firing = [
        f"{name} of {side.shown(TableName(schema, table))}" for schema, table, name, _, is_for_us in found if is_for_us
    ]
    if firing:
        yield triggers.error(f"{lacks}, so the move would fire {listed(firing)}", grant, shard=side.name)
    if not ground.offline:
        fact = f"{lacks}, which a move needs while the tenant works (one with --offline may do without)"
        yield triggers.error(fact, grant, shard=side.name)
    elif side is ground.target_side:
        if circles := list(_circles(side)):
            fact = f"{lacks}, and rows can't be copied in the order of these foreign keys: {listed(circles)}"
            yield triggers.error(fact, grant, shard=side.name)
        else:
            fact = f"{lacks}: each copied row has its foreign keys checked, which is slower"
            yield triggers.warning(fact, grant, shard=side.name)


def _circles(side: Side) -> Iterator[str]:
    """The foreign keys from a table to itself, or to one that needs it."""
    for group in side.graph.copy_order:
        for table in (table for name in group for table in with_partitions(side.graph[name])):
            for key in table.foreign_keys:
                there = side.graph.find(key.table)
                if there is not None and there.table.name in group:
                    yield f"{side.shown(table.name)}.{columns_text(key.columns)} → {side.shown(key.table)}"
