"""Transactions that somebody prepared and nobody decided."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Shards
from shardwright.pg.queries import load

_queries = load(__package__)
FORGOTTEN = 300  # seconds


@check("error", "warning", cure="COMMIT PREPARED … or ROLLBACK PREPARED …")
def prepared_transactions(ground: Shards) -> Iterator[Finding]:
    """A prepared transaction keeps its locks, and the tenant's fence waits for it, until somebody decides.

    One of less than five minutes is a warning.
    """
    for side in ground.sides:
        for gid, owner, age in side.ask(_queries["prepared"]):
            fact = f"transaction {gid} of {owner} has been prepared on {side.name} for {age} s; COMMIT it, or"
            cure = f"ROLLBACK PREPARED {sql.Literal(gid).as_string(side.connection)}"
            say = prepared_transactions.error if age > FORGOTTEN else prepared_transactions.warning
            yield say(fact, cure, shard=side.name)
