"""`AsyncTenants`: the same as Tenants, to be awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from shardwright.catalog.placement import Placement
from shardwright.config import Config
from shardwright.routing.attempt import Attempt
from shardwright.routing.engines import Engines, make_async_engine
from shardwright.routing.face import Face, Reads, TenantId, allowed_lag
from shardwright.routing.following import Following
from shardwright.routing.presence import look_for_fence
from shardwright.shard import Shard

P = ParamSpec("P")
T = TypeVar("T")


class AsyncTenants(Face):
    """The way to each tenant's rows, for one event loop. Its methods are those of Tenants, which explains them.

    The catalog is asked and listened to in two threads of its own, and nothing it does holds up the loop.
    """

    def __init__(self, config: Config, **options: Any) -> None:
        super().__init__(config, **options)
        self._engines: Engines[AsyncEngine] = Engines(partial(make_async_engine, options=self._engine_options))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shardwright routing")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def run(
        self,
        tenant: TenantId,
        function: Callable[Concatenate[AsyncSession, P], Awaitable[T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """What `await function(session, *args, **kwargs)` gives, committed on the tenant's shard; see Tenants.run."""
        following = self._follow(tenant)
        while True:
            attempt = await self._next(following)
            try:
                async with self._open(attempt) as session, session.begin():
                    result = await function(session, *args, **kwargs)
                    attempt.require_unrefused()
                return result
            except Exception as error:
                attempt.notice(error)
                if not attempt.was_refused:
                    raise
                pause = attempt.pause(following, time.monotonic(), error)
            await asyncio.sleep(pause)

    @asynccontextmanager
    async def session(
        self,
        tenant: TenantId,
        *,
        strict: bool = False,
        reads: Reads = None,
        max_lag: timedelta | str | None = None,
    ) -> AsyncIterator[AsyncSession]:
        """A session on the tenant's shard; see Tenants.session."""
        following, allowed = self._follow(tenant), allowed_lag(reads, max_lag)
        options = self._execution_options(reads)
        if allowed is not None:
            green = await self._apart(self._guide.green, following.tenant, allowed)
            if green is not None:
                async with self._open(Attempt(self._guide, following.tenant, green), options) as session:
                    yield session
                return
        while True:
            attempt = await self._next(following)
            async with self._open(attempt, options) as session:
                refusal = await session.run_sync(look_for_fence, following.tenant) if strict else None
                if refusal is None:
                    with attempt:
                        yield session
                    return
            attempt.refuse(refusal)
            await asyncio.sleep(attempt.pause(following, time.monotonic()))

    @asynccontextmanager
    async def connection(self, tenant: TenantId) -> AsyncIterator[AsyncConnection]:
        """A connection of SQLAlchemy Core to the tenant's shard; see Tenants.connection."""
        attempt = await self._next(self._follow(tenant))
        async with self._engine(attempt).connect() as connection:
            with attempt:
                yield connection

    async def shard(self, tenant: TenantId) -> Shard:
        """The shard where the tenant is by now: name, URL, labels."""
        return (await self._next(self._follow(tenant))).shard

    async def engine(self, tenant: TenantId) -> AsyncEngine:
        """The engine of the shard where the tenant is by now."""
        return self._engines.of(await self.shard(tenant))

    async def place(self, tenant: TenantId) -> Placement:
        """A new tenant has its shard; see Tenants.place."""
        return await self._apart(self._guide.place, str(tenant))

    async def close(self) -> None:
        """No connection and no thread is left."""
        for engine in self._engines.take_all():
            await engine.dispose()
        await self._apart(self._guide.close)
        self._thread.shutdown(wait=False)

    async def _next(self, following: Following) -> Attempt:
        at_hand = self._attempt_at_hand(following)
        return at_hand if at_hand is not None else await self._apart(self._attempt, following)

    async def _apart(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What `function` gives, called in the thread for what waits."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(function, *args, **kwargs))

    def _open(self, attempt: Attempt, options: Mapping[str, Any] | None = None) -> AsyncSession:
        return AsyncSession(self._engine(attempt).execution_options(**(options or {})), **self._session_options)

    def _engine(self, attempt: Attempt) -> AsyncEngine:
        return self._engines.of(attempt.shard).execution_options(**attempt.options)
