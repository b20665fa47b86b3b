"""The application: which path leads to which page, and what becomes of an error on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from inspect import iscoroutinefunction
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from shardwright import errors
from shardwright.web import api, live
from shardwright.web.guard import Guard, Hosts
from shardwright.web.pages import acting, alerts, check, fleet, rebalance, runs, tenants
from shardwright.web.site import HERE, Site

_PAGES: tuple[tuple[str, Callable[..., Any]], ...] = (
    ("/", fleet.fleet),
    ("/shards/{name}", fleet.shard),
    ("/work", runs.work),
    ("/runs", runs.ledger),
    ("/runs/{number}", runs.run),
    ("/runs/{number}/{action}", acting.confirm),
    ("/moves", runs.of_tenant),
    ("/rebalance", rebalance.rebalance),
    ("/check", check.check),
    ("/tenants", tenants.tenants),
    ("/tenant", tenants.tenant),
    ("/alerts", alerts.alerts),
    ("/sign-in", acting.sign_in_page),
    ("/api/picture", api.picture),
    ("/api/shards/{name}", api.shard),
    ("/api/check", api.check),
    ("/api/alerts", api.alerts),
    ("/api/runs", api.runs),
    ("/api/runs/{number}", api.run),
    ("/api/tenants", api.tenants),
    ("/metrics", api.metrics),
    ("/health/shards", api.health),
    ("/healthz", api.alive),
)
_ACTS: tuple[tuple[str, Callable[..., Any]], ...] = (
    ("/sign-in", acting.sign_in),
    ("/sign-out", acting.sign_out),
    ("/runs/{number}/{action}", acting.act),
)
_GONE = (
    errors.NoSuchRun,
    errors.NoSuchMove,
    errors.NoSuchChange,
    errors.NoSuchRebalance,
    errors.NoSuchTenant,
    errors.NoSuchShard,
)


def make_app(site: Site, hosts: Hosts, *, is_private: bool) -> Starlette:
    """The dashboard of `site` as an ASGI application; with `is_private`, for whoever has signed in."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        del app
        with site.live.running():
            yield

    def bound(view: Callable[..., Any]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                found: Response = await _called(view, site, request)
            except (errors.ShardwrightError, HTTPException):
                raise
            except Exception as error:  # noqa: BLE001 the last line of defence: the server goes on
                fact = f"a fault of shardwright itself: {type(error).__name__}: {error}"
                return await run_in_threadpool(site.render_error, request, 500, fact)
            return found

        return endpoint

    async def events(request: Request) -> Response:
        return _events(site, request)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, errors.ShardwrightError)  # noqa: S101 it is registered for these
        return await run_in_threadpool(site.render_error, request, _status(error), str(error), error.hint)

    async def not_found(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 as above
        return await run_in_threadpool(site.render_error, request, error.status_code, error.detail)

    return Starlette(
        routes=[
            *(Route(path, bound(view), methods=["GET"]) for path, view in _PAGES),
            *(Route(path, bound(view), methods=["POST"]) for path, view in _ACTS),
            Route("/events", events, methods=["GET"]),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[
            Middleware(Guard, door=site.door, hosts=hosts, is_private=is_private),
            Middleware(GZipMiddleware, minimum_size=2000),
        ],
        exception_handlers={errors.ShardwrightError: refused, HTTPException: not_found},
        lifespan=lifespan,
    )


async def _called(view: Callable[..., Any], site: Site, request: Request) -> Any:
    """What the view gives; in a thread unless it knows how to wait."""
    return await view(site, request) if iscoroutinefunction(view) else await run_in_threadpool(view, site, request)


def _events(site: Site, request: Request) -> Response:
    if site.live.readers >= live.MOST:
        return PlainTextResponse("too many pages are open\n", 503, {"retry-after": "60"})
    seen = request.headers.get("last-event-id") or request.query_params.get("seen", "")
    # Nothing between us and the page may hold it back: no packing, no collecting.
    headers = {"cache-control": "no-store, no-transform", "x-accel-buffering": "no", "content-encoding": "identity"}
    return StreamingResponse(site.live.stream(seen), media_type="text/event-stream", headers=headers)


def _status(error: errors.ShardwrightError) -> int:
    if isinstance(error, _GONE):
        return 404
    if isinstance(error, errors.UsageError):
        return 400
    return 409 if isinstance(error, errors.Refused) and not isinstance(error, errors.NoRuns) else 503
