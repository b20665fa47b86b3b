"""Carries admitted runs to whichever worker process is free, over DBOS; the only file that imports it.

What a run is, which of its steps are done and who may work on it stands in our own tables. DBOS is only the queue in
between: it tries nothing again and takes over nothing from the dead.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

import psycopg
import sqlalchemy as sa

from shardwright.dsn import DatabaseUrl
from shardwright.pg.connect import connect

if TYPE_CHECKING:
    from dbos import (
        DBOS,
        DBOSClient,
        EnqueueOptions,
    )  # at run time half a second, paid only by those who use the engine

# Workers of one protocol share the queue, whatever their release. It changes when a worker of the last release could
# not carry what this one submits; never with our code, or each upgrade would strand the runs that wait.
PROTOCOL = "shardwright-1"
SCHEMA = "shardwright_engine"
QUEUE = "shardwright"
POLL = 0.5  # seconds: a run waits half of it on average; an idle worker costs 15 small transactions a second in all
CONNECTIONS = 3  # at most, of one process
# A process that is stopped in the middle of a transaction may not keep the others from the queue.
SETTINGS = {
    "idle_in_transaction_session_timeout": "10s",
    "idle_session_timeout": "0",
    "lock_timeout": "10s",
    "statement_timeout": "60s",
}
_NAME = "shardwright"
_WORKFLOW = "run"


class RunFailed(Exception):
    """`execute` raised an error of this class; its text, which may hold a secret, is not kept by the engine."""


class Engine:
    """A queue of runs in the control database and, once started, this process as one of its workers.

    `worker` names this process and never another: whoever bears the name of a dead one would inherit its runs.
    Shard sets that share a control database have a queue each.
    `execute(run, runner)` is called in a thread of its own, at most once for a pair, whatever it raises.

    The schema `shardwright_engine` is made at the first use, which needs CREATE on the control database. Whoever did
    not make it needs USAGE on it, and SELECT, INSERT, UPDATE and DELETE on its tables.

    While the control database is away nothing is begun and what is being executed goes on; afterwards runs are taken
    again by themselves. A claim whose acknowledgement was lost is begun by nobody: a pair that was submitted and is
    not begun in due time is to be discarded, and its run submitted under the next number.
    """

    def __init__(
        self,
        control: DatabaseUrl,
        *,
        worker: str,
        execute: Callable[[int, int], None],
        at_once: int,
        shard_set: str | None = None,
    ) -> None:
        self._control = control
        self._queue = f"{QUEUE} {shard_set}" if shard_set else QUEUE
        self._worker = worker
        self._execute = execute
        self._at_once = at_once
        self._dbos: DBOS | None = None

    def start(self) -> None:
        """This process takes runs from the queue, `at_once` at a time, until `stop`.

        Raises psycopg.Error where the control database can't be used, RuntimeError where this process runs DBOS
        already: there is one in a process.
        """
        import dbos  # noqa: PLC0415 slow, see above

        if dbos._dbos._dbos_global_instance is not None:
            raise RuntimeError("this process runs DBOS already: a worker of shardwright is a process of its own")
        _silence("dbos")
        with _as_psycopg():
            self._dbos = dbos.DBOS(
                config={
                    "name": _NAME,
                    "application_version": PROTOCOL,
                    "executor_id": self._worker,
                    "system_database_engine": self._pool,
                    "dbos_system_schema": SCHEMA,
                    "serializer": dbos.DBOSPortableJSONSerializer(),
                    "use_listen_notify": False,  # its channels are the database's: an application's DBOS would hear us
                    "enable_otlp": False,
                    "log_level": "CRITICAL",
                }
            )

            @dbos.DBOS.workflow(name=_WORKFLOW)
            def carry(run: int, runner: int) -> None:
                # A step: before it, DBOS looks once more whether the pair was discarded.
                dbos.DBOS.run_step({"name": "execute"}, self._guarded, run, runner)

            # In memory: what DBOS.register_queue writes into the database holds for all workers alike.
            self._dbos._registry._register_internal_queue(
                self._queue, worker_concurrency=self._at_once, polling_interval_sec=POLL
            )
            dbos.DBOS.launch()
        # Delays and time-outs, which we don't use, are looked for in a transaction that is never closed for long: each
        # CREATE INDEX CONCURRENTLY in the database waits a second for it.
        self._dbos._background_jobs_stop_event.set()
        # Else an outage would keep places taken for as long again, up to 90 s, only to write down what nobody reads.
        self._dbos._sys_db._retry_connection_errors = False

    def submit(self, run: int, runner: int) -> None:
        """The pair is in the queue once, however often and by however many it is submitted.

        Raises psycopg.Error; whether it is in the queue is then unknown, and submitting it again is safe.
        """
        with _as_psycopg():
            options: EnqueueOptions = {
                "workflow_name": _WORKFLOW,
                "queue_name": self._queue,
                "app_version": PROTOCOL,
                "workflow_id": _id(run, runner),
            }
            self._client.enqueue(options, run, runner)

    def discard(self, run: int, runner: int) -> None:
        """The pair, where it was submitted, is begun by nobody from now on; if it is being executed, that goes on.

        A pair that was never submitted still may be. Raises psycopg.Error.
        """
        with _as_psycopg():
            self._client.cancel_workflow(_id(run, runner))

    def stop(self, wait: float = 0.0) -> None:
        """Nothing new is taken; after at most `wait` seconds for what is being executed, the connections are closed.

        Threads of runs that still go on are left behind: a worker then ends with `os._exit`.
        """
        if self._dbos is not None:
            for event in self._dbos.background_thread_stop_events:
                event.set()
            for thread in threading.enumerate():
                if thread.name == f"queue-worker-{self._queue}":
                    thread.join(timeout=10)  # what it claimed last is among the active ones then
            deadline = time.monotonic() + wait
            while self._dbos._active_workflows_set.activeList() and time.monotonic() < deadline:
                time.sleep(0.05)
            self._dbos.destroy(destroy_registry=True)
            self._dbos = None
        self._pool.dispose()

    def _guarded(self, run: int, runner: int) -> None:
        try:
            self._execute(run, runner)
        except Exception as error:  # noqa: BLE001 whatever it is, DBOS would write its text into a table
            raise RunFailed(type(error).__name__) from None

    @cached_property
    def _client(self) -> DBOSClient:
        import dbos  # noqa: PLC0415 slow, see above

        _silence("dbos")
        client = dbos.DBOSClient(
            system_database_engine=self._pool,
            dbos_system_schema=SCHEMA,
            serializer=dbos.DBOSPortableJSONSerializer(),
            application_name=_NAME,
            retry_connection_errors=False,  # the caller knows how long to try
        )
        if self._dbos is None:
            client._sys_db.run_migrations()
        return client

    @cached_property
    def _pool(self) -> sa.Engine:
        """Connections opened by us: DBOS never sees the URL, so it can neither show its password nor ask for another
        database."""
        _silence("sqlalchemy.pool.impl.QueuePool.shardwright")
        return sa.create_engine(
            "postgresql+psycopg://",
            creator=lambda: connect(
                self._control,
                application_name=f"shardwright engine {self._worker}",
                settings=SETTINGS,
                autocommit=False,
            ),
            isolation_level="READ COMMITTED",
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_pre_ping=True,
            pool_logging_name="shardwright",
        )


def _id(run: int, runner: int) -> str:
    return f"run-{run}-{runner}"


def _silence(name: str) -> None:
    """What this logger says is for whoever puts a handler on it; for neither our output nor the application's log."""
    logger = logging.getLogger(name)
    logger.addHandler(logging.NullHandler())
    logger.propagate = False


@contextmanager
def _as_psycopg() -> Iterator[None]:
    """An error of the control database as psycopg raised it, which is what our callers know."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        if not isinstance(error.orig, psycopg.Error):
            raise
        raise error.orig from None
    except sa.exc.TimeoutError:
        raise psycopg.OperationalError("the control database does not answer in time") from None
