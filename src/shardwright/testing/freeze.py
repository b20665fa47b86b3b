"""A shard that is away for a while: no session is left in its database, and none can begin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from shardwright.dsn import DatabaseUrl
from shardwright.pg.connect import connect
from shardwright.pg.databases import MAINTENANCE
from shardwright.pg.queries import load
from shardwright.testing.kept import NAME, end_sessions

_queries = load(__package__)


@contextmanager
def frozen(url: DatabaseUrl) -> Iterator[None]:
    """The database of `url` is away within the block: its sessions are ended, and new ones refused (55000).

    Raises psycopg.Error.
    """
    _allow(url, "false")
    try:
        end_sessions(url)
        yield
    finally:
        _allow(url, "true")


def _allow(url: DatabaseUrl, allowed: str) -> None:
    statement = _queries["allow_connections"]
    with connect(url.with_database(MAINTENANCE), application_name=NAME) as admin:
        admin.execute(statement.format(database=sql.Identifier(url.database), allowed=sql.Literal(allowed)))
