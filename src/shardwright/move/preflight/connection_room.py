"""Too few connections are free."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground
from shardwright.move.preflight.said import quoted
from shardwright.pg.queries import load

_queries = load(__package__)
NEEDED: Final = 8


@check("warning", cure="raise the limit that the finding names")
def connection_room(ground: Ground) -> Iterator[Finding]:
    """A move needs eight connections on each side, sixteen where both shards are on one server.

    Counted against `max_connections`, and the limits of the database and of the role.
    """
    is_one_server = ground.source.host == ground.target.host
    for side in ground.sides:
        server, database, role = side.one(_queries["connections"])
        needed = 2 * NEEDED if is_one_server else NEEDED
        name = quoted(side.shard.url.database)
        limits = (
            ("the server", server, needed, "raise max_connections, or lower limits.connections_per_host"),
            ("database " + side.shard.url.database, database, NEEDED, f"ALTER DATABASE {name} CONNECTION LIMIT -1"),
            ("role " + side.role, role, needed, f"ALTER ROLE {quoted(side.role)} CONNECTION LIMIT -1"),
        )
        for whose, free, wanted, cure in limits:
            if free is not None and free < wanted:
                fact = f"{whose} of {side.name} has {max(free, 0)} connections left, a move needs {wanted}"
                yield connection_room.warning(fact, cure, shard=side.name)
