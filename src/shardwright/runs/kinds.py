"""What a durable run is made of: a kind is a list of named steps, each a plain function that knows no engine."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from shardwright.config import FleetConfig

_LOOK_EVERY = 0.05
Results = Mapping[str, Mapping[str, Any]]
T = TypeVar("T")


class Stopped(BaseException):
    """The step is to end here: an operator wants it, or the run is in other hands now. Not for steps to catch."""


@dataclass(frozen=True)
class Progress:
    """How far a step is: `done` of `total` (None: not known) in `unit`; `lag` in seconds where it follows writers."""

    phase: str
    done: float
    total: float | None = None
    unit: str = "rows"
    lag: float | None = None


class Shelf:
    """What the steps of a run share for as long as it is in these hands, so that none has to be opened anew by each.

    Closed when a step fails, or the run leaves the hands. `lend` is for any thread, all else for one.
    """

    def __init__(self) -> None:
        self._things: dict[str, tuple[ExitStack, Any]] = {}

    @contextmanager
    def lend(self, name: str, make: Callable[[], AbstractContextManager[T]]) -> Iterator[T]:
        """What lies there under `name`, else what `make` gives. An exception ends it as it would end a `with`."""
        lying = self._things.pop(name, None)
        stack, thing = _entered(make) if lying is None else lying
        try:
            yield thing
        except BaseException:
            if not stack.__exit__(*sys.exc_info()):
                raise
        else:
            self._put(name, stack, thing)

    def keep(self, name: str, make: Callable[[], T]) -> T:
        """What `make` has given under that name; it has nothing that would have to be closed."""
        if name not in self._things:
            self._things[name] = ExitStack(), make()
        found: T = self._things[name][1]
        return found

    def close(self) -> None:
        """Nothing lies there."""
        things, self._things = self._things, {}
        with ExitStack() as all_of_them:
            for stack, _ in things.values():
                all_of_them.push(stack)

    def _put(self, name: str, stack: ExitStack, thing: Any) -> None:
        if self._things.setdefault(name, (stack, thing))[0] is not stack:
            stack.close()


def _entered(make: Callable[[], AbstractContextManager[T]]) -> tuple[ExitStack, T]:
    with ExitStack() as stack:
        thing = stack.enter_context(make())
        return stack.pop_all(), thing


def _never() -> str | None:
    return None


@dataclass
class StepContext:
    """What a step is given: the fleet, the run's frozen plan, what earlier steps gave, and its way to tell.

    `stop_wanted` says why the step should end, or None; `report` takes its progress. `runner` grows whenever the run
    changes hands: what is written outside under a number, and refused under a smaller one, no zombie can undo.
    `shelf` has what steps share while the run is in the same hands.
    """

    fleet: FleetConfig
    run: int
    plan: Mapping[str, Any]
    results: Results = field(default_factory=lambda: MappingProxyType({}))
    attempt: int = 1
    runner: int = 0
    report: Callable[[Progress], None] = lambda _: None
    tell: Callable[[str], None] = lambda _: None
    stop_wanted: Callable[[], str | None] = _never
    shelf: Shelf = field(default_factory=Shelf)

    def raise_if_stopped(self) -> None:
        """For the safe points of a long step: raises Stopped where it should end; it will be done again, or undone."""
        if reason := self.stop_wanted():
            raise Stopped(reason)

    def rest(self, seconds: float) -> None:
        """Sleeps so long; raises Stopped as soon as the step should end."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.raise_if_stopped()
            time.sleep(min(left, _LOOK_EVERY))


Do = Callable[[StepContext], Mapping[str, Any] | None]
Undo = Callable[[StepContext], None]


@dataclass(frozen=True)
class Step:
    """One named, repeatable part of a run.

    `do` may be called again after it has begun, or even ended, and gives what later steps want to know (JSON).
    `undo` takes it back, wherever it had come to, and may be called again too; None where there is nothing to take
    back. `final`: from its begin on the run only goes forward. `approval`: the question that an operator answers
    with `runs approve` before it is begun; `waits`: for how many seconds, after which the clock approves.
    """

    name: str
    do: Do
    undo: Undo | None = None
    final: bool = False
    approval: str | None = None
    waits: Callable[[StepContext], float] | None = None


@dataclass(frozen=True)
class Kind:
    """A named list of steps. Names of steps are for ever: a run that waits for a year is resumed by them."""

    name: str
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        if len({step.name for step in self.steps}) != len(self.steps):
            raise ValueError(f"two steps of {self.name} have one name")

    def step(self, name: str) -> Step | None:
        """The step of that name, if this version of the tool has it."""
        return next((step for step in self.steps if step.name == name), None)


def by_name(kinds: Iterable[Kind]) -> dict[str, Kind]:
    """The kinds, to be found by a run's kind."""
    return {kind.name: kind for kind in kinds}
