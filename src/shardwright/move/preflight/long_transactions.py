"""Transactions that have been open for long."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Shards
from shardwright.pg.queries import load

_queries = load(__package__)
LONG = 60.0  # seconds


@check("warning", cure="wait for it, or SELECT pg_terminate_backend(…)")
def long_transactions(ground: Shards) -> Iterator[Finding]:
    """A transaction that is older than a minute may hold locks on the tables, and the move's triggers wait for it.

    Those of other roles are only seen by members of `pg_read_all_stats`.
    """
    for side in ground.sides:
        for pid, user, name, state, age, query in side.ask(_queries["long_transactions"], {"seconds": LONG}):
            who = ", ".join(filter(None, (name, user, state)))
            fact = f"a transaction on {side.name} is {age} s old: pid {pid} ({who}: {query})"
            yield long_transactions.warning(fact, f"SELECT pg_terminate_backend({pid})", shard=side.name)
