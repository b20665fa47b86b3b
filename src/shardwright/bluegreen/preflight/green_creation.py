"""Green databases that are not there can't be made."""

from __future__ import annotations

from collections.abc import Iterator

from shardwright.bluegreen.preflight.ground import Ground
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.said import listed, quoted
from shardwright.pg import databases
from shardwright.pg.connect import connect
from shardwright.pg.databases import MAINTENANCE
from shardwright.pg.queries import load
from shardwright.shard import Shard
from shardwright.transfer.sessions import may_write_silently

_queries = load(__package__)
_NAME = "shardwright bluegreen plan"


@check("error", "warning", cure="ALTER ROLE the role CREATEDB; or create the databases yourself", is_decisive=True)
def green_creation(ground: Ground) -> Iterator[Finding]:
    """Green databases that are not there are made as a blue one is, with its owner and settings.

    That needs the right to create databases on their servers, and, unless the owner is to be another, to act for
    blue's owner. The database `postgres` of each server is connected to for it.
    """
    if not ground.absent:
        return
    like = databases.nature(ground.blue[0].shard.url, application_name=_NAME)
    for shard in {shard.host: shard for shard in ground.absent}.values():
        yield from _makers(shard, like)


def _makers(shard: Shard, like: databases.Nature | None) -> Iterator[Finding]:
    with connect(shard.url.with_database(MAINTENANCE), application_name=_NAME) as admin:
        row = admin.execute(_queries["maker"], {"owner": like.owner if like else None}).fetchone()
        roles = databases.roles_of(admin)
        may_be_replica = may_write_silently(admin)
    assert row is not None  # noqa: S101 a SELECT of one row
    role, may_create, owner_is_there = row
    if not may_create:
        fact = f"role {role} may not create {shard.url.database} on {shard.host}"
        yield green_creation.error(fact, f"ALTER ROLE {quoted(role)} CREATEDB", shard=shard.name)
    if not may_be_replica:
        fact = f"role {role} may not set session_replication_role on {shard.host}"
        grant = f"GRANT SET ON PARAMETER session_replication_role TO {quoted(role)}"
        yield green_creation.error(fact, grant, shard=shard.name)
    if like is None:
        return
    if like.owner is not None and like.owner not in roles:
        why = "for which it can't act" if owner_is_there else "which is not there"
        fact = f"green databases on {shard.host} will belong to {role}: blue's owner is {like.owner}, {why}"
        yield green_creation.warning(fact, f"GRANT {quoted(like.owner)} TO {quoted(role)}", shard=shard.name)
    if left := [f"{of} ({setting})" for of, setting in like.settings if of is not None and of not in roles]:
        fact = f"settings of roles in blue's databases are not made in green's on {shard.host}: {listed(left)}"
        yield green_creation.warning(fact, "ALTER ROLE … IN DATABASE … SET … before the switch", shard=shard.name)
