"""What every request passes: is it meant for us, may it come in, and what the browser is told to refuse."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shardwright.web.door import Door, Session

COOKIE = "shardwright_session"
OPEN_TO_ALL = ("/sign-in", "/static/", "/healthz")
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Hosts:
    """The names under which the server may be called.

    A page of somebody else's, whose name was made to lead to this machine (DNS rebinding), could read everything. But
    its requests carry that name. An address can't be made to lead elsewhere, so any is let pass.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = {"localhost", socket.gethostname().lower(), *(name.lower() for name in names)}

    def know(self, host: str) -> bool:
        """Whether `host`, with or without a port, is one of them."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        return name in self._names or _is_address(name)


class Guard:
    """Wraps the whole application. With `is_private` only who has signed in, or shows the token, reads anything."""

    def __init__(self, app: ASGIApp, door: Door, hosts: Hosts, *, is_private: bool) -> None:
        self._app = app
        self._door = door
        self._hosts = hosts
        self._is_private = is_private

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault(
                    "cache-control", "no-cache" if request.url.path.startswith("/static/") else "no-store"
                )
            await send(message)

        request = Request(scope)
        scope["session_of_ours"] = self._door.session(request.cookies.get(COOKIE))
        app = self._refusal(request) or self._app
        await app(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if not self._hosts.know(host):
            told = f"this server does not go by the name {host!r}; to let it: shardwright serve --allow-host NAME\n"
            return PlainTextResponse(told, 421)
        if request.method not in ("GET", "HEAD") and (refused := _foreign(request.headers, host)):
            return PlainTextResponse(f"{refused}\n", 403)
        if self._is_private and not self._may_read(request):
            return _to_the_door(request)
        return None

    def _may_read(self, request: Request) -> bool:
        if any(request.url.path.startswith(prefix) for prefix in OPEN_TO_ALL) or session_of(request) is not None:
            return True
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and self._door.knows(token)


def session_of(request: Request) -> Session | None:
    """Who has signed in, if anybody."""
    found: Session | None = request.scope.get("session_of_ours")
    return found


def _foreign(headers: Headers, host: str) -> str | None:
    """Why a request that would act is not of a page of ours; None where it is."""
    origin = headers.get("origin")
    if origin is None:
        return "a request that acts says where it comes from (Origin)"
    return None if origin.partition("://")[2] == host else f"a page of {origin} may not act here"


def _to_the_door(request: Request) -> Response:
    accepts_pages = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    if accepts_pages and "hx-request" not in request.headers:
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/sign-in?{urlencode({'then': target})}", 303)
    told = "sign in, or send: Authorization: Bearer TOKEN\n"
    return PlainTextResponse(told, 401, {"www-authenticate": "Bearer"})


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
