"""What every page has at hand: the fleet, its newest picture, who has signed in, and how it is made of a template."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from shardwright import __version__, errors
from shardwright.dsn import redact
from shardwright.fleet import Fleet
from shardwright.monitor.picture import Picture
from shardwright.monitor.vitals import Vitals
from shardwright.monitor.watch import Watch
from shardwright.shard import Shard
from shardwright.web import words
from shardwright.web.door import Door
from shardwright.web.guard import session_of
from shardwright.web.live import Live

PAGES = (
    ("/", "Fleet"),
    ("/work", "Work"),
    ("/runs", "Ledger"),
    ("/rebalance", "Rebalance"),
    ("/check", "Check"),
    ("/tenants", "Tenants"),
    ("/alerts", "Alerts"),
)
_FIRST_PICTURE = 10.0  # seconds that a page waits for it, right after the start
_LARGEST = 64 * 1024  # bytes of a form
_LONGEST = 40  # letters of what is no number, when it is told
_DIGITS = 18  # of a number that the database can count to
HERE = Path(__file__).parent


@dataclass
class Site:
    """One dashboard."""

    fleet: Fleet
    watch: Watch
    door: Door
    live: Live
    pages: tuple[tuple[str, str], ...] = PAGES
    version: str = __version__
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def shard_set(self) -> str:
        """The name of the shard set."""
        return self.fleet.config.fleet.set

    @property
    def environment(self) -> str:
        """What the fleet is marked as."""
        return self.fleet.config.fleet.environment

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The fleet's, the green ones behind them."""
        return self.fleet.resolved.every

    @property
    def can_sign_in(self) -> bool:
        """Whether there is a token at all."""
        return self.door.is_there

    @property
    def seen(self) -> str:
        """What a page that is made now has seen."""
        return self.live.seen

    @cached_property
    def templates(self) -> Environment:
        """The templates; everything in them is escaped."""
        made = Environment(
            loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True, finalize=words.without_secrets,
        )  # fmt: skip
        made.filters.update(words.FILTERS)
        return made

    def picture(self) -> Picture | None:
        """The newest picture; right after the start the first is waited for a little while."""
        return self.watch.newest or self.watch.wait(timeout=_FIRST_PICTURE)

    def render(
        self, request: Request, template: str, *, section: str = "", status: int = 200, live: bool = True, **values: Any
    ) -> Response:
        """The page; to a page that is open already only the part that has changed."""
        session = session_of(request)
        is_part = request.headers.get("hx-request-type") == "partial"
        text = self.templates.get_template(template).render(
            site=self,
            layout="part.html" if is_part else "page.html",
            section=section,
            here=request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            session=session,
            until=words.full(datetime.fromtimestamp(session.until, UTC)) if session else "",
            form_token=self.door.form_token(session) if session else "",
            is_live=live,
            now=datetime.now(UTC),
            **values,
        )
        return HTMLResponse(text, status, {"vary": "HX-Request-Type"})

    def render_error(self, request: Request, status: int, fact: str, cure: str = "") -> Response:
        """A page that says what is the matter, without a secret; JSON or plain text for machines."""
        fact, cure = redact(fact), redact(cure)
        if request.url.path.startswith("/api/"):
            return as_json({"error": fact, "hint": cure or None}, status)
        if "text/html" not in request.headers.get("accept", ""):
            return PlainTextResponse(f"{fact}\n" + (f"try: {cure}\n" if cure else ""), status)
        return self.render(request, "error.html", status=status, fact=fact, cure=cure, live=status == 503)


View = Callable[[Site, Request], Response]


def as_json(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """For machines, without a secret, whatever brought one."""
    text = redact(json.dumps(document, default=str, separators=(",", ":")))
    return Response(text, status, headers, "application/json")


def vitals_of(picture: Picture, request: Request) -> Vitals:
    """The shard that the path names. Raises NoSuchShard."""
    name = request.path_params["name"]
    found = picture.shard(name)
    if found is None:
        raise errors.NoSuchShard(name=name, known=words.joined([each.shard for each in picture.vitals]))
    return found


def number_in(text: str) -> int | None:
    """The number that is meant; None where it is none, or one that no run can have."""
    return int(text) if text.isdecimal() and len(text) <= _DIGITS else None


def number_of(request: Request) -> int:
    """The run's number in the path. Raises NoSuchRun."""
    text = request.path_params["number"]
    number = number_in(text)
    if number is None:
        raise errors.NoSuchRun(run=text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
    return number


async def form_of(request: Request) -> Mapping[str, str]:
    """The fields of a form of ours, the first of each; empty for what is too large to be one."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST:
            return {}
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}
