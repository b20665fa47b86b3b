"""Databases that something is wrong with."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import psycopg
import pytest

from kit import create_database, drop_database
from shardwright.embedded import Cluster

SECRET = "pa55-w0rd"


@pytest.fixture
def dead_url() -> Iterator[str]:
    """The URL of a database on a port where nothing listens, with a password."""
    with socket.socket() as taken:  # bound and never listening, so that nobody else comes to listen there
        taken.bind(("127.0.0.1", 0))
        yield f"postgresql://app:{SECRET}@127.0.0.1:{taken.getsockname()[1]}/app"


@pytest.fixture
def refused_url(cluster: Cluster, database_url: str) -> Iterator[str]:
    """The URL of a database whose server wants another password."""
    rules = cluster.directory / "pgdata" / "pg_hba.conf"
    before = rules.read_text()
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        admin.execute("CREATE ROLE stranger LOGIN PASSWORD 'another'")
        rules.write_text("local all stranger scram-sha-256\n" + before)
        admin.execute("SELECT pg_reload_conf()")
        yield database_url.replace("postgres@", f"stranger:{SECRET}@")
        rules.write_text(before)
        admin.execute("SELECT pg_reload_conf()")
        admin.execute("DROP ROLE stranger")


@pytest.fixture
def missing_url(cluster: Cluster) -> str:
    """The URL of a database that was never made."""
    return cluster.url("never_made")


@pytest.fixture
def make_frail_database(other_cluster: Cluster) -> Iterator[Callable[[], str]]:
    """Makes databases on the second server, which a test may take down; it runs again afterwards."""
    made: list[str] = []

    def make() -> str:
        made.append(create_database(other_cluster))
        return made[-1]

    yield make
    other_cluster.start()
    for url in made:
        drop_database(other_cluster, url)
