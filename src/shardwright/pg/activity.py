"""Other sessions of ours on a server: cancel them, end them, see who is in their way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from shardwright.pg.queries import load

_queries = load(__package__)


@dataclass(frozen=True)
class Blocker:
    """A session that holds a lock another one waits for."""

    relation: str | None
    pid: int | None
    application_name: str
    user: str
    state: str
    age: float
    query: str

    @classmethod
    def seen(cls, relation: str | None, *told: Any) -> Blocker:
        """As the server's views tell it: who may not look into others' sessions is told no more than their pids."""
        pid, name, user, state, age, query = told
        return cls(relation, pid, name or "", user or "", state or "", age or 0.0, query or "")

    def __str__(self) -> str:
        if self.pid is None:
            return "a prepared transaction"
        name = f"{self.application_name}, " if self.application_name else ""
        return f"pid {self.pid} ({name}{self.user}, {self.state} for {self.age:.0f} s: {self.query})"


def cancel(connection: psycopg.Connection[Any], application_name: str) -> int:
    """Cancels what the sessions of that name are running in this database; how many there were."""
    return len(connection.execute(_queries["cancel_sessions"], {"application_name": application_name}).fetchall())


def terminate(connection: psycopg.Connection[Any], application_name: str) -> int:
    """The sessions of that name in this database have ended; how many there were. Waits up to 5 s for each."""
    return len(connection.execute(_queries["terminate_sessions"], {"application_name": application_name}).fetchall())


def blocker(connection: psycopg.Connection[Any], application_name: str) -> Blocker | None:
    """Who keeps a session of that name waiting right now, or None."""
    row = connection.execute(_queries["blockers"], {"application_name": application_name}).fetchone()
    return None if row is None else Blocker.seen(*row)


def is_here(connection: psycopg.Connection[Any], pid: int, application_name: str) -> bool:
    """Whether the session `pid` of that name is in the very database that `connection` is in."""
    values = {"pid": pid, "application_name": application_name}
    return connection.execute(_queries["session_is_here"], values).fetchone() is not None
