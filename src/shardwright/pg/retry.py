"""How long to wait before the next try, and how long each try may wait for a lock."""

from __future__ import annotations

import random
from datetime import timedelta

LONGEST_LOCK_TIMEOUT = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(seconds=10)
FIRST_PAUSE = timedelta(milliseconds=250)


def lock_timeout(first: timedelta, attempt: int) -> timedelta:
    """The lock time-out of `attempt` (from 1): doubled at every try, up to 2 s or `first` if that is longer.

    It grows past deadlock_timeout (1 s), or an autovacuum that holds the table would never be cancelled.
    """
    return min(first * _doubled(attempt), max(first, LONGEST_LOCK_TIMEOUT))


def pause(attempt: int, *, jitter: random.Random | None = None) -> timedelta:
    """The wait after `attempt` (from 1) failed: doubled each time, up to 10 s, times 0.5 to 1.5."""
    factor = (jitter or random).uniform(0.5, 1.5)
    return min(FIRST_PAUSE * _doubled(attempt), LONGEST_PAUSE) * factor


def _doubled(attempt: int) -> int:
    return 1 << min(attempt - 1, 16)  # a duration can't be doubled a hundred times
