"""A dashboard to be looked at: the real application over a watch whose pictures a test makes, and a real ledger."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from shardwright.fleet import Fleet
from shardwright.monitor.picture import Picture
from shardwright.monitor.watch import Habits, Watch
from shardwright.web.door import Door
from shardwright.web.live import Live
from shardwright.web.serve import ServeOptions, answering, listening
from shardwright.web.site import Site

TOKEN = "a-token-that-is-long-enough"


class Show:
    """A watch that sees the pictures a test puts up, and no others."""

    def __init__(self, *pictures: Picture, checked: Any = None) -> None:
        self._first = pictures
        self._queue: queue.SimpleQueue[Picture] = queue.SimpleQueue()
        self._is_over, self._is_checked = False, checked is not None
        habits = Habits(timedelta(milliseconds=1), timedelta(days=1))
        self.watch = Watch(self._take, lambda: checked, habits)

    @contextmanager
    def on(self) -> Iterator[Watch]:
        """Within, the watch has seen the first pictures."""
        with self.watch:
            for each in self._first:
                self.put_up(each)
            while self._is_checked and (self.watch.newest is None or self.watch.newest.checked is None):
                self.put_up(self._first[-1])
            try:
                yield self.watch
            finally:
                self._is_over = True
                self._queue.put(self._first[-1])  # nobody waits for the next one any more

    def put_up(self, picture: Picture) -> None:
        """The newest picture is this one."""
        newest = self.watch.newest
        self._queue.put(picture)
        self.watch.look()
        assert self.watch.wait(newest.number if newest else 0, timeout=30)

    def _take(self, before: Picture | None) -> Picture:
        picture = self._first[-1] if self._is_over else self._queue.get()
        return replace(picture, number=before.number + 1 if before else 1)


@dataclass
class Stage:
    """A running dashboard."""

    url: str
    site: Site
    show: Show


@contextmanager
def stage(fleet: Fleet, show: Show, *, port: int = 0, **options: Any) -> Iterator[Stage]:
    """Within, the dashboard of `fleet` answers, with what `show` shows."""
    chosen = ServeOptions(port=port, **{"token": TOKEN, **options})
    with listening(chosen) as listener, show.on() as watch:
        site = Site(fleet, watch, Door(chosen.token), Live(watch, fleet.mark))
        with answering(site, chosen, listener):
            yield Stage(f"http://127.0.0.1:{listener.getsockname()[1]}", site, show)
