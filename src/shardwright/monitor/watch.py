"""Takes a picture every few seconds, in a thread, for as long as somebody serves or alerts."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

from shardwright.dsn import redact
from shardwright.monitor.picture import Picture, without_details

if TYPE_CHECKING:
    from shardwright.monitor.check import FleetCheck

_KEPT = timedelta(hours=1)
_REST = 4  # times what a picture took: a large fleet is looked at a fifth of the time at most
_LATE = 4  # times as old as it should be
_FAREWELL = 1.0
_MOST = 50_000  # vitals that are kept in memory: of a thousand shards fifty pictures


@dataclass(frozen=True)
class Habits:
    """How a watch looks: a picture `every` so often, a full check `check_every`."""

    every: timedelta
    check_every: timedelta


class Watch:
    """A thread that takes pictures. Within `with` it is at work; whoever waits for the next picture is woken by it.

    `take` gives a picture from the one before; `check` what a full check finds; `judge` gets each picture and gives
    it with the alerts that fire; `say` is told what goes wrong with the watch itself.
    """

    def __init__(
        self,
        take: Callable[[Picture | None], Picture],
        check: Callable[[], FleetCheck],
        habits: Habits,
        *,
        judge: Callable[[Picture], Picture] = lambda picture: picture,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._take, self._check, self._habits, self._judge, self._say = take, check, habits, judge, say
        self._changed = threading.Condition()
        self._pictures: deque[Picture] = deque()
        self._newest: Picture | None = None
        self._shown_at = self._took = 0.0
        self._is_wanted = threading.Event()
        self._is_over = False
        self._checked: tuple[FleetCheck | None, datetime | None] = (None, None)
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        for name, work in (("pictures", self._take_pictures), ("checks", self._make_checks)):
            thread = threading.Thread(target=work, name=f"watch {name}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The watch is over, and whoever waits is woken; what it asks of a shard right now is not waited for."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        self._is_wanted.set()
        for thread in self._threads:
            thread.join(timeout=_FAREWELL)

    @property
    def newest(self) -> Picture | None:
        """The newest picture; None until the first is taken."""
        with self._changed:
            return self._newest

    @property
    def is_late(self) -> bool:
        """Whether the newest picture is much older than it should be: then it says nothing of the fleet as it is."""
        with self._changed:
            due = _LATE * max(self._habits.every.total_seconds(), self._took * (1 + _REST))
            return self._newest is not None and time.monotonic() - self._shown_at > due

    def wait(self, after: int = 0, *, timeout: float | None = None) -> Picture | None:
        """The newest picture once its number is above `after`; None after `timeout` seconds, and at the watch's end."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or self._after(after) is not None, timeout)
            return None if self._is_over else self._after(after)

    def history(self) -> tuple[Picture, ...]:
        """The pictures of the last hour, oldest first, without what is long; fewer where the fleet is very large."""
        with self._changed:
            return tuple(self._pictures)

    def _after(self, number: int) -> Picture | None:
        return self._newest if self._newest and self._newest.number > number else None

    def look(self) -> None:
        """The next picture is taken now: something was done that it will show."""
        self._is_wanted.set()

    def _take_pictures(self) -> None:
        while not self._is_over:
            began = time.monotonic()
            with self._surviving("a picture"):
                self._show(self._judge(self._with_check(self._take(self.newest))))
            took = self._took = time.monotonic() - began
            self._is_wanted.wait(max(self._habits.every.total_seconds() - took, took * _REST))
            self._is_wanted.clear()

    def _make_checks(self) -> None:
        while not self._is_over:
            with self._surviving("a full check"):
                found = self._check()
                with self._changed:
                    self._checked = found, datetime.now(UTC)
                self.look()
            with self._changed:
                self._changed.wait_for(lambda: self._is_over, self._habits.check_every.total_seconds())

    def _with_check(self, picture: Picture) -> Picture:
        with self._changed:
            checked, at = self._checked
        return replace(picture, checked=checked, checked_at=at)

    def _show(self, picture: Picture) -> None:
        with self._changed:
            self._newest, self._shown_at = picture, time.monotonic()
            self._pictures.append(without_details(picture))
            most = max(2, _MOST // max(1, len(picture.vitals)))
            while len(self._pictures) > most or picture.at - self._pictures[0].at > _KEPT:
                self._pictures.popleft()
            self._changed.notify_all()

    @contextmanager
    def _surviving(self, what: str) -> Iterator[None]:
        """A watch goes on for weeks: what one look could not do, the next one may."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 the end of a thread: a watch that dies unseen alerts nobody
            self._say(f"{what} failed: {redact(f'{type(error).__name__}: {error}')}")
