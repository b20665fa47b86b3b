"""Waits and pauses of a lock that can't be had."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardwright.pg import retry

FIRST = st.timedeltas(min_value=timedelta(milliseconds=1), max_value=timedelta(minutes=5))


@pytest.mark.parametrize(("attempt", "milliseconds"), [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1600), (6, 2000)])
def test_the_lock_timeout_doubles(attempt: int, milliseconds: int) -> None:
    """It passes deadlock_timeout (1 s) within five tries, or no autovacuum would make way."""
    assert retry.lock_timeout(timedelta(milliseconds=100), attempt) == timedelta(milliseconds=milliseconds)


@given(FIRST, st.integers(1, 100))
def test_the_lock_timeout_never_shrinks_nor_passes_its_bound(first: timedelta, attempt: int) -> None:
    """At most 2 s, or what was asked for where that is more."""
    now, next_ = retry.lock_timeout(first, attempt), retry.lock_timeout(first, attempt + 1)
    assert first <= now <= next_ <= max(first, retry.LONGEST_LOCK_TIMEOUT)


@given(st.integers(1, 100), st.integers())
def test_a_pause_is_between_half_and_one_and_a_half_of_its_step(attempt: int, seed: int) -> None:
    """Doubled at each try up to ten seconds, and never the same for all shards."""
    step = min(retry.FIRST_PAUSE * (1 << min(attempt - 1, 10)), retry.LONGEST_PAUSE)
    jitter = random.Random(seed)  # noqa: S311 no secret
    assert step * 0.5 <= retry.pause(attempt, jitter=jitter) <= step * 1.5
