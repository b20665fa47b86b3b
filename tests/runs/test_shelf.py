"""What the steps of a run share while it is in the same hands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from shardwright.runs.kinds import Shelf


@contextmanager
def thing(log: list[str]) -> Iterator[object]:
    log.append("begun")
    try:
        yield object()
    except LookupError:
        log.append("failed")
        raise
    finally:
        log.append("ended")


def test_what_was_lent_is_lent_again_until_the_end() -> None:
    """One thing is made for all who ask one after the other, and ended once."""
    log: list[str] = []
    with closing(Shelf()) as shelf:
        with shelf.lend("it", lambda: thing(log)) as first:
            pass
        with shelf.lend("it", lambda: thing(log)) as second:
            assert second is first
        assert log == ["begun"]
    assert log == ["begun", "ended"]


def test_what_has_failed_is_not_lent_again() -> None:
    """It is ended by its exception, which goes on; the next gets a new one."""
    log: list[str] = []
    with closing(Shelf()) as shelf:
        with pytest.raises(LookupError), shelf.lend("it", lambda: thing(log)):
            raise LookupError
        assert log == ["begun", "failed", "ended"]
        with shelf.lend("it", lambda: thing(log)):
            assert log[3:] == ["begun"]


def test_two_at_once_get_one_each() -> None:
    """And only one of them is kept."""
    log: list[str] = []
    with closing(Shelf()) as shelf:
        with shelf.lend("it", lambda: thing(log)) as one, shelf.lend("it", lambda: thing(log)) as other:
            assert one is not other
        assert log == ["begun", "begun", "ended"]
    assert log == ["begun", "begun", "ended", "ended"]
