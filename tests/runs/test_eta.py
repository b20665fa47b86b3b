"""How long it will still take: properties of the foretelling, over progress of any kind."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardwright.runs.eta import eta

Pairs = list[tuple[float, float]]
SECONDS = st.floats(0.01, 3600)
ROWS = st.floats(0, 1e9)


def samples(pairs: Pairs, *, total: float | None, phase: str = "copy") -> list[tuple[float, dict[str, Any]]]:
    """Progress told after so many seconds each, by so many rows each."""
    moments = accumulate((seconds for seconds, _ in pairs), initial=1.8e9)
    done = accumulate((rows for _, rows in pairs), initial=0.0)
    return [(at, {"phase": phase, "done": rows, "total": total}) for at, rows in zip(moments, done, strict=True)]


@given(st.lists(st.tuples(SECONDS, ROWS), max_size=30), st.none() | st.floats(0, 1e12))
def test_the_likely_time_lies_in_its_band(pairs: Pairs, total: float | None) -> None:
    """Whatever was told: early, likely, late, in this order, and none of them below zero; or nothing."""
    told = eta(samples(pairs, total=total))
    assert told is None or 0 <= told.early <= told.likely <= told.late


@given(st.integers(1, 10**6), st.integers(4, 100), st.integers(0, 10**9))
def test_a_constant_rate_gives_the_answer(rate: int, seconds: int, left: int) -> None:
    """The band is no wider than the truth."""
    told = eta(samples([(1.0, rate)] * seconds, total=rate * seconds + left))
    assert told is not None
    assert [told.early, told.likely, told.late] == pytest.approx([left / rate] * 3)


@given(st.lists(st.tuples(SECONDS, ROWS), max_size=3), st.floats(0, 1e12))
def test_too_little_is_no_answer(pairs: Pairs, total: float) -> None:
    """Nothing is foretold from a few moments."""
    assert eta(samples(pairs, total=total)) is None


@given(st.lists(st.tuples(SECONDS, ROWS), min_size=4, max_size=30))
def test_without_a_total_there_is_no_answer(pairs: Pairs) -> None:
    """Nor from how fast it goes alone."""
    assert eta(samples(pairs, total=None)) is None


def test_the_present_phase_counts() -> None:
    """How fast another phase was says nothing of this one."""
    before = samples([(1.0, 1000)] * 50, total=50_000, phase="scan")
    told = eta([*before, *samples([(1.0, 10)] * 10, total=200)])
    assert told is not None
    assert (told.early, told.likely, told.late) == pytest.approx((10, 10, 10))


def test_a_standstill_makes_the_band_wide() -> None:
    """Late is as much later than likely as early is earlier."""
    told = eta(samples([(1.0, 0), (1.0, 100)] * 10, total=2000))
    assert told is not None
    assert (told.early, told.likely, told.late) == pytest.approx((10, 20, 40))


def test_nothing_but_a_standstill_is_no_answer() -> None:
    """It may take for ever."""
    assert eta(samples([(1.0, 0)] * 10, total=100)) is None


@given(st.lists(st.tuples(SECONDS, ROWS), min_size=4, max_size=20), st.integers(1, 30))
def test_a_clock_or_a_count_that_went_back_is_borne(pairs: Pairs, where: int) -> None:
    """A step that is done again begins at nothing; a clock may be set."""
    told = samples(pairs, total=1e12)
    at, data = told[where % len(told)]
    told[where % len(told)] = (at - 1e6, {**data, "done": 0.0})
    foretold = eta(told)
    assert foretold is None or foretold.early <= foretold.likely <= foretold.late
