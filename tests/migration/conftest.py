"""Databases that something is wrong with."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from kit import SECRET
from shardwright.embedded import Cluster


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
