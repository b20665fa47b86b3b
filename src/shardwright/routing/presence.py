"""Asks a shard itself, by its fences, whether a tenant is there."""

from __future__ import annotations

from psycopg.sql import SQL, Identifier
from sqlalchemy import text
from sqlalchemy.orm import Session

from shardwright.pg.queries import load
from shardwright.routing.known import Place
from shardwright.routing.refusal import Refusal

CLOSED = 2
_queries = load(__package__)
_HAS_MOVES = text(_queries["has_moves"].as_string())
_MOVES_OF = text(_queries["moves_of"].as_string())


def look_for_fence(session: Session, tenant: str) -> Refusal | None:
    """What a write of `tenant` would be refused with here; None where it would not be. Begins the transaction.

    Fences are read as they are now, and not as of the transaction's snapshot.
    """
    if not session.scalar(_HAS_MOVES):
        return None
    for move, gone_to, epoch in session.execute(_MOVES_OF, {"tenant": tenant}).all():
        fence = SQL(_queries["fence"].as_string()).format(fence=Identifier("shardwright", f"fence_{move}"))
        if session.scalar(text(fence.as_string())) == CLOSED:
            is_known = gone_to is not None and epoch is not None
            return Refusal(tenant, Place(gone_to, epoch) if is_known else None)
    return None
