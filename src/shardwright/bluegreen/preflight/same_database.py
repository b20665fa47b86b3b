"""Two shards are one database."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from shardwright.bluegreen.preflight.ground import GreenSide, Ground
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.pg.queries import load

_queries = load("shardwright.move.preflight")


@check("error", cure="take one of them out of the configuration", is_decisive=True)
def same_database(ground: Ground) -> Iterator[Finding]:
    """No two shards, blue or green, are one database that two URLs lead to: its rows would be brought onto
    themselves."""
    number = {"number": secrets.randbelow(1 << 62)}
    marked: list[GreenSide] = []
    try:
        for side in ground.sides:
            if side.one(_queries["mark"], number)[0]:
                marked.append(side)
            else:
                fact = f"{side.name} and another of {', '.join(each.name for each in marked)} are one database"
                yield same_database.error(fact, f"take {side.name} out of the configuration", shard=side.name)
    finally:
        for side in marked:
            if not side.connection.closed:
                side.ask(_queries["unmark"], number)
