"""Before a blue-green switch: the green shard on which a tenant may be read, if it is not too far behind."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import psycopg

from shardwright import errors
from shardwright.catalog import changes
from shardwright.catalog.changes import Change, Lane, Part
from shardwright.config import format_duration
from shardwright.routing.asking import Asker

T = TypeVar("T")
LIVES = 1.0  # seconds for which the outcome of a question is used; what is told of lanes is told once a second


class Seen(NamedTuple):
    """The set's last change, and its lanes by their two shards, as they were at `at` of this process's clock."""

    change: Change | None
    lanes: dict[tuple[str, str], Lane]
    at: float


class Greens:
    """Thread-safe. Asks over a connection of its own, which is opened when it is first needed."""

    def __init__(self, shard_set: str, make_asker: Callable[[int], Asker], *, size: int) -> None:
        self._set = shard_set
        self._make_asker = make_asker
        self._asker: Asker | None = None
        self._size = size
        self._asking = threading.Lock()
        self._seen: Seen | None = None
        self._failure: tuple[float, errors.ControlError] | None = None
        self._parts: OrderedDict[str, Part] = OrderedDict()  # of the change that was seen last

    def find(self, tenant: str, allowed: timedelta) -> str | None:
        """The green shard on which `tenant` may be read; None where its own shard is that.

        Raises NoGreen, GreenLags, ControlError.
        """
        with self._asking:
            seen = self._look()
            if seen.change is None or seen.change.phase == "undone":
                raise errors.NoGreen(tenant=tenant, reason="no blue-green change is under way")
            if seen.change.phase == "done":
                return None
            part = self._part(seen.change, tenant)
            if (refusal := _refusal(tenant, part, seen, allowed)) is None:
                return part.green
            self._parts.pop(tenant)
            if (present := self._part(seen.change, tenant)).at_green:  # it was switched, and nobody told us
                return present.green
            raise refusal

    def close(self) -> None:
        """No connection is left."""
        with self._asking:
            if self._asker is not None:
                self._asker.close()

    def _look(self) -> Seen:
        """As it is, or was a second ago. A control database that is away is not asked by each who waited."""
        now = time.monotonic()
        if self._failure is not None and now - self._failure[0] < LIVES:
            raise self._failure[1]
        if self._seen is None or now - self._seen.at >= LIVES:
            before, self._seen = self._seen, self._ask(now)
            if before is None or _run(before) != _run(self._seen):
                self._parts.clear()
        return self._seen

    def _ask(self, now: float) -> Seen:
        change = self._put(lambda control: changes.newest_change(control, self._set))
        lanes = self._put(lambda control: changes.lanes(control, change.run)) if change is not None else None
        return Seen(change, {(lane.blue, lane.green): lane for lane in lanes or ()}, now)

    def _put(self, question: Callable[[psycopg.Connection[Any]], T]) -> T | None:
        if self._asker is None:
            self._asker = self._make_asker(changes.SINCE)
        try:
            return self._asker.put(question)
        except errors.ControlError as error:
            self._failure = time.monotonic(), error
            raise

    def _part(self, change: Change, tenant: str) -> Part:
        """The tenant's part in the change, which is the same as long as that is open. Raises NoGreen."""
        part = self._parts.get(tenant) or self._put(lambda control: changes.part_of(control, change.run, tenant))
        if part is None:
            raise errors.NoGreen(tenant=tenant, reason=f"blue-green change {change.run} has not taken it along yet")
        self._parts[tenant] = part
        self._parts.move_to_end(tenant)
        if len(self._parts) > self._size:
            self._parts.popitem(last=False)
        return part


def _run(seen: Seen) -> int | None:
    return seen.change.run if seen.change is not None else None


def _refusal(tenant: str, part: Part, seen: Seen, allowed: timedelta) -> errors.RoutingError | None:
    """Why `tenant` may not be read on its green shard; None where it may."""
    assert seen.change is not None  # noqa: S101 there is no part without a change
    if not seen.change.is_built:
        return errors.NoGreen(tenant=tenant, reason=f"blue-green change {seen.change.run} is {seen.change.phase}")
    lane = seen.lanes.get((part.blue, part.green))
    if lane is None or lane.behind is None:
        lag, told = "is not known how far behind it is", "never"
    else:
        age = lane.told + time.monotonic() - seen.at
        if lane.behind + age <= allowed.total_seconds():
            return None
        lag, told = f"is up to {lane.behind + age:.1f} s behind", f"{age:.1f} s ago"
    return errors.GreenLags(tenant=tenant, lag=lag, allowed=format_duration(allowed), told=told)
