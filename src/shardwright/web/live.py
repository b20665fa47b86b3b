"""Tells open pages that there is something new: one thread looks, whoever reads hears a name and fetches the rest."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from shardwright import errors
from shardwright.monitor.watch import Watch

PICTURE, RUN = "picture", "run"
MOST = 500  # pages open at once
_LOOK_EVERY = 1.0
_SILENCE = 15.0  # seconds after which a line that says nothing keeps proxies from closing the stream


class _Reader:
    """One open page, and what it has not been told yet: names, so that it never grows."""

    def __init__(self) -> None:
        self.untold: set[str] = set()
        self.is_called = asyncio.Event()

    def tell(self, name: str) -> None:
        self.untold.add(name)
        self.is_called.set()


class Live:
    """Streams of server-sent events. `mark` gives another value whenever something has happened in a run.

    An event carries no data but a number of what was seen last, which a page sends when it comes back; another one
    than ours, from before a restart too, and it is told of everything.
    """

    def __init__(self, watch: Watch, mark: Callable[[], Any]) -> None:
        self._watch = watch
        self._mark = mark
        self._boot = secrets.token_hex(4)
        self._number = 0
        self._readers: set[_Reader] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = threading.Event()

    @property
    def seen(self) -> str:
        """What a page that is made now has seen."""
        return f"{self._boot}-{self._number}"

    @property
    def readers(self) -> int:
        """How many pages are open."""
        return len(self._readers)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within, in the loop's thread, readers are told."""
        self._loop = asyncio.get_running_loop()
        thread = threading.Thread(target=self._look, name="live", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.close()
            thread.join(timeout=5)

    def close(self) -> None:
        """Every stream ends; for any thread."""
        self._over.set()
        self._call(self._wake)

    async def stream(self, seen: str) -> AsyncGenerator[str, None]:
        """What a page that has seen `seen` is told, until it leaves or the server ends."""
        reader = _Reader()
        self._readers.add(reader)
        try:
            yield "retry: 2000\n\n"
            if seen != self.seen:
                reader.tell(PICTURE)
            while not self._over.is_set():
                async for text in self._told(reader):
                    yield text
        finally:
            self._readers.discard(reader)

    async def _told(self, reader: _Reader) -> AsyncIterator[str]:
        try:
            await asyncio.wait_for(reader.is_called.wait(), _SILENCE)
        except TimeoutError:
            yield ":\n\n"
            return
        reader.is_called.clear()
        names, reader.untold = sorted(reader.untold), set()
        for name in names:
            yield f"id: {self.seen}\nevent: {name}\ndata: {self.seen}\n\n"

    def _look(self) -> None:
        """In a thread of its own."""
        newest, mark = self._watch.newest, None
        while not self._over.is_set():
            found = self._watch.wait(newest.number if newest else 0, timeout=_LOOK_EVERY)
            if found is not None:
                newest = found
                self._call(self._tell, PICTURE)
            mark = self._look_at_runs(mark)

    def _look_at_runs(self, mark: Any) -> Any:
        """Only while somebody reads."""
        if not self._readers:
            return mark
        try:
            found = self._mark()
        except errors.ShardwrightError:  # the control database is away, which the next picture tells
            return mark
        if found != mark:  # also at the first look: something may have happened since the page was made
            self._call(self._tell, RUN)
        return found

    def _tell(self, name: str) -> None:
        self._number += 1
        for reader in self._readers:
            reader.tell(name)

    def _wake(self) -> None:
        for reader in self._readers:
            reader.is_called.set()

    def _call(self, function: Callable[..., None], *values: Any) -> None:
        if self._loop is None or self._loop.is_closed():
            return
        with suppress(RuntimeError):  # the loop ended meanwhile, and every reader with it
            self._loop.call_soon_threadsafe(function, *values)
