"""Shards with something wrong with them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster
from shardwright.embedded.account import server_account

AsRole = Callable[[str], str]
Sql = Callable[[str, str], list[tuple[object, ...]]]


@pytest.fixture(scope="session")
def run_sql() -> Sql:
    """Runs statements at a URL as psql does, each committed before the next; gives the last one's rows."""

    def run(url: str, statements: str) -> list[tuple[object, ...]]:
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements.split(";"):
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    return run


@pytest.fixture
def as_role(run_sql: Sql) -> Iterator[AsRole]:
    """The same URL for a fresh role that may connect and nothing more."""
    made: list[tuple[str, str]] = []

    def make(url: str) -> str:
        parsed = DatabaseUrl.parse(url)
        role = f"role_{parsed.database}_{len(made)}"
        run_sql(url, f"CREATE ROLE {role} LOGIN")
        made.append((url, role))
        return DatabaseUrl(**{**vars(parsed), "user": role}).conninfo

    yield make
    for url, role in made:
        run_sql(url, f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.fixture
def pgbouncer(cluster: Cluster) -> Iterator[Callable[[str], str]]:
    """Starts PgBouncer before the cluster, pooling transactions, with one more setting; gives a URL through it."""
    binary = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if binary is None:
        pytest.skip("needs pgbouncer (Debian: pgbouncer)")
    account = server_account()
    folder = Path(tempfile.mkdtemp(prefix="sw-pool-"))
    shutil.chown(folder, account.uid, account.gid)
    started: list[subprocess.Popen[bytes]] = []

    def start(setting: str) -> int:
        port = 6432 + len(started)
        (folder / "pool.ini").write_text(
            f"[databases]\n* = host={cluster.socket_directory} port=5432 user=postgres\n"
            f"[pgbouncer]\nlisten_port={port}\nunix_socket_dir={folder}\nauth_type=any\npool_mode=transaction\n{setting}\n"
        )
        process = subprocess.Popen(
            [binary, "-q", folder / "pool.ini"],
            user=account.uid if account.switched else None,
            group=account.gid if account.switched else None,
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        while not (folder / f".s.PGSQL.{port}").exists():
            assert process.poll() is None, "PgBouncer ended"
        return port

    def url(setting: str) -> str:
        return f"postgresql://postgres@/postgres?host={folder}&port={start(setting)}"

    yield url
    for process in started:
        process.terminate()
        process.wait()
    shutil.rmtree(folder)
