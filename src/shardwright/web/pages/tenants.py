"""The directory of tenants: a page of it at a time, and one tenant."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from shardwright import errors
from shardwright.web.site import Site

AT_ONCE = 100


def tenants(site: Site, request: Request) -> Response:
    """Tenants whose ids begin alike, of one shard or all."""
    asked = request.query_params
    search, shard, after = asked.get("q", ""), asked.get("shard", ""), asked.get("after", "")
    found = site.fleet.tenants(shard=shard or None, search=search or None, after=after or None, limit=AT_ONCE + 1)
    return site.render(
        request, "tenants.html", section="/tenants", live=False, tenants=found[:AT_ONCE], search=search, shard=shard,
        after=after, shards=[each.name for each in site.shards],
        next=found[AT_ONCE - 1].tenant if len(found) > AT_ONCE else None,
    )  # fmt: skip


def tenant(site: Site, request: Request) -> Response:
    """One tenant: where it is, since when, and its moves. Raises NoSuchTenant, BadTenantId."""
    placement = site.fleet.locate(request.query_params.get("id", ""))
    try:
        move = site.fleet.move_status(placement.tenant)
    except errors.NoSuchMove:
        move = None
    return site.render(request, "tenant.html", section="/tenants", placement=placement, move=move)
