"""A database dropped and created again is the same but empty."""

from __future__ import annotations

import psycopg

from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster
from shardwright.pg import databases


def settings(url: str) -> list[tuple[object, ...]]:
    """What was set for the database, for everybody and for single roles."""
    with psycopg.connect(url) as connection:
        name = connection.info.dbname
        query = """
            SELECT setrole <> 0, setconfig FROM pg_db_role_setting
            WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = %s) ORDER BY 1
        """
        return connection.execute(query, [name]).fetchall()


def test_settings_of_the_database_survive_lists_and_roles_too(database_url: str, cluster: Cluster) -> None:
    """`recreate` leaves no table, and every ALTER DATABASE … SET as it was."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute("CREATE TABLE t ()")
        connection.execute(f'ALTER DATABASE {name} SET search_path = app, "Odd, one", public')
        connection.execute(f"ALTER DATABASE {name} SET work_mem = '8MB'")
        connection.execute(f"ALTER ROLE postgres IN DATABASE {name} SET lock_timeout = '3s'")
    before = settings(database_url)
    databases.recreate(DatabaseUrl.parse(database_url), application_name="test")
    assert settings(database_url) == before
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT to_regclass('public.t')").fetchone() == (None,)
