"""What happens in a durable run, told while it is carried: read from the board, whoever carries it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from shardwright.errors import ControlUnavailable
from shardwright.runs.board import RunEvent

_LOOK_EVERY = 0.3


@contextmanager
def following(
    events: Callable[[int], list[RunEvent]], tell: Callable[[RunEvent], None], *, after: int = 0
) -> Iterator[None]:
    """Within the block `tell` is given, in a thread, what `events` (after a number) has."""
    over = threading.Event()

    def look() -> None:
        last, is_over = after, False
        while not is_over:
            is_over = over.wait(_LOOK_EVERY)  # one more look after the end
            with suppress(ControlUnavailable):
                for event in events(last):
                    last = event.id
                    tell(event)

    thread = threading.Thread(target=look, name="follow", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=5)


@contextmanager
def watching(is_enough: Callable[[], bool], then: Callable[[], None]) -> Iterator[None]:
    """Within the block `is_enough` is asked, in a thread, until it says so once; then `then` is called."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_EVERY):
            with suppress(ControlUnavailable):
                if is_enough():
                    then()
                    return

    thread = threading.Thread(target=look, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=5)
