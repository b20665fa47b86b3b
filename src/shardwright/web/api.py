"""The same answers for machines: JSON, metrics, health."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from shardwright.monitor import health as monitoring
from shardwright.monitor.metrics import CONTENT_TYPE, exposition
from shardwright.web.site import Site, as_json, number_in, number_of, vitals_of

_MOST = 1000


def picture(site: Site, request: Request) -> Response:
    """The newest picture; 503 until the first is taken."""
    del request
    found = site.picture()
    return _waiting() if found is None else as_json(found.as_dict())


def shard(site: Site, request: Request) -> Response:
    """One shard of the newest picture. Raises NoSuchShard."""
    found = site.picture()
    if found is None:
        return _waiting()
    return as_json(vitals_of(found, request).as_dict())


def check(site: Site, request: Request) -> Response:
    """What the last full check has found."""
    del request
    found = site.picture()
    if found is None or found.checked is None or found.checked_at is None:
        return _waiting()
    return as_json({**found.checked.as_dict(), "at": found.checked_at.isoformat()})


def alerts(site: Site, request: Request) -> Response:
    """The alerts that fire, and those that were over lately."""
    del request
    found = site.picture()
    if found is None:
        return _waiting()
    return as_json(
        {"alerts": [each.as_dict() for each in found.alerts], "over": [each.as_dict() for each in found.over]}
    )


def runs(site: Site, request: Request) -> Response:
    """The newest runs; `limit`, `before`."""
    limit, before = _number(request, "limit", 20), _number(request, "before", None)
    found = site.fleet.runs(limit=min(limit or 20, _MOST), before=before)
    return as_json({"runs": [each.as_dict() for each in found]})


def run(site: Site, request: Request) -> Response:
    """One run as `runs show --json` tells it. Raises NoSuchRun."""
    number = number_of(request)
    found, results = site.fleet.run(number)
    durable = site.fleet.durable_run(number) if found.is_durable else None
    steps = [step.as_dict() for step in site.fleet.steps(number)] if durable else []
    told = {**durable.as_dict(), "steps": steps} if durable else {}
    return as_json({**found.as_dict(), **told, "shards": [each.as_dict() for each in results]})


def tenants(site: Site, request: Request) -> Response:
    """A page of the directory; `q`, `shard`, `after`, `limit`."""
    asked, limit = request.query_params, _number(request, "limit", 100)
    found = site.fleet.tenants(
        shard=asked.get("shard") or None, search=asked.get("q") or None, after=asked.get("after") or None,
        limit=min(limit or 100, _MOST),
    )  # fmt: skip
    return as_json({"tenants": [each.as_dict() for each in found]})


def health(site: Site, request: Request) -> Response:
    """Whether every shard can be written to: 200, or 503."""
    del request
    status, document = monitoring.health(site.watch.newest, is_late=site.watch.is_late)
    return as_json(document, status)


def metrics(site: Site, request: Request) -> Response:
    """The picture as Prometheus reads it."""
    del request
    return Response(exposition(site.watch.newest), headers={"content-type": CONTENT_TYPE})


def alive(site: Site, request: Request) -> Response:
    """That this process answers; it says nothing of the fleet."""
    del site, request
    return PlainTextResponse("ok\n")


def _number(request: Request, name: str, default: int | None) -> int | None:
    number = number_in(request.query_params.get(name, ""))
    return default if number is None else number


def _waiting() -> Response:
    return as_json({"error": "the first picture is not taken yet"}, 503, {"retry-after": "5"})
