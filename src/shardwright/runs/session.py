"""A worker's hold on one shard: its lock, its time-outs, and the way to end what it has running there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import psycopg

from shardwright.pg import activity, indexes, locks, moving
from shardwright.pg.connect import (
    CONNECT_TIMEOUT,
    KEEPALIVE,
    NAME_LENGTH,
    SURVIVE_A_DEAD_CLIENT,
    connect,
    startup_options,
)
from shardwright.runs.current import in_hand
from shardwright.runs.protocol import Order
from shardwright.shard import Shard

LOCK_PATIENCE = timedelta(seconds=1)
_SAMPLES_PER_LOCK_TIMEOUT = 4


class ShardProblem(Exception):
    """What is wrong with a shard, or with the user's code for it: the fact, the cure, whether later may be better.

    `left_alone`: nothing was done to the shard, and nobody else does anything.
    """

    def __init__(self, reason: str, hint: str = "", *, again: bool = False, left_alone: bool = False) -> None:
        super().__init__(reason)
        self.hint = hint
        self.again = again
        self.left_alone = left_alone


class Cancelled(Exception):
    """The run asked this worker to end what it is doing."""


class ShardSession:
    """One shard in the hands of one worker; made by `hold`, gone with its `with` block.

    `committed` tells whether anything was committed that a second try would meet again; `facts` is what the task
    found out, sent back whether it succeeds or not; `place` is where in its work it is, for an error message.
    `before_commit`, where a task sets it, is called with each SQLAlchemy connection of user code that is to commit.
    """

    def __init__(self, order: Order, watch: psycopg.Connection[Any], report: Callable[[str], None]) -> None:
        self.order = order
        self.report = report
        self.committed = False
        self.cancelled: str | None = None
        self.blocker: activity.Blocker | None = None
        self.facts: dict[str, Any] = {}
        self.place: str | None = None
        self.before_commit: Callable[[Any], None] | None = None
        self._watch = watch

    @property
    def shard(self) -> Shard:
        """The shard."""
        return self.order.shard

    @property
    def payload(self) -> Mapping[str, Any]:
        """What the task was given."""
        return self.order.payload

    @property
    def settings(self) -> dict[str, str]:
        """What every connection to the shard starts with."""
        return {**SURVIVE_A_DEAD_CLIENT, **timeouts(self.order)}

    @property
    def application_name(self) -> str:
        """By which our sessions are found on the server."""
        return self.order.application_name[:NAME_LENGTH]

    @property
    def watch(self) -> psycopg.Connection[Any]:
        """The session that holds the lock; idle, so it can ask about the others, unless the order is for it alone."""
        return self._watch

    def connect(self) -> psycopg.Connection[Any]:
        """A fresh connection to the shard, in autocommit. Raises psycopg.OperationalError."""
        return connect(self.shard.url, application_name=self.application_name, settings=self.settings)

    def connection_arguments(self, driver: str) -> dict[str, Any]:
        """What makes a connection of an SQLAlchemy driver start with our name and time-outs."""
        if driver == "asyncpg":
            return {"server_settings": {"application_name": self.application_name, **self.settings}}
        return {"application_name": self.application_name, "options": startup_options(self.settings)}

    def connection_defaults(self, driver: str) -> dict[str, Any]:
        """What such a connection has where user code says nothing about it."""
        return {} if driver == "asyncpg" else {**KEEPALIVE, "connect_timeout": CONNECT_TIMEOUT}

    def require_here(self, pid: int) -> None:
        """Raises ShardProblem unless the session `pid` is one of ours in this shard's database."""
        if not activity.is_here(self._watch, pid, self.application_name):
            hint = 'let env.py take the URL from config.get_main_option("sqlalchemy.url")'
            raise ShardProblem("env.py opened another database than this shard's", hint)

    def raise_if_cancelled(self) -> None:
        """Raises Cancelled once the run asked for an end, whatever user code makes of failed statements."""
        if self.cancelled is not None:
            raise Cancelled(self.cancelled)

    def cancel(self, reason: str, *, hard: bool = False) -> None:
        """Ends what our sessions are running on the server; callable from any thread."""
        self.cancelled = reason
        end = activity.terminate if hard else activity.cancel
        # Where it fails the server is gone, and so is what ran there.
        with suppress(psycopg.Error), self.overseeing() as overseer:
            end(overseer, self.application_name)

    @contextmanager
    def overseeing(self) -> Iterator[psycopg.Connection[Any]]:
        """A session that can ask about those at work and end them: the idle one, or one more where none is idle.

        Raises psycopg.Error.
        """
        if not self.order.alone:
            yield self._watch
            return
        with connect(self.shard.url, application_name=_named(self.order, "watch")) as overseer:
            yield overseer

    def end_leftovers(self) -> None:
        """Nothing of ours but the lock is left on the shard: user code may keep a connection, and what it locked."""
        with suppress(psycopg.Error):  # the server is gone, and so are they
            activity.terminate(self._watch, self.application_name)

    def drop_leftover(self, statement: str, *, search_path: str) -> None:
        """Before a CREATE INDEX CONCURRENTLY: an invalid index of an earlier, broken try is dropped."""
        target = indexes.index_to_be_built(statement)
        if target is None:
            return
        settings = {**self.settings, "lock_timeout": "0", "search_path": search_path}
        name = self.application_name
        with connect(self.shard.url, application_name=name, settings=settings) as connection:
            if indexes.drop_if_invalid(connection, *target):
                self.report(f"dropped the invalid index {target[0]} that an earlier try left")


def timeouts(order: Order) -> dict[str, str]:
    """The settings that keep a statement from waiting, or running, for longer than the order allows."""
    return {"lock_timeout": f"{order.lock_timeout}ms", "statement_timeout": f"{order.statement_timeout}ms"}


def _named(order: Order, role: str) -> str:
    """The name of a session that is none of those at work."""
    return f"{order.application_name[: NAME_LENGTH - len(role) - 1]} {role}"


@contextmanager
def hold(order: Order, report: Callable[[str], None]) -> Iterator[ShardSession]:
    """The shard's lock is held within; raises ShardProblem or psycopg.Error where it can't be had."""
    name = order.application_name if order.alone else _named(order, "lock")
    settings = {**timeouts(order), "idle_session_timeout": "0"}  # a server that ended it would give the lock away
    with connect(order.shard.url, application_name=name, settings=settings) as watch:
        if not locks.acquire(watch, order.lock, patience=LOCK_PATIENCE):
            holder = locks.holder(watch, order.lock) or "a session that has just ended"
            raise ShardProblem(f"another operation holds its lock: {holder}", "shardwright runs", again=True)
        if found := moving.moving(watch):
            raise ShardProblem(found.fact, found.command, left_alone=True)
        session = ShardSession(order, watch, report)
        with _watching_for_blockers(session), in_hand(session):
            yield session


@contextmanager
def _watching_for_blockers(session: ShardSession) -> Iterator[None]:
    """From the second try on, notes who keeps us waiting: after the time-out it can't be asked any more."""
    if session.order.attempt < 2:
        yield
        return
    over = threading.Event()
    pause = session.order.lock_timeout / 1000 / _SAMPLES_PER_LOCK_TIMEOUT

    def sample() -> None:
        with suppress(psycopg.Error), session.overseeing() as overseer:
            while not over.wait(pause):
                session.blocker = activity.blocker(overseer, session.application_name) or session.blocker

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
