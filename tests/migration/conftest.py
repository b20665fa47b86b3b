"""Databases that something is wrong with."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import psycopg
import pytest

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
