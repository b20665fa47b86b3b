"""Points in the code at which a test does something, by their names: `after fence.close_for_writes 1` is the first."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import Any

from shardwright.runs.board import Board
from shardwright.transfer import capture, clear, compare, copy, drain, fence, stream, switch, triggers

OWNERS: dict[str, Any] = {
    "Board": Board, "Copy": copy.Copy, "Switch": switch.Switch, "capture": capture, "clear": clear, "compare": compare,
    "drain": drain, "fence": fence, "stream": stream, "triggers": triggers,
}  # fmt: skip


@contextmanager
def instead(name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """What `make` makes of the function of that name is called in its place, wherever it was imported to."""
    owner, function = name.split(".")
    original = getattr(OWNERS[owner], function)
    new = wraps(original)(make(original))
    modules = [module for each, module in list(sys.modules.items()) if each.startswith("shardwright.")]
    places = [
        (place, attribute)
        for place in (*modules, OWNERS[owner])
        for attribute, value in vars(place).items()
        if value is original
    ]
    for place, attribute in places:
        setattr(place, attribute, new)
    try:
        yield
    finally:
        for place, attribute in places:
            setattr(place, attribute, original)


@contextmanager
def at(point: str, act: Callable[[], object]) -> Iterator[threading.Event]:
    """`act` is done before, or after, the nth call of that function from here on; the event tells that it was."""
    moment, name, count = point.split()
    calls, was = itertools.count(1), threading.Event()

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def reached(*arguments: Any, **options: Any) -> Any:
            is_now = next(calls) == int(count)
            if is_now and moment == "before":
                was.set()
                act()
            result = original(*arguments, **options)
            if is_now and moment == "after":
                was.set()
                act()
            return result

        return reached

    with instead(name, make):
        yield was


@contextmanager
def struck() -> Iterator[None]:
    """This process dies as by kill -9 at the point that its SW_DIES names, and is stopped at SW_STOPS."""
    with ExitStack() as stack:
        for variable, number in (("SW_DIES", signal.SIGKILL), ("SW_STOPS", signal.SIGSTOP)):
            if point := os.environ.get(variable):
                stack.enter_context(at(point, partial(os.kill, os.getpid(), number)))
        yield
