"""Triggers and foreign keys that would get in the way of our own writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from shardwright.bluegreen.preflight.ground import Ground
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.said import quoted
from shardwright.move.preflight.triggers import fires_for_replicas
from shardwright.pg.queries import load
from shardwright.transfer.sessions import may_write_silently

_queries = load("shardwright.move.preflight")
_INSERT_OR_DELETE: Final = 4 | 8


@check("error", "warning", cure="GRANT SET ON PARAMETER session_replication_role TO the role (by a superuser)")
def triggers(ground: Ground) -> Iterator[Finding]:
    """Rows that are brought must not fire the application's triggers once more, nor follow foreign keys with deletes.

    They don't where the role may set `session_replication_role`, unless a trigger is enabled for replicas too: a
    warning.
    """
    for side in ground.sides:
        if not may_write_silently(side.connection):
            fact = f"role {side.role} may not set session_replication_role on {side.name}"
            grant = f"GRANT SET ON PARAMETER session_replication_role TO {quoted(side.role)}"
            yield triggers.error(fact, grant, shard=side.name)
            continue
        found = side.ask_of(side.carried, _queries["triggers"], events=_INSERT_OR_DELETE)
        for finding in fires_for_replicas(side, found):
            yield triggers.warning(finding.fact, finding.cure, shard=side.name)
