"""Two shards with a tenant that nothing stops from moving; each test gets copies of them to spoil."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from kit import drop_databases
from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster
from two_shards import ROWS, SCHEMA, Shards

_numbers = itertools.count()


@pytest.fixture(scope="session")
def templates(cluster: Cluster) -> Iterator[dict[str, str]]:
    """A source with tenants 1 and 2, a target with tenant 3."""
    urls = {}
    for name, rows, first in (("source", [1, 2], 1), ("target", [3], 2)):
        urls[name] = _create(cluster, "template1")
        with psycopg.connect(urls[name], autocommit=True) as connection:
            connection.execute(SCHEMA.encode())
            connection.execute(f"ALTER SEQUENCE tasks_id_seq RESTART WITH {first}".encode())
            for tenant in rows:
                connection.execute(ROWS.format(n=tenant).encode())
    yield urls
    drop_databases(cluster, list(urls.values()))


@pytest.fixture
def shards(cluster: Cluster, templates: dict[str, str]) -> Iterator[Shards]:
    """Fresh copies of both."""
    made = Shards({name: _create(cluster, DatabaseUrl.parse(url).database) for name, url in templates.items()}, cluster)
    yield made
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        drop_databases(cluster, list(made.urls.values()))
        for role in made.roles:
            admin.execute(f"REVOKE ALL ON PARAMETER session_replication_role FROM {role}".encode())
            admin.execute(f"DROP ROLE {role}".encode())


def _create(cluster: Cluster, template: str) -> str:
    name = f"preflight_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        admin.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
    return cluster.url(name)
