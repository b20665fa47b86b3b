"""A connection pooler stands between."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Shards, Side
from shardwright.pg.queries import load

_queries = load(__package__)


@check("error", cure="let the shard's URL name the PostgreSQL server itself")
def pooler(ground: Shards) -> Iterator[Finding]:
    """Session locks and settings do not survive PgBouncer's transaction pooling, and the fence is made of them."""
    for side in ground.sides:
        if not _is_one_session(side):
            fact = f"a connection pooler stands before {side.name}: session locks and settings do not survive it"
            yield pooler.error(fact, "let its URL name the PostgreSQL server itself", shard=side.name)


def _is_one_session(side: Side) -> bool:
    """A pooler tells its clients a number of its own, and each transaction may go to another server process."""
    word = secrets.token_hex(8)
    _, first = side.one(_queries["remember"], {"word": word})
    remembered, second = side.one(_queries["remembered"])
    return bool(remembered == word and first == second == side.connection.info.backend_pid)
