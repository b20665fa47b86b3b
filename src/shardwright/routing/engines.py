"""One SQLAlchemy engine for each shard, made when it is first used."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from shardwright.dsn import DatabaseUrl
from shardwright.routing.attempt import notice_refusal
from shardwright.shard import Shard

DEFAULT_DRIVER = "psycopg"
SYNC_DRIVERS = frozenset({"psycopg", "psycopg2"})
ASYNC_DRIVERS = frozenset({"psycopg", "psycopg_async", "asyncpg"})
# A connection that the server has ended meanwhile is found out before it is used, and not by the caller.
DEFAULTS: Mapping[str, Any] = {"pool_pre_ping": True}
AnyEngine = TypeVar("AnyEngine", bound=Engine | AsyncEngine)


class Engines(Generic[AnyEngine]):
    """Thread-safe; `make` makes the engine of one shard."""

    def __init__(self, make: Callable[[Shard], AnyEngine]) -> None:
        self._make = make
        self._engines: dict[str, AnyEngine] = {}
        self._lock = threading.Lock()

    def of(self, shard: Shard) -> AnyEngine:
        """The shard's engine, always the same one."""
        with self._lock:
            if shard.name not in self._engines:
                self._engines[shard.name] = self._make(shard)
            return self._engines[shard.name]

    def take_all(self) -> list[AnyEngine]:
        """Every engine there is, for whoever disposes of them; new ones are made from now on."""
        with self._lock:
            engines, self._engines = list(self._engines.values()), {}
            return engines


def make_engine(shard: Shard, options: Mapping[str, Any]) -> Engine:
    """An engine whose connections' attempts notice refusals."""
    engine = create_engine(url_for(shard.url, SYNC_DRIVERS), **{**DEFAULTS, **options})
    event.listen(engine, "handle_error", notice_refusal)
    return engine


def make_async_engine(shard: Shard, options: Mapping[str, Any]) -> AsyncEngine:
    """The same to be awaited."""
    engine = create_async_engine(url_for(shard.url, ASYNC_DRIVERS), **{**DEFAULTS, **options})
    event.listen(engine.sync_engine, "handle_error", notice_refusal)
    return engine


def url_for(url: DatabaseUrl, drivers: frozenset[str]) -> str:
    """`url` for SQLAlchemy with its own driver if that is one of `drivers`, else with psycopg."""
    if url.driver in drivers:
        return url.sqlalchemy()
    return DatabaseUrl.parse(url.conninfo).sqlalchemy(DEFAULT_DRIVER)
