"""Listens to what the catalog tells of placements, in a thread with a connection of its own."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any, NamedTuple

import psycopg

from shardwright import errors
from shardwright.catalog import placement
from shardwright.catalog.control import read_control
from shardwright.dsn import DatabaseUrl
from shardwright.pg.queries import load
from shardwright.pg.retry import pause
from shardwright.routing.known import Place

NAME = "shardwright routing listener"
LONGEST_PAUSE = 2.0  # seconds between two tries to reach a control database that is away
_queries = load(__package__)


class Announcement(NamedTuple):
    """One message: where a tenant of a set is now; without a tenant, that many have changed."""

    shard_set: str
    tenant: str | None
    place: Place


def read_announcement(payload: str) -> Announcement | None:
    """The message that `payload` spells; None where it is not one of the catalog's."""
    try:
        said: Any = json.loads(payload)
        return Announcement(said["set"], said["tenant"], Place(said["shard"], said["epoch"] or 0))
    except (ValueError, LookupError, TypeError):
        return None


class Listener:
    """A thread that calls `begin` when it hears, `tell` for each message, `end` when it hears no more."""

    def __init__(
        self,
        control: DatabaseUrl,
        *,
        begin: Callable[[], None],
        tell: Callable[[Announcement], None],
        end: Callable[[], None],
    ) -> None:
        self._control, self._begin, self._tell, self._end = control, begin, tell, end
        self._stop = threading.Event()
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name=NAME, daemon=True)

    def start(self) -> None:
        """It begins to listen, and goes on for as long as it takes."""
        self._thread.start()

    def close(self) -> None:
        """It has ended, its connection closed."""
        self._stop.set()
        if (wire := self._socket) is not None:
            with suppress(OSError):  # closed already
                wire.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join(timeout=2)  # longer only where it is about to connect to a host that is silent

    def _run(self) -> None:
        attempt = 0
        while not self._stop.is_set():
            attempt += 1
            with suppress(errors.ControlError), self._connected() as control:
                if control is not None:
                    attempt = 0
                    self._listen(control)
            self._stop.wait(min(pause(attempt + 1).total_seconds(), LONGEST_PAUSE))

    def _connected(self) -> AbstractContextManager[psycopg.Connection[Any] | None]:
        return read_control(self._control, application_name=NAME, since=placement.SINCE)

    def _listen(self, control: psycopg.Connection[Any]) -> None:
        """Until the connection breaks, or `close` cuts it."""
        with socket.socket(fileno=os.dup(control.fileno())) as wire:
            self._socket = wire
            control.execute(_queries["listen"])
            if self._stop.is_set():
                return
            self._begin()  # what was told before has passed us by
            try:
                for message in control.notifies():
                    if (announcement := read_announcement(message.payload)) is not None:
                        self._tell(announcement)
            finally:
                self._socket = None
                self._end()
