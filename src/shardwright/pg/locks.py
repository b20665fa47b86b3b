"""Session advisory locks, taken by polling, and who holds them.

A blocking pg_advisory_lock() would deadlock with CREATE INDEX CONCURRENTLY, which waits for every
older transaction, the one that waits for the lock among them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from shardwright.pg.queries import load

CLASS = 0x53484152  # "SHAR": our corner of the advisory locks
_POLL = 0.05
_queries = load(__package__)


@dataclass(frozen=True)
class Holder:
    """The session that holds a lock."""

    pid: int
    application_name: str
    user: str
    address: str | None
    since: datetime

    def __str__(self) -> str:
        place = f" from {self.address}" if self.address else ""
        return (
            f"{self.application_name or 'a session without a name'} "
            f"(pid {self.pid}, user {self.user}{place}, since {self.since:%Y-%m-%d %H:%M:%S %Z})"
        )


def acquire(connection: psycopg.Connection[Any], key: int, *, patience: timedelta = timedelta(0)) -> bool:
    """Whether the lock `key` is now this session's; tried until `patience` is over, at least once."""
    deadline = time.monotonic() + patience.total_seconds()
    while True:
        row = connection.execute(_queries["try_lock"], {"class": CLASS, "key": key}).fetchone()
        if row is not None and row[0]:
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL)


def holder(connection: psycopg.Connection[Any], key: int) -> Holder | None:
    """Who holds the lock `key` in this database, or None."""
    row = connection.execute(_queries["lock_holder"], {"class": CLASS, "key": key}).fetchone()
    return Holder(*row) if row else None
