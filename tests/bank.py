"""A fleet of two shards with accounts, each a tenant that a test can move by hand, and a ledger of every effect."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fences import Fences
from kit import Project
from proxy import Proxy
from shardwright import AsyncTenants, Tenants
from shardwright.catalog import placement
from shardwright.catalog.control import open_control
from shardwright.catalog.store import record_shards
from shardwright.dsn import DatabaseUrl

TABLES = [("accounts", "id"), ("entries", "account")]
TENANTS = '[tenants]\nroot = "accounts"\nkey = "account"'
_SCHEMA = (
    "CREATE TABLE accounts (id text PRIMARY KEY, balance int NOT NULL DEFAULT 0)",
    # Without a key, so that an effect that is applied twice is there twice.
    "CREATE TABLE entries (account text NOT NULL, effect text NOT NULL)",
)


class _Base(DeclarativeBase):
    pass


class Account(_Base):
    __tablename__ = "accounts"

    id: Mapped[str] = mapped_column(primary_key=True)
    balance: Mapped[int]


class Bank:
    """Two shards with accounts, each a tenant, and what was entered into them."""

    account = Account

    def __init__(self, project: Project) -> None:
        self.project = project
        self._stack = ExitStack()
        for shard in project.shards:
            for statement in _SCHEMA:
                project.sql(shard, statement)
        fleet = project.fleet().resolved
        with open_control(fleet.control, application_name="test") as control:
            record_shards(control, fleet.shard_set, fleet.shards, fleet.green)

    def add(self, tenant: str, shard: str = "shard_0") -> None:
        """A tenant that is on that shard."""
        with psycopg.connect(self.project.control, autocommit=True) as control:
            placement.place(control, "main", tenant, shard, changed_by="test")
        self.project.sql(shard, "INSERT INTO accounts (id) VALUES (%s)", tenant)

    def fences(self, tenant: str, **options: Any) -> Fences:
        """Its fences on both shards: open where it is, closed elsewhere."""
        fences = Fences(self.project.control, self.project.shards, tenant, TABLES, **options)
        self._stack.callback(fences.close)
        return fences

    def tenants(self, **options: Any) -> Tenants:
        """The application's way to them; closed after the test."""
        return self._stack.enter_context(Tenants.from_config(self.project.path / "shardwright.toml", **options))

    def awaited(self, **options: Any) -> AsyncTenants:
        """The same for asyncio; the test closes it, in its loop."""
        return AsyncTenants.from_config(self.project.path / "shardwright.toml", **options)

    def entries(self, shard: str) -> list[str]:
        """Every effect that is on that shard, sorted; what was entered twice is there twice."""
        return [row[0] for row in self.project.sql(shard, "SELECT effect FROM entries ORDER BY effect")]

    def balance(self, shard: str) -> int:
        """The sum of all accounts on that shard."""
        return int(self.project.sql(shard, "SELECT sum(balance)::int FROM accounts")[0][0])

    def database(self, shard: str) -> str:
        """The name of that shard's database."""
        return DatabaseUrl.parse(self.project.shards[shard]).database

    def with_driver(self, driver: str) -> None:
        """The shards' URLs name that driver of SQLAlchemy."""
        self._configure({name: self._url(name).sqlalchemy(driver) for name in self.project.shards})

    def cut_at_commit(self, shard: str, *, is_kept: bool) -> None:
        """The application's connection to that shard breaks at COMMIT, which the server has done or never heard of."""
        url = self._url(shard)
        proxy = Proxy(Path(url.host) / f".s.PGSQL.{url.port}", is_kept=is_kept)
        self._stack.callback(proxy.close)
        through = replace(url, host=str(proxy.folder), port=5432).conninfo
        self._configure({**self.project.shards, shard: through})

    def _url(self, shard: str) -> DatabaseUrl:
        return DatabaseUrl.parse(self.project.shards[shard])

    def _configure(self, urls: dict[str, str]) -> None:
        """The application's file names these URLs; the test goes on with its own."""
        own, self.project.shards = self.project.shards, urls
        self.project.write()
        self.project.shards = own

    def drop_catalog_sessions(self) -> None:
        """Every session on the control database is ended, those of routers too."""
        self.project.sql(
            "control",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name <> 'test'",
        )

    def close(self) -> None:
        self._stack.close()
