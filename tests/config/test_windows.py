"""Windows of the week: what is in them, and when the next one opens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardwright.windows import is_open, next_open, parse_window

SATURDAY = datetime(2026, 11, 21, tzinfo=UTC)
WEEKEND, NIGHT = parse_window("Sat 22:00-Sun 06:00"), parse_window("daily 22:30-04:00")


@pytest.mark.parametrize(
    ("window", "hours", "inside"),
    [
        (WEEKEND, 21.99, False),
        (WEEKEND, 22, True),
        (WEEKEND, 29.99, True),
        (WEEKEND, 30, False),
        (WEEKEND, 46, False),
        (NIGHT, 3.99, True),
        (NIGHT, 4, False),
        (NIGHT, 22.5, True),
        (parse_window("Sat 01:00-05:00"), 3, True),
        (parse_window("Sun 23:00-Mon 01:00"), 48.5, True),
    ],
)
def test_a_window_holds_what_is_spelled(window: object, hours: float, inside: bool) -> None:
    """Its begin and not its end, over midnight and the end of the week."""
    assert parse_window(window).holds(SATURDAY + timedelta(hours=hours)) is inside


@pytest.mark.parametrize(
    "text", ["", "Sat", "daily 01:00", "daily 1:00-2:00", "daily 01:00-Sun 02:00", "Sat 01:00-01:00", 7]
)
def test_what_is_no_window_is_refused(text: object) -> None:
    """A spelling that could be read in two ways as well."""
    with pytest.raises(ValueError, match="window"):
        parse_window(text)


@given(minutes=st.integers(0, 3 * 7 * 24 * 60))
def test_the_next_opening_is_the_first_moment_that_is_open(minutes: int) -> None:
    """Now where one is open; else nothing between now and then is."""
    at = SATURDAY + timedelta(minutes=minutes)
    windows = (WEEKEND, NIGHT)
    opening = next_open(windows, at)
    assert is_open(windows, opening)
    assert opening == at or not is_open(windows, opening - timedelta(minutes=1))
    assert is_open((), at)
    assert next_open((), at) == at
