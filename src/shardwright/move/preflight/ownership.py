"""Tables belong to another role."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Shards, Side
from shardwright.move.preflight.said import listed, quoted, script
from shardwright.pg.queries import load
from shardwright.pg.tables import TableName

_queries = load(__package__)


@check("error", cure="GRANT the owner's role TO the mover's role; where that is a superuser: ALTER TABLE … OWNER TO")
def ownership(ground: Shards) -> Iterator[Finding]:
    """A move makes triggers on every table of tenants, on both shards, which fire whatever a writer's settings are.

    Only a table's owner, or a member of the owner's role, may make such triggers (`ENABLE ALWAYS`).
    """
    for side in ground.sides:
        found = side.ask_of(side.carried, _queries["owners"])
        if found:
            names = listed(side.shown(TableName(schema, name)) for schema, name, _, _ in found)
            fact = f"role {side.role} does not own {names} of {side.name}"
            yield ownership.error(fact, _cure(side, found), shard=side.name)


def _cure(side: Side, found: list[tuple[str, str, str, bool]]) -> str:
    """Membership of a superuser's role would give more than a move needs."""
    role = quoted(side.role)
    owners = dict.fromkeys(owner for _, _, owner, is_superuser in found if not is_superuser)
    granted = [f"GRANT {quoted(owner)} TO {role}" for owner in owners]
    given = [
        f"ALTER TABLE {quoted(schema, name)} OWNER TO {role}" for schema, name, _, is_superuser in found if is_superuser
    ]
    return script(granted + given)
