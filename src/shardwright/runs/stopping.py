"""The wish to stop a run, from a signal or another thread."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

R = TypeVar("R", bound="StopRequest")


class StopRequest:
    """Nothing new is started once `ask` was called; what runs is cancelled on its server.

    `within`: asked as soon as that one is, for a part of a run that may have to end for reasons of its own.
    """

    def __init__(self, *, within: StopRequest | None = None) -> None:
        self._within = within
        self._reason: str | None = None
        self._signal: int | None = None
        self._times = 0

    def ask(self, reason: str, *, signal_number: int | None = None) -> None:
        """Stop, for this reason; asked again, workers are ended without waiting for their servers."""
        self._times += 1
        if self._reason is None:
            self._reason, self._signal = reason, signal_number

    def let_go(self) -> None:
        """As if asked twice at once: whoever carries a durable run leaves it to others, and cancels nothing."""
        self._times = max(self._times, 2)

    @property
    def reason(self) -> str | None:
        """Why, in words; None as long as nobody asked."""
        return self._reason or (self._within.reason if self._within else None)

    @property
    def told(self) -> str:
        """The reason as it is told of what was ended for it."""
        return self._reason or self._within.told if self._within else f"interrupted by {self._reason}"

    @property
    def signal(self) -> int | None:
        """The signal that asked, if one did."""
        return self._signal or (self._within.signal if self._within else None)

    @property
    def times(self) -> int:
        """How often somebody asked."""
        return self._times + (self._within.times if self._within else 0)

    @property
    def is_asked(self) -> bool:
        """Whether anybody asked."""
        return self.reason is not None


class LetGoRequest(StopRequest):
    """A StopRequest for a run that is to outlive whoever carries it: asked once, it is left to others at once."""

    def ask(self, reason: str, *, signal_number: int | None = None) -> None:
        """The run is let go, never cancelled; `signal` says by what."""
        del reason
        self._signal = self._signal or signal_number
        self.let_go()

    @property
    def was_asked(self) -> bool:
        """Whether anybody has asked: the run goes on without this process."""
        return self._times > 0


@contextmanager
def stop_on_signals(request: R) -> Iterator[R]:
    """Within, SIGINT, SIGTERM and the terminal's end ask `request` to stop; only in the main thread, as signals are.

    A SIGHUP that is ignored (nohup) stays ignored.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        request.ask(signal.Signals(number).name, signal_number=number)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
