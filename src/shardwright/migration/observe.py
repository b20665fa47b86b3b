"""In a worker: an upgrade watched statement by statement: how long each took, and which locks it came to hold."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from psycopg import sql
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from shardwright.migration.apply import upgrade_over
from shardwright.pg.queries import load
from shardwright.runs.session import ShardSession

_queries = load(__package__)
_KEPT = 1000  # statements: a revision that sends more says nothing new by them

# What waits behind a lock of each mode, of an application that reads and writes rows and nothing else.
_STOPS = {
    "ACCESS EXCLUSIVE": "readers and writers",
    "EXCLUSIVE": "writers",
    "SHARE ROW EXCLUSIVE": "writers",
    "SHARE": "writers",
}


@dataclass(frozen=True)
class Lock:
    """A lock on a relation that was there before the upgrade; `mode` as LOCK TABLE writes it."""

    relation: str
    mode: str

    @property
    def stops(self) -> str | None:
        """Who waits behind it until the transaction ends: `readers and writers`, `writers`; None: neither."""
        return _STOPS.get(self.mode)

    def as_dict(self) -> dict[str, Any]:
        """The lock as `--json` prints it."""
        return {"relation": self.relation, "mode": self.mode, "stops": self.stops}


@dataclass(frozen=True)
class Observed:
    """A statement of a revision, sent `times` times in a row: how long they took, the locks held since.

    `locks` is None outside of a transaction: they were let go before anybody could see them.
    """

    revision: str
    sql: str
    seconds: float
    locks: tuple[Lock, ...] | None
    times: int = 1

    def as_dict(self) -> dict[str, Any]:
        """The statement as `--json` prints it."""
        return {
            "sql": self.sql,
            "times": self.times,
            "seconds": round(self.seconds, 4),
            "locks": None if self.locks is None else [lock.as_dict() for lock in self.locks],
        }


def upgrade(session: ShardSession) -> Mapping[str, Any]:
    """`apply.upgrade_over`; the facts have every statement as `Observed`, also where one of them failed."""
    observer = _Observer(session)
    session.facts["statements"] = observer.statements
    with observer.listening():
        return upgrade_over(session)


class _Observer:
    """Listens to what SQLAlchemy sends; asks the session that holds the shard's lock what the other one holds.

    Asked from outside, and while the transaction is open, so that it is the same with every driver and costs the
    user's session nothing.
    """

    def __init__(self, session: ShardSession) -> None:
        self.statements: list[Observed] = []
        self._session = session
        names = session.payload["location"].version_table.split(".")
        table = sql.Identifier(*names).as_string()
        relations = session.watch.execute(_queries["relations"], {"version_table": table})
        self._relations: dict[int, str] = dict(relations.fetchall())
        self._held: set[tuple[Any, ...]] = set()
        written = r'\s*(INSERT INTO|UPDATE|DELETE FROM)\s+[\w".]*\b'
        self._of_alembic = re.compile(rf"{written}{re.escape(names[-1])}\b", re.IGNORECASE)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within, every statement of a revision is noted."""
        event.listen(Engine, "before_cursor_execute", self._before)
        event.listen(Engine, "after_cursor_execute", self._after)
        try:
            yield
        finally:
            event.remove(Engine, "before_cursor_execute", self._before)
            event.remove(Engine, "after_cursor_execute", self._after)

    def _before(
        self, connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        del cursor, statement, parameters, context, many
        if "shardwright_pid" not in connection.info:
            connection.info["shardwright_pid"] = _pid(connection)
        connection.info["shardwright_started"] = time.perf_counter()

    def _after(
        self, connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        del cursor, parameters, context, many
        seconds = time.perf_counter() - connection.info["shardwright_started"]
        place = self._session.place  # "upgrade 4f2a (file)" while a step is in work, None before and after all
        if place is not None and not self._of_alembic.match(statement):
            locks = self._new_locks(connection.info["shardwright_pid"])
            self._note(Observed(place.split()[1], statement, seconds, locks))

    def _new_locks(self, pid: int) -> tuple[Lock, ...] | None:
        rows = self._session.watch.execute(_queries["locks_held"], {"pid": pid}).fetchall()
        if not any(in_transaction for in_transaction, *_ in rows):
            return None
        held = {tuple(lock) for _, *lock in rows}
        new, self._held = held - self._held, held  # the transaction is part of each: a later one's are new again
        locks = {
            Lock(self._relations[relation], _mode(mode)) for _, relation, mode in new if relation in self._relations
        }
        return tuple(sorted(locks, key=lambda lock: (lock.stops is None, lock.relation, lock.mode)))

    def _note(self, seen: Observed) -> None:
        last = self.statements[-1] if self.statements else None
        if last is not None and (last.revision, last.sql) == (seen.revision, seen.sql):
            locks = None if last.locks is None or seen.locks is None else tuple(dict.fromkeys(last.locks + seen.locks))
            seconds = last.seconds + seen.seconds
            self.statements[-1] = replace(last, seconds=seconds, locks=locks, times=last.times + 1)
        elif len(self.statements) < _KEPT:
            self.statements.append(seen)


def _pid(connection: Connection) -> int:
    """The server's process, asked on a cursor of our own: theirs may be one that the server keeps."""
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute("SELECT pg_catalog.pg_backend_pid()")
        ((pid,),) = cursor.fetchall()
    return int(pid)


def _mode(name: str) -> str:
    """`AccessExclusiveLock` as SQL writes it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.removesuffix("Lock")).upper()
