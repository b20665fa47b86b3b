"""The shard's lock in a mover's hands: no rollout, reset or seeding begins meanwhile, nor is one under way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from shardwright.pg import locks
from shardwright.pg.connect import connect
from shardwright.runs.fanout import SHARD_LOCK
from shardwright.runs.kinds import StepContext
from shardwright.transfer.sessions import Sessions

_LOCK_AGAIN = 0.5


@contextmanager
def shard_lock(
    context: StepContext, sessions: Sessions, require_hands: Callable[[], object]
) -> Iterator[psycopg.Connection[Any]]:
    """A session with the shard's lock.

    Waits for whoever has it; a mover that sleeps with it loses it, and one that wakes does not begin again, since
    `require_hands` raises then. Raises Stopped, Superseded.
    """
    name, settings = sessions.application_name, {"client_encoding": "UTF8", **sessions.settings}
    with connect(sessions.shard.url, application_name=name, settings=settings) as connection:
        told = False
        sessions.end_others(connection)
        while not locks.acquire(connection, SHARD_LOCK):
            if not told and (holder := locks.holder(connection, SHARD_LOCK)):
                context.tell(f"{sessions.shard.name}: waits for its lock, which {holder} has")
                told = True
            context.rest(_LOCK_AGAIN)
        require_hands()
        yield connection
