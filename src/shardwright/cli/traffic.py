"""Live traffic for `demo`: an application's writers, and a ledger of every write that was acknowledged to them."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from sqlalchemy import text
from sqlalchemy.orm import Session

from shardwright.routing.tenants import Tenants

_WRITERS = 4
_INSERT = text(
    "INSERT INTO tasks (id, organization_id, project_id, title) "
    "SELECT :id, organization_id, id, 'Written while it moved' FROM projects WHERE organization_id = :tenant LIMIT 1"
)
_IDS = "SELECT id FROM tasks WHERE organization_id = %s AND title = 'Written while it moved'"


@dataclass
class Traffic:
    """What the writers were told was done, how often a call failed, and the longest that one of them waited (seconds)."""

    tenant: str
    acknowledged: set[uuid.UUID] = field(default_factory=set)
    failed: int = 0
    longest: float = 0.0

    def lost(self, url: str) -> int:
        """How many acknowledged writes are not in the database at `url`."""
        with psycopg.connect(url) as connection:
            found = {row[0] for row in connection.execute(_IDS, [self.tenant])}
        return len(self.acknowledged - found)


@contextmanager
def live(tenants: Tenants, tenant: str) -> Iterator[Traffic]:
    """Within the block the tenant's tasks are written by four threads, one after the other."""
    traffic, over = Traffic(tenant), threading.Event()
    threads = [threading.Thread(target=_write, args=(tenants, traffic, over)) for _ in range(_WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield traffic
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _write(tenants: Tenants, traffic: Traffic, over: threading.Event) -> None:
    while not over.wait(0.002):
        task, began = uuid.uuid4(), time.monotonic()
        try:
            tenants.run(traffic.tenant, _insert, task, traffic.tenant)
        except Exception:  # noqa: BLE001 whatever it is, the demo is to tell of it
            traffic.failed += 1
        else:
            traffic.acknowledged.add(task)
        traffic.longest = max(traffic.longest, time.monotonic() - began)


def _insert(session: Session, task: uuid.UUID, tenant: str) -> None:
    session.execute(_INSERT, {"id": task, "tenant": tenant})
