"""A worker process: takes orders for one shard after the other, runs the task, replies.

Started as `python -m shardwright.runs.worker FD`. A process and not a thread, because Alembic's `op` and
`context` are process globals; started anew and not forked, because the caller may have threads and connections.
"""

from __future__ import annotations

import logging.config
import os
import queue
import signal
import sys
import threading
from multiprocessing.connection import Connection

from shardwright.runs.hooks import Hooks
from shardwright.runs.protocol import Answer, Order, Request
from shardwright.runs.serving import serve


class Worker:
    """One worker: a thread that listens to the run's process, and the main thread that does the work."""

    def __init__(self, channel: Connection[Answer, Request]) -> None:
        self._channel = channel
        self._orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._hooks = Hooks()

    def work(self) -> None:
        """Serves orders until the other side goes away."""
        threading.Thread(target=self._listen, daemon=True).start()
        while True:
            self._channel.send(serve(self._orders.get(), self._channel.send, self._hooks.serving))

    def _listen(self) -> None:
        while True:
            try:
                request = self._channel.recv()
            except (EOFError, OSError):
                self._leave()
            if isinstance(request, Order):
                self._orders.put(request)
            elif self._hooks.session is not None:
                self._hooks.session.cancel(request.reason, hard=request.hard)

    def _leave(self) -> None:
        """The run's process is gone: nobody wants the result any more, so nothing may go on at the server."""
        session = self._hooks.session
        if session is not None:
            session.cancel("the process that started this worker has ended")
        os._exit(1)


def main() -> None:
    """Entry point of a worker process; the file descriptor of its channel is the only argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run's process decides what Ctrl-C means
    channel: Connection[Answer, Request] = Connection(int(sys.argv[1]))
    # The stock env.py calls fileConfig at every run, which would take over our logging.
    logging.config.fileConfig = lambda *_, **__: None
    Worker(channel).work()


if __name__ == "__main__":
    main()
