"""A watch goes on: it takes pictures, wakes who waits, survives what goes wrong, and ends at once."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest

from kit import until
from pictures import picture
from shardwright.monitor import watch as watching
from shardwright.monitor.check import FleetCheck
from shardwright.monitor.picture import Picture
from shardwright.monitor.watch import Habits, Watch

SELDOM = Habits(timedelta(hours=1), timedelta(hours=1))
OFTEN = Habits(timedelta(milliseconds=1), timedelta(hours=1))


def take(before: Picture | None) -> Picture:
    number = before.number + 1 if before else 1
    return picture(seconds=number, number=number)


def check() -> FleetCheck:
    return FleetCheck()


def test_who_waits_is_woken_by_the_next_picture() -> None:
    """And not by one that is known already."""
    with Watch(take, check, SELDOM) as watch:
        first = watch.wait(timeout=10)
        assert first is not None
        until(lambda: watch.newest and watch.newest.checked)
        known = watch.newest.number if watch.newest else 0
        assert watch.wait(known, timeout=0.05) is None
        watch.look()
        second = watch.wait(known, timeout=10)
    assert second is not None
    assert second.number > known


def test_the_end_wakes_whoever_waits() -> None:
    """A server that ends need not wait for its listeners."""
    waiting = threading.Event()
    given: list[Picture | None] = []

    def wait() -> None:
        waiting.set()
        given.append(watch.wait(10**9))

    with Watch(take, check, SELDOM) as watch:
        thread = threading.Thread(target=wait)
        thread.start()
        waiting.wait(10)
    thread.join(10)
    assert given == [None]


def test_a_picture_that_fails_is_told_and_the_next_one_is_taken() -> None:
    """Without a secret in what is told."""
    said: list[str] = []

    def falter(before: Picture | None) -> Picture:
        if not said:
            raise OSError("postgresql://ada:s3cret@h/d is away")
        return take(before)

    with Watch(falter, check, OFTEN, say=said.append) as watch:
        assert watch.wait(timeout=10) is not None
    assert said[0].startswith("a picture failed: OSError")
    assert "s3cret" not in said[0]


def test_what_a_full_check_found_is_in_the_next_pictures() -> None:
    """With the moment; a slow check holds up no picture."""
    may_end, found = threading.Event(), FleetCheck()

    def slow() -> FleetCheck:
        may_end.wait(10)
        return found

    with Watch(take, slow, OFTEN) as watch:
        early = watch.wait(3, timeout=10)
        assert early is not None
        assert early.checked is None
        may_end.set()
        until(lambda: watch.newest and watch.newest.checked)
        late = watch.newest
    assert late is not None
    assert late.checked is found
    assert late.checked_at is not None


def test_each_picture_is_shown_as_it_was_judged() -> None:
    """With the alerts that fire."""
    with Watch(take, check, SELDOM, judge=lambda one: picture(number=one.number, shard_set="judged")) as watch:
        seen = watch.wait(timeout=10)
    assert seen is not None
    assert seen.shard_set == "judged"


def test_an_hour_is_kept_and_no_more() -> None:
    """By the pictures' own time; and of a large fleet less."""
    watch = Watch(take, check, SELDOM)
    for number in range(1, 500):
        watch._show(picture(seconds=number * 15, number=number))
    kept = watch.history()
    assert (kept[-1].number, len(kept)) == (499, 241)
    few = Watch(take, check, SELDOM)
    many = [picture().vitals[0]] * 20_000
    for number in range(1, 5):
        few._show(picture(*many, seconds=number, number=number))
    assert len(few.history()) == 2


def test_a_watch_that_hangs_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its newest picture says nothing of the fleet as it is."""
    monkeypatch.setattr(watching, "_FAREWELL", 0.05)
    go_on = threading.Event()

    def hang(before: Picture | None) -> Picture:
        if before is not None:
            go_on.wait(10)
        return take(before)

    with Watch(hang, check, OFTEN) as watch:
        watch.wait(timeout=10)
        until(lambda: watch.is_late)
        go_on.set()
    assert time.monotonic() > 0
