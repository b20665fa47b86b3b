"""Both sets as templates; each test gets copies of them to spoil."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from kit import drop_databases
from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster
from two_sets import NOT_PLANS, Sets
from two_shards import ROWS, SCHEMA

_numbers = itertools.count()
_AT = "CREATE TABLE alembic_version (version_num text PRIMARY KEY); INSERT INTO alembic_version VALUES ('one')"


@pytest.fixture(scope="session")
def set_templates(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Tenants 1 and 2 on blue_0, 3 on blue_1, none on the green ones; the directory knows of them."""
    urls = {name: _create(cluster, "template1") for name in ("control", "blue_0", "blue_1", "green_0", "green_1")}
    for name, tenants in {"blue_0": [1, 2], "blue_1": [3], "green_0": [], "green_1": []}.items():
        with psycopg.connect(urls[name], autocommit=True) as connection:
            connection.execute((SCHEMA if tenants else NOT_PLANS).encode())
            connection.execute(_AT.encode())
            connection.execute(f"ALTER SEQUENCE tasks_id_seq RESTART WITH {2 if tenants == [3] else 1}".encode())
            for tenant in tenants:
                connection.execute(ROWS.format(n=tenant).encode())
    Sets(tmp_path_factory.mktemp("sets"), urls, cluster).project.fleet().sync_tenants()
    yield urls
    drop_databases(cluster, list(urls.values()))


@pytest.fixture
def sets(cluster: Cluster, set_templates: dict[str, str], tmp_path: Path) -> Iterator[Sets]:
    """Fresh copies of all."""
    urls = {name: _create(cluster, DatabaseUrl.parse(url).database) for name, url in set_templates.items()}
    made = Sets(tmp_path, urls, cluster)
    yield made
    drop_databases(cluster, list(urls.values()))
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        for role in made.roles:
            admin.execute(f"REVOKE ALL ON PARAMETER session_replication_role FROM {role}".encode())
            admin.execute(f"DROP OWNED BY {role}".encode())
            admin.execute(f"DROP ROLE {role}".encode())


def _create(cluster: Cluster, template: str) -> str:
    name = f"sets_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        admin.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
    return cluster.url(name)
