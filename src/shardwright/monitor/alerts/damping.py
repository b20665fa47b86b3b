"""What is to be told and what is over, once a trouble has lasted, or been gone, for long enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shardwright.monitor.alerts.alert import Alert, Key
from shardwright.monitor.alerts.rules import Judgement


@dataclass(frozen=True)
class Turn:
    """What one judgement changes: alerts that begin, and those that are over."""

    begun: tuple[Alert, ...] = ()
    over: tuple[Alert, ...] = ()


class Damping:
    """Remembers since when each trouble is there, or gone, by the pictures' own clock.

    One that comes and goes faster than `hold` is told once, and stays until it is gone for as long.
    """

    def __init__(self, hold: timedelta) -> None:
        self._hold = hold
        self._there: dict[Key, datetime] = {}
        self._gone: dict[Key, datetime] = {}

    def turn(self, judgement: Judgement, firing: Mapping[Key, Alert], at: datetime) -> Turn:
        """What changes with this judgement; `firing` are those that have been told and are not over."""
        self._note(judgement, firing, at)
        begun = [
            replace(alert, since=self._there[key])
            for key, alert in judgement.found.items()
            if key not in firing and (key in judgement.certain or at - self._there[key] >= self._hold)
        ]
        over = [
            replace(alert, resolved_at=at)
            for key, alert in firing.items()
            if key in self._gone and at - self._gone[key] >= self._hold
        ]
        return Turn(tuple(begun), tuple(over))

    def _note(self, judgement: Judgement, firing: Mapping[Key, Alert], at: datetime) -> None:
        found = judgement.found
        kept = {key: since for key, since in self._there.items() if key in found or judgement.is_unsure(key)}
        self._there = {**dict.fromkeys(found, at), **kept}
        missed = [key for key in firing if key not in found and not judgement.is_unsure(key)]
        self._gone = {key: self._gone.get(key, at) for key in missed}
