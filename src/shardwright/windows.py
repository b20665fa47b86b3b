"""Times of the week in which something may begin, as configuration spells them; all in UTC."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY = 24 * 60
_WEEK = 7 * _DAY
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d"
_SPELLED = re.compile(rf"(daily|{'|'.join(_DAYS)}) ({_TIME})-(?:({'|'.join(_DAYS)}) )?({_TIME})")
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Window:
    """A part of every week, or of every day, in minutes from Monday 00:00; its end is not in it."""

    text: str
    begin: int
    minutes: int
    is_daily: bool

    def __str__(self) -> str:
        return self.text

    def holds(self, at: datetime) -> bool:
        """Whether `at` is in it."""
        return self._into(_minute_of_week(at)) < self.minutes

    def wait(self, at: datetime) -> int:
        """How many minutes from `at`, whose seconds don't count, until it begins; 0 within it."""
        into = self._into(_minute_of_week(at))
        return 0 if into < self.minutes else self._period - into

    @property
    def _period(self) -> int:
        return _DAY if self.is_daily else _WEEK

    def _into(self, minute: int) -> int:
        return (minute - self.begin) % self._period


def parse_window(text: object) -> Window:
    """The window that `Sat 22:00-Sun 06:00`, `Sat 01:00-05:00` or `daily 22:00-04:00` spells; else ValueError."""
    if isinstance(text, Window):
        return text
    found = _SPELLED.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None or (found[1] == "daily" and found[3]):
        raise ValueError('not a window; write "daily 01:00-05:00" or "Sat 22:00-Sun 06:00" (UTC)')
    day, begin, last_day, end = found.groups()
    is_daily = day == "daily"
    start = _clock(begin) + (0 if is_daily else _DAYS.index(day) * _DAY)
    if last_day:
        minutes = (_DAYS.index(last_day) * _DAY + _clock(end) - start) % _WEEK
    else:
        minutes = (_clock(end) - _clock(begin)) % _DAY
    if minutes == 0:
        raise ValueError("a window ends at another time than it begins; leave windows out for always")
    return Window(found[0], start, minutes, is_daily)


def is_open(windows: Iterable[Window], at: datetime) -> bool:
    """Whether something may begin at `at`: within one of them, and always where there are none."""
    windows = tuple(windows)
    return not windows or any(window.holds(at) for window in windows)


def next_open(windows: Iterable[Window], at: datetime) -> datetime:
    """When something may begin next: `at` itself where it may now, else the begin of the next window."""
    windows = tuple(windows)
    if is_open(windows, at):
        return at
    return at.replace(second=0, microsecond=0) + min(window.wait(at) for window in windows) * _MINUTE


def _clock(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _minute_of_week(at: datetime) -> int:
    at = at.astimezone(UTC)
    return at.weekday() * _DAY + at.hour * 60 + at.minute
