"""`shardwright serve`: the dashboard listens, until it is asked to stop."""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from shardwright import errors
from shardwright.fleet import Fleet
from shardwright.runs.stopping import StopRequest
from shardwright.web.app import make_app
from shardwright.web.door import Door
from shardwright.web.guard import Hosts
from shardwright.web.live import Live
from shardwright.web.site import Site

PORT = 8321
_LOOK_EVERY = 0.2
_FAREWELL = 5  # seconds that requests under way have


@dataclass(frozen=True)
class ServeOptions:
    """Where the dashboard listens, and for whom.

    `token`: whoever knows it may act; without one nobody may. `is_private`: whether reading needs it too; None: where
    other machines can reach it. `names`: under which it may be called, beside addresses and this machine's own name.
    """

    host: str = "127.0.0.1"
    port: int = PORT
    token: str | None = field(default=None, repr=False)
    is_private: bool | None = None
    names: Sequence[str] = ()

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def asks_readers(self) -> bool:
        """Whether whoever reads has to sign in."""
        return self.token is not None and not self.is_local if self.is_private is None else self.is_private


def serve(
    fleet: Fleet, options: ServeOptions, *, stop: StopRequest, say: Callable[[str], None] = lambda _: None
) -> None:
    """The dashboard answers until `stop` is asked; then what it is in the midst of is ended and it listens no more.

    Raises OpenToAll, WeakToken, AddressTaken, UsageError, EmbeddedError; nothing listens then.
    """
    _require_guarded(options)
    door = Door(options.token)
    fleet.resolved  # noqa: B018 embedded clusters are started, or whoever waits hears why not
    with listening(options) as listener, fleet.watch(say=say) as watch:
        site = Site(fleet, watch, door, Live(watch, fleet.mark))
        with answering(site, options, listener) as thread:
            say(_told(options, listener))
            while not stop.is_asked and thread.is_alive():
                time.sleep(_LOOK_EVERY)


@contextmanager
def answering(site: Site, options: ServeOptions, listener: socket.socket) -> Iterator[threading.Thread]:
    """Within, a thread answers what comes to `listener`; at the end open pages are let go, and it is waited for."""
    app = make_app(site, Hosts([options.host, *options.names]), is_private=options.asks_readers)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=_FAREWELL,
            server_header=False,
            forwarded_allow_ips="127.0.0.1,::1",
            ws="none",
        )
    )
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="serve")
    thread.start()
    try:
        yield thread
    finally:
        site.live.close()
        server.should_exit = True
        thread.join()


def _require_guarded(options: ServeOptions) -> None:
    if options.is_private and options.token is None:
        raise errors.UsageError("--private needs a token, which whoever reads signs in with", _MAKE_ONE)
    if not options.is_local and options.token is None and options.is_private is None:
        raise errors.OpenToAll(host=options.host)


_MAKE_ONE = "export SHARDWRIGHT_TOKEN=…   (python3 -c 'import secrets; print(secrets.token_urlsafe(32))' makes one)"


def listening(options: ServeOptions) -> socket.socket:
    """A socket that waits for whoever comes. Raises AddressTaken."""
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return _bound(*found[0])
    except OSError as error:
        raise errors.AddressTaken(host=options.host, port=options.port, why=error.strerror or str(error)) from error


def _bound(family: int, kind: int, protocol: int, _name: str, address: Any) -> socket.socket:
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _told(options: ServeOptions, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    host = f"[{options.host}]" if ":" in options.host else options.host
    acts = "nobody can act" if options.token is None else "whoever has the token acts"
    reads = "whoever has the token reads" if options.asks_readers else "whoever reaches it reads"
    return f"serving on http://{host}:{port} ({reads}, {acts}); Ctrl-C ends it"
