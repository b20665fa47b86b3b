"""`Tenants`: an application's sessions, each on the shard where its tenant is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from shardwright.catalog.placement import Placement
from shardwright.config import Config
from shardwright.routing.attempt import Attempt
from shardwright.routing.engines import Engines, make_engine
from shardwright.routing.face import Face, Reads, TenantId, allowed_lag
from shardwright.routing.presence import look_for_fence
from shardwright.shard import Shard

P = ParamSpec("P")
T = TypeVar("T")


class Tenants(Face):
    """The way to each tenant's rows. Make one for each process, and use it in all threads; as a context it is closed.

    A tenant is named by its id: text, a number, a UUID. Every method that takes one raises NoSuchTenant where the
    directory has not got it, and ControlUnavailable where nothing is known of it and the control database is away.
    """

    def __init__(self, config: Config, **options: Any) -> None:
        super().__init__(config, **options)
        self._engines: Engines[Engine] = Engines(partial(make_engine, options=self._engine_options))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(
        self, tenant: TenantId, function: Callable[Concatenate[Session, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What `function(session, *args, **kwargs)` gives; all it did on the tenant's shard is committed.

        Where the tenant has moved meanwhile, all is rolled back and the function is called again with a session on the
        other shard: what it did is there once. It leaves commit and rollback to `run`, and what it does elsewhere
        (mails, files) may be done again. No other error is tried again: it is rolled back and raised.
        Raises TenantIsMoving where writes were refused for longer than `patience`.
        """
        following = self._follow(tenant)
        while True:
            attempt = self._attempt(following)
            try:
                with self._open(attempt) as session, session.begin():
                    result = function(session, *args, **kwargs)
                    attempt.require_unrefused()
                return result
            except Exception as error:
                attempt.notice(error)
                if not attempt.was_refused:
                    raise
                pause = attempt.pause(following, time.monotonic(), error)
            time.sleep(pause)

    @contextmanager
    def session(
        self,
        tenant: TenantId,
        *,
        strict: bool = False,
        reads: Reads = None,
        max_lag: timedelta | str | None = None,
    ) -> Iterator[Session]:
        """A session on the tenant's shard, closed afterwards; what was not committed is rolled back.

        With `strict` the shard itself is asked first, in the transaction with which the session begins (don't begin it
        again): so it does not read what a tenant that has moved has left behind. Raises TenantIsMoving then, as `run`.
        A write that is refused raises SQLAlchemy's error; a session begun afterwards is on the other shard.

        With `reads="green"` it is a session that only reads: PostgreSQL refuses what writes. During a blue-green
        change it is on the tenant's green shard, and once the tenant was switched, that is where it is. Raises
        GreenLags where that is further behind than `max_lag` (5 s), NoGreen where there is none, or not yet.
        """
        following, allowed = self._follow(tenant), allowed_lag(reads, max_lag)
        options = self._execution_options(reads)
        if allowed is not None and (green := self._guide.green(following.tenant, allowed)) is not None:
            with self._open(Attempt(self._guide, following.tenant, green), options) as session:
                yield session
            return
        while True:
            attempt = self._attempt(following)
            with self._open(attempt, options) as session:
                refusal = look_for_fence(session, following.tenant) if strict else None
                if refusal is None:
                    with attempt:
                        yield session
                    return
            attempt.refuse(refusal)
            time.sleep(attempt.pause(following, time.monotonic()))

    @contextmanager
    def connection(self, tenant: TenantId) -> Iterator[Connection]:
        """A connection of SQLAlchemy Core to the tenant's shard; as `session` without `strict`."""
        attempt = self._attempt(self._follow(tenant))
        with self._engine(attempt).connect() as connection, attempt:
            yield connection

    def shard(self, tenant: TenantId) -> Shard:
        """The shard where the tenant is by now: name, URL, labels."""
        return self._guide.find(str(tenant))

    def engine(self, tenant: TenantId) -> Engine:
        """The engine of the shard where the tenant is by now."""
        return self._engines.of(self.shard(tenant))

    def place(self, tenant: TenantId) -> Placement:
        """A new tenant has its shard, by `tenants.placement`; one that has a shard already keeps it.

        The shards are not asked: the id is one that you have just made. Raises NoTenants, BadTenantId,
        ControlUnavailable.
        """
        return self._guide.place(str(tenant))

    def close(self) -> None:
        """No connection and no thread is left. Used again, it opens what it needs."""
        for engine in self._engines.take_all():
            engine.dispose()
        self._guide.close()

    def _open(self, attempt: Attempt, options: Mapping[str, Any] | None = None) -> Session:
        return Session(self._engine(attempt).execution_options(**(options or {})), **self._session_options)

    def _engine(self, attempt: Attempt) -> Engine:
        return self._engines.of(attempt.shard).execution_options(**attempt.options)
