"""Walks every state of a model, breadth first: the shortest way to a broken promise, and states without a way out."""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

State = TypeVar("State", bound=Hashable)


class Arrow(NamedTuple, Generic[State]):
    """One thing that may happen next; a fault is never needed for a way out."""

    label: str
    state: State
    is_fault: bool = False


class Broken(Exception):
    """An invariant does not hold; raised by a model, or by the search with the way that led there."""

    def __init__(self, invariant: str, fact: str, trace: tuple[str, ...] = ()) -> None:
        self.invariant, self.fact, self.trace = invariant, fact, trace

    def __str__(self) -> str:
        steps = "".join(f"\n{number:4}. {step}" for number, step in enumerate(self.trace, 1))
        return f"{self.invariant}: {self.fact}{steps}"


class Explored(NamedTuple):
    """What an exhaustive search saw."""

    states: int
    arrows: int
    finishes: int


def explore(
    start: State,
    arrows: Callable[[State], Iterable[Arrow[State]]],
    is_finish: Callable[[State], bool],
    limit: int = 5_000_000,
) -> Explored:
    """Every state that can be reached from `start`, each once.

    Raises Broken with the shortest trace where an invariant breaks, and for a state from which no finish is reached
    though nothing else fails (I4).
    """
    collects = gc.isenabled()
    gc.disable()  # millions of tuples and no cycles
    try:
        return _Search(start, arrows, is_finish, limit).run()
    finally:
        if collects:
            gc.enable()


class _Search(Generic[State]):
    def __init__(
        self,
        start: State,
        arrows: Callable[[State], Iterable[Arrow[State]]],
        is_finish: Callable[[State], bool],
        limit: int,
    ) -> None:
        self.arrows, self.is_finish, self.limit = arrows, is_finish, limit
        self.states = [start]
        self.number = {start: 0}
        self.came: list[tuple[int, str]] = [(-1, "")]
        self.before: list[list[int]] = [[]]  # by arrows that are no faults
        self.finishes: list[int] = []
        self.walked = 0

    def run(self) -> Explored:
        here = 0
        while here < len(self.states):
            if len(self.states) > self.limit:
                raise RuntimeError(f"more than {self.limit} states")
            self._leave(here)
            here += 1
        self._every_state_has_a_way_out()
        return Explored(len(self.states), self.walked, len(self.finishes))

    def _leave(self, here: int) -> None:
        state = self.states[here]
        try:
            if self.is_finish(state):
                self.finishes.append(here)
            for label, after, is_fault in self.arrows(state):
                there = self._number(after, here, label)
                self.walked += 1
                if not is_fault:
                    self.before[there].append(here)
        except Broken as broken:
            raise Broken(broken.invariant, broken.fact, (*self._trace(here), *broken.trace)) from None

    def _number(self, state: State, here: int, label: str) -> int:
        there = self.number.setdefault(state, len(self.states))
        if there == len(self.states):
            self.states.append(state)
            self.came.append((here, label))
            self.before.append([])
        return there

    def _trace(self, here: int) -> tuple[str, ...]:
        labels: list[str] = []
        while here:
            here, label = self.came[here]
            labels.append(label)
        return tuple(reversed(labels))

    def _every_state_has_a_way_out(self) -> None:
        saved = bytearray(len(self.states))
        waiting = list(self.finishes)
        for finish in waiting:
            saved[finish] = 1
        while waiting:
            for earlier in self.before[waiting.pop()]:
                if not saved[earlier]:
                    saved[earlier] = 1
                    waiting.append(earlier)
        lost = saved.find(0)
        if lost >= 0:
            fact = f"no finish can be reached from here without another fault: {self.states[lost]}"
            raise Broken("I4", fact, self._trace(lost))
