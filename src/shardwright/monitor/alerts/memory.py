"""Alerts of this process alone: while the control database is away, and where there is none."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from shardwright.monitor.alerts.alert import Alert, Key

LEASE = 60.0  # seconds in which nobody else tells what somebody is about to tell
LONGEST_REST = 256.0


@dataclass
class Line:
    """One alert, and what each receiver has heard of it: `firing`, `resolved`.

    `is_mirrored`: the control database has it as well.
    """

    id: int
    alert: Alert
    told: dict[str, str] = field(default_factory=dict)
    is_mirrored: bool = False

    def is_due(self, receiver: str) -> bool:
        """Whether the receiver has not heard of it as it stands."""
        return self.told.get(receiver) != self.alert.status


class Memory(Protocol):
    """Where alerts are remembered from the first word until everybody has heard the last."""

    def firing(self) -> dict[Key, Alert]:
        """Those that are not over, the oldest first."""

    def begin(self, alerts: Iterable[Alert], told: Mapping[str, str] | None = None) -> None:
        """These fire from now on, but those that do already. `told`: what receivers have heard of them elsewhere."""

    def resolve(self, alerts: Iterable[Alert], told: Mapping[str, str] | None = None) -> None:
        """These are over."""

    def claim(self, receivers: Collection[str]) -> list[Line]:
        """Those of which one of the receivers has still to hear, for nobody else for a while."""

    def owes(self, receivers: Collection[str]) -> bool:
        """Whether one of the receivers has still to hear of anything, now or after a rest."""

    def heard(self, lines: Collection[Line], receiver: str) -> None:
        """The receiver has heard of these as they stand in `lines`."""

    def failed(self, lines: Collection[Line]) -> None:
        """These could not be told, and are due again after a rest, a longer one each time."""


class LocalMemory:
    """In this process; for any thread."""

    def __init__(self) -> None:
        self._alone = threading.Lock()
        self._lines: dict[int, Line] = {}
        self._tries: dict[int, int] = {}
        self._next_try: dict[int, float] = {}
        self._numbers = itertools.count(1)

    def own(self) -> list[Line]:
        """What the control database does not know of, in its order."""
        with self._alone:
            return [replace(line, told=dict(line.told)) for line in self._lines.values() if not line.is_mirrored]

    def mirror(self, alerts: Iterable[Alert], told: Mapping[str, str]) -> None:
        """It holds what the control database does, and nothing else; telling it is that one's business."""
        with self._alone:
            lines = (Line(next(self._numbers), alert, dict(told), is_mirrored=True) for alert in alerts)
            self._lines = {line.id: line for line in lines}
            self._tries.clear()
            self._next_try.clear()

    def firing(self) -> dict[Key, Alert]:
        """As `Memory` says."""
        with self._alone:
            return {line.alert.key: line.alert for line in self._lines.values() if line.alert.is_firing}

    def begin(self, alerts: Iterable[Alert], told: Mapping[str, str] | None = None) -> None:
        """As `Memory` says."""
        present = self.firing()
        with self._alone:
            for alert in alerts:
                if alert.key not in present:
                    number = next(self._numbers)
                    self._lines[number] = Line(number, alert, dict(told or {}))

    def resolve(self, alerts: Iterable[Alert], told: Mapping[str, str] | None = None) -> None:
        """As `Memory` says."""
        over = {alert.key: alert for alert in alerts}
        with self._alone:
            for line in self._lines.values():
                if line.alert.is_firing and line.alert.key in over:
                    line.alert, line.is_mirrored = over[line.alert.key], False
                    line.told |= told or {}
                    self._next_try.pop(line.id, None)

    def claim(self, receivers: Collection[str]) -> list[Line]:
        """As `Memory` says; what is over and known to all is forgotten."""
        with self._alone:
            due = [line for line in self._lines.values() if any(map(line.is_due, receivers))]
            for line in [each for each in self._lines.values() if not each.alert.is_firing and each not in due]:
                del self._lines[line.id]
            now = time.monotonic()
            claimed = [line for line in due if self._next_try.get(line.id, now) <= now]
            for line in claimed:
                self._tries[line.id] = self._tries.get(line.id, 0) + 1
                self._next_try[line.id] = now + LEASE
            return [Line(line.id, line.alert, dict(line.told)) for line in claimed]

    def owes(self, receivers: Collection[str]) -> bool:
        """As `Memory` says."""
        with self._alone:
            return any(line.is_due(receiver) for line in self._lines.values() for receiver in receivers)

    def heard(self, lines: Collection[Line], receiver: str) -> None:
        """As `Memory` says."""
        with self._alone:
            for line in lines:
                if (kept := self._lines.get(line.id)) is not None:
                    kept.told[receiver] = line.alert.status
                self._tries.pop(line.id, None)
                self._next_try.pop(line.id, None)

    def failed(self, lines: Collection[Line]) -> None:
        """As `Memory` says."""
        with self._alone:
            for line in lines:
                tries = max(1, self._tries.get(line.id, 1))
                self._next_try[line.id] = time.monotonic() + min(2.0 ** (tries - 1), LONGEST_REST)
