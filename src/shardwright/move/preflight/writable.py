"""A shard can't be written."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Shards, Side
from shardwright.move.preflight.said import quoted
from shardwright.pg.queries import load

_queries = load(__package__)


@check("error", cure="point the URL at the primary, or reset `default_transaction_read_only`")
def writable(ground: Shards) -> Iterator[Finding]:
    """A standby, or a shard where `default_transaction_read_only` is on, takes neither triggers nor rows."""
    for side in ground.sides:
        in_recovery, is_read_only, made_by = side.one(_queries["read_only"])
        if in_recovery:
            yield writable.error(f"{side.name} is a standby", "point its URL at the primary", shard=side.name)
        elif is_read_only:
            fact = f"default_transaction_read_only is on for {side.name}"
            yield writable.error(fact, _reset(side, made_by), shard=side.name)


def _reset(side: Side, made_by: str) -> str:
    """Undoes the setting where it was made; in a session of its own that may write."""
    setting = "default_transaction_read_only"
    role, database = quoted(side.role), quoted(side.shard.url.database)
    if made_by == "client":
        return f"take {setting} out of the URL's options"
    reset = {
        "database": f"ALTER DATABASE {database} RESET {setting}",
        "user": f"ALTER ROLE {role} RESET {setting}",
        "database user": f"ALTER ROLE {role} IN DATABASE {database} RESET {setting}",
    }.get(made_by, f"ALTER SYSTEM RESET {setting}; SELECT pg_reload_conf()")
    return f"SET {setting} = off; {reset}"
