"""The wish to stop a run, from a signal or another thread."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Nothing new is started once `ask` was called; what runs is cancelled on its server."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.signal: int | None = None
        self.times = 0

    def ask(self, reason: str, *, signal_number: int | None = None) -> None:
        """Stop, for this reason; asked again, workers are ended without waiting for their servers."""
        self.times += 1
        if self.reason is None:
            self.reason, self.signal = reason, signal_number

    @property
    def is_asked(self) -> bool:
        """Whether anybody asked."""
        return self.reason is not None


@contextmanager
def stop_on_signals(request: StopRequest) -> Iterator[StopRequest]:
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
