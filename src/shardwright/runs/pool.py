"""Worker processes as the run's process sees them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection

from shardwright.dsn import redact
from shardwright.runs import worker
from shardwright.runs.apart import start_apart
from shardwright.runs.protocol import Answer, Cancel, Order, Request

_TAIL = 2000


class WorkerProcess:
    """One started worker; `channel` becomes readable when it answers or ends.

    What user code prints goes to stderr when `verbose`, else to a file of which `last_words` shows the end.
    """

    def __init__(self, *, verbose: bool = False) -> None:
        ours, theirs = socket.socketpair()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 lives as long as the worker
        output = sys.__stderr__ if verbose and sys.__stderr__ else self._log
        with theirs:
            self._process = start_apart(worker.main, theirs.fileno(), output)
        self.channel: Connection[Request, Answer] = Connection(ours.detach())

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def order(self, order: Order) -> None:
        """The worker begins with `order`; if it has died, the channel says so at the next read."""
        self._send(order)

    def cancel(self, reason: str, *, hard: bool = False) -> None:
        """The worker ends what it is running on its server."""
        self._send(Cancel(reason, hard))

    def close(self) -> None:
        """The worker is gone: it leaves when the channel closes, or is killed after a moment."""
        self.channel.close()
        self._wait()
        self._log.close()

    def kill(self) -> None:
        """The worker is gone at once; what it was running on a server may go on for a second."""
        self._process.kill()
        self._process.wait()

    def last_words(self) -> str:
        """How it ended and the last line it printed, for an error message."""
        code = self._wait()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - _TAIL))
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return redact(f"{how}: {lines[-1]}") if lines else how

    def _wait(self) -> int:
        try:
            return self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def _send(self, request: Request) -> None:
        try:
            self.channel.send(request)
        except (BrokenPipeError, ConnectionResetError):
            return  # reading the channel tells, and tells why
