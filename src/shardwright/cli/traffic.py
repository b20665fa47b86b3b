"""Live traffic for `demo`: an application's writers, and a ledger of every write that was acknowledged to them."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from sqlalchemy import text
from sqlalchemy.orm import Session

from shardwright.routing.tenants import Tenants

_WRITERS = 4
_TITLE = "Written meanwhile"
_INSERT = text(
    "INSERT INTO tasks (id, organization_id, project_id, title) "
    "SELECT :id, organization_id, id, :title FROM projects WHERE organization_id = :tenant LIMIT 1"
)
_IDS = "SELECT id FROM tasks WHERE title = %s"


@dataclass
class Traffic:
    """What the writers were told was done, how often a call failed, and the longest that one of them waited (seconds)."""

    acknowledged: set[uuid.UUID] = field(default_factory=set)
    failed: int = 0
    longest: float = 0.0

    def lost(self, *urls: str) -> int:
        """How many acknowledged writes are in none of the databases at `urls`."""
        found = set()
        for url in urls:
            with psycopg.connect(url) as connection:
                found |= {row[0] for row in connection.execute(_IDS, [_TITLE])}
        return len(self.acknowledged - found)


@contextmanager
def live(tenants: Tenants, *written: str, pause: float = 0.002) -> Iterator[Traffic]:
    """Within the block tasks of these tenants are written by four threads, each for one tenant after the other.

    `pause`: for how many seconds each rests between two of its writes.
    """
    traffic, over = Traffic(), threading.Event()
    threads = [threading.Thread(target=_write, args=(tenants, written, pause, traffic, over)) for _ in range(_WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield traffic
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _write(tenants: Tenants, written: Sequence[str], pause: float, traffic: Traffic, over: threading.Event) -> None:
    turns = itertools.cycle(written)
    while not over.wait(pause):
        tenant, task, began = next(turns), uuid.uuid4(), time.monotonic()
        try:
            tenants.run(tenant, _insert, task, tenant)
        except Exception:  # noqa: BLE001 whatever it is, the demo is to tell of it
            traffic.failed += 1
        else:
            traffic.acknowledged.add(task)
        traffic.longest = max(traffic.longest, time.monotonic() - began)


def _insert(session: Session, task: uuid.UUID, tenant: str) -> None:
    session.execute(_INSERT, {"id": task, "tenant": tenant, "title": _TITLE})
