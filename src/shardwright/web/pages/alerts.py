"""What is wrong right now, the worst first; and what was lately."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from shardwright.web.site import Site


def alerts(site: Site, request: Request) -> Response:
    """The alerts that fire, and those that are over."""
    picture = site.picture()
    if picture is None:
        return site.render(request, "waiting.html", section="/alerts")
    firing = sorted(picture.alerts, key=lambda each: (each.severity != "critical", each.since))
    return site.render(request, "alerts.html", section="/alerts", picture=picture, firing=firing)
