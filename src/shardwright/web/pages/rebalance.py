"""What a rebalance would move now, from the last figures; read-only. The open one has its run's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from shardwright import errors
from shardwright.rebalance.store import Line
from shardwright.shard import as_people_count
from shardwright.web.site import Site

FEW = 200  # moves that are told by name
_ORDER = ("failed", "refused", "begun", "planned", "moved", "returned", "kept", "dropped")


@dataclass(frozen=True)
class Bar:
    """What one shard carries, in shares of its due, before and after; None where it is to have nobody. `scale` is what
    the whole width stands for."""

    shard: str
    before: float | None
    after: float | None
    scale: float

    def width(self, share: float | None) -> float:
        """Of that share, in percent."""
        return round(100 * (share or 0.0) / self.scale, 2)


def rebalance(site: Site, request: Request) -> Response:
    """The plan as it would be made now; where a rebalance is open, its run."""
    plan, failure = None, None
    try:
        plan = site.fleet.plan_rebalance(measure=False)
    except errors.RebalanceUnderWay as error:
        return RedirectResponse(f"/runs/{error.run}", 303)
    except errors.ShardwrightError as error:
        failure = error
    told = plan.as_dict() if plan else {}
    return site.render(
        request, "rebalance.html", section="/rebalance", live=False,
        plan=plan, told=told, failure=failure, bars=bars(told), few=FEW,
    )  # fmt: skip


def bars(plan: Mapping[str, Any]) -> list[Bar]:
    """A bar for each shard of the plan, as people count."""
    if "before" not in plan:
        return []
    before, after = plan["before"]["loads"], plan["after"]["loads"]
    scale = max([2.0, *before.values(), *after.values()])
    names = sorted({*before, *after}, key=as_people_count)
    return [Bar(name, before.get(name), after.get(name), scale) for name in names]


def shown(lines: Sequence[Line]) -> list[Line]:
    """Some of the moves, those that want a look first."""
    return sorted(lines, key=lambda line: (_ORDER.index(line.state), line.number))[:FEW]
