"""Workers that are threads of our own process: for tasks that send ready-made SQL and run nobody's code."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from shardwright.runs.protocol import Answer, Order, Request
from shardwright.runs.serving import serve
from shardwright.runs.session import ShardSession

_PATIENCE = 2.0


class WorkerThread:
    """The same to a fan-out as a WorkerProcess; starting one costs nothing, and none outlives our process."""

    def __init__(self) -> None:
        ours: Connection[Request, Answer]
        theirs: Connection[Answer, Request]
        ours, theirs = Pipe()
        self.channel = ours
        self._theirs = theirs
        self._session: ShardSession | None = None
        self._patience = _PATIENCE
        self._thread = threading.Thread(target=self._work, name="sender", daemon=True)
        self._thread.start()

    def order(self, order: Order) -> None:
        """The worker begins with `order`."""
        self.channel.send(order)

    def cancel(self, reason: str, *, hard: bool = False) -> None:
        """The worker ends what it is running on its server."""
        session = self._session
        if session is not None:
            threading.Thread(target=session.cancel, args=(reason,), kwargs={"hard": hard}, daemon=True).start()

    def kill(self) -> None:
        """The worker is given up: its channel ends, upon which the fan-out ends what it runs on its server."""
        session, self._patience = self._session, 0.0
        if session is not None:
            session.cancelled = session.cancelled or "given up"
        with socket.socket(fileno=os.dup(self.channel.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """The thread ends after what it is doing, which is waited for a moment, unless it was given up."""
        self.channel.close()
        self._thread.join(self._patience)

    def last_words(self) -> str:
        """Why its channel ended; a thread that is not given up answers as long as our process lives."""
        return "its thread ended"

    def _work(self) -> None:
        try:
            while True:
                order = self._theirs.recv()
                assert isinstance(order, Order)  # noqa: S101 cancelling goes past the channel
                self._answer(serve(order, self._answer, self._in_hand))
        except (EOFError, ConnectionResetError):
            self._theirs.close()

    def _answer(self, answer: Answer) -> None:
        try:
            self._theirs.send(answer)
        except OSError:
            return  # nobody wants it any more

    @contextmanager
    def _in_hand(self, session: ShardSession) -> Iterator[None]:
        self._session = session
        try:
            yield
        finally:
            self._session = None
