"""A worker process: takes orders for one shard after the other, runs the task, replies.

Started as `python -m shardwright.runs.worker FD`. A process and not a thread, because Alembic's `op` and
`context` are process globals; started anew and not forked, because the caller may have threads and connections.
"""

from __future__ import annotations

import importlib
import logging.config
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from shardwright.errors import ShardwrightError
from shardwright.pg.faults import CANCELLED, LOCK_TIMEOUT, Fault, explain
from shardwright.runs.hooks import Hooks
from shardwright.runs.protocol import Answer, Begun, Order, Progress, Reply, Request
from shardwright.runs.session import Cancelled, ShardProblem, ShardSession, hold

Task = Callable[[ShardSession], Mapping[str, Any]]


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
            self._channel.send(self._serve(self._orders.get()))

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

    def _serve(self, order: Order) -> Reply:
        session: ShardSession | None = None
        self._channel.send(Begun())
        try:
            with hold(order, self._report) as session, self._hooks.serving(session):
                return Reply(value=load_task(order.task)(session))
        except (Exception, SystemExit) as error:  # noqa: BLE001 user code may raise anything; it is this shard's result
            return replace(_explain(error, session), value=session.facts if session else {})

    def _report(self, message: str) -> None:
        self._channel.send(Progress(message))


def load_task(name: str) -> Task:
    """The function that `module:function` names."""
    module, _, function = name.partition(":")
    task: Task = getattr(importlib.import_module(module), function)
    return task


def _explain(error: BaseException, session: ShardSession | None) -> Reply:
    if isinstance(error, ShardProblem):
        return Reply(reason=str(error), hint=error.hint or None, again=error.again)
    if isinstance(error, ShardwrightError):
        return Reply(reason=str(error), hint=error.hint or None)
    fault = explain(error)
    if session is None:
        return Reply(reason=fault.reason, hint=fault.hint or None)
    if session.cancelled is not None or isinstance(error, Cancelled):
        return Reply(reason=session.cancelled)
    return _explain_within(fault, error, session)


def _explain_within(fault: Fault, error: BaseException, session: ShardSession) -> Reply:
    where = f"{session.place}: " if session.place else ""
    if fault.sqlstate == LOCK_TIMEOUT:
        return _explain_lock_timeout(where, session)
    if fault.sqlstate == CANCELLED and "statement timeout" in fault.reason:
        hint = "raise limits.statement_timeout or --timeout, or make the statement smaller"
        return Reply(reason=f"{where}{fault.reason}", hint=hint)
    kind = "" if fault.sqlstate else f"{type(error).__name__}: "
    return Reply(reason=f"{where}{kind}{fault.reason}", hint=fault.hint or None)


def _explain_lock_timeout(where: str, session: ShardSession) -> Reply:
    blocker = session.blocker
    relation = f" on {blocker.relation}" if blocker and blocker.relation else ""
    holder = f"; in the way: {blocker}" if blocker else ""
    return Reply(
        reason=f"{where}lock timeout{relation}{holder}",
        hint=f"SELECT pg_terminate_backend({blocker.pid}) on this shard, then repeat"
        if blocker and blocker.pid
        else None,
        again=not session.committed,
    )


def main() -> None:
    """Entry point of a worker process; the file descriptor of its channel is the only argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run's process decides what Ctrl-C means
    channel: Connection[Answer, Request] = Connection(int(sys.argv[1]))
    # The stock env.py calls fileConfig at every run, which would take over our logging.
    logging.config.fileConfig = lambda *_, **__: None
    Worker(channel).work()


if __name__ == "__main__":
    main()
