"""Too few connections are free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from shardwright.bluegreen.preflight.ground import Ground
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.said import quoted
from shardwright.pg.queries import load

_queries = load("shardwright.move.preflight")
_own = load(__package__)
_EACH: Final = 6  # beside the streams of the copy: to read, to write, to lock, to switch and to look at it
_MANY: Final = 20_000


@check("warning", cure="raise the limit that the finding names")
def connection_room(ground: Ground) -> Iterator[Finding]:
    """A change needs six connections to each shard, and one for each stream of the copy.

    Counted against `max_connections` of the server, and the limits of the database and of the role.
    """
    each = _EACH + ground.fleet.config.moves.streams
    on_host = Counter(shard.host for shard in ground.fleet.every)
    for host, side in {side.shard.host: side for side in ground.sides}.items():
        server, _, role = side.one(_queries["connections"])
        needed = each * on_host[host]
        limits = (
            ("the server", server, "raise max_connections there"),
            (f"role {side.role}", role, f"ALTER ROLE {quoted(side.role)} CONNECTION LIMIT -1"),
        )
        for whose, free, cure in limits:
            if free is not None and free < needed:
                fact = f"{whose} of {side.name} has {max(free, 0)} connections left, a change needs up to {needed}"
                yield connection_room.warning(fact, cure, shard=side.name)
    for side in ground.sides:
        free = side.one(_queries["connections"])[1]
        if free is not None and free < each:
            name = side.shard.url.database
            fact = f"database {name} of {side.name} has {max(free, 0)} connections left, a change needs {each}"
            cure = f"ALTER DATABASE {quoted(name)} CONNECTION LIMIT -1"
            yield connection_room.warning(fact, cure, shard=side.name)
