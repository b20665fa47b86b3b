"""What a test has left open on a server: transactions, prepared ones among them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from shardwright.dsn import DatabaseUrl
from shardwright.pg.connect import connect
from shardwright.pg.databases import MAINTENANCE
from shardwright.pg.queries import load
from shardwright.testing.kept import NAME

_PATIENCE = 0.5  # seconds for a statement that runs, and may be the end of its transaction
_GRACE = 0.1  # and for a session whose client has gone just now
_PAUSE = 0.01
_queries = load(__package__)


class TransactionLeftOpen(UserWarning):
    """A test ended with a transaction open in the fleet; its session was ended."""


@dataclass(frozen=True)
class Open:
    """A transaction that is open in a database; `pid` None: it is prepared, by the name that `query` is."""

    database: str
    pid: int | None
    query: str

    def __str__(self) -> str:
        query = " ".join(self.query.split())[:200]
        what = f"prepared as {query!r}" if self.pid is None else f"pid {self.pid}: {query}"
        return f"{self.database}, {what}"


@dataclass(frozen=True)
class State:
    """Where the server's log is; `open` transactions in the databases that were asked for."""

    position: str
    open: tuple[Open, ...]
    has_active: bool


class Server:
    """One PostgreSQL server, asked over a connection that is kept; methods raise psycopg.Error."""

    def __init__(self, url: DatabaseUrl, databases: Sequence[str]) -> None:
        self.url = url.with_database(MAINTENANCE)
        self._databases = list(databases)
        self._connection: psycopg.Connection[Any] | None = None

    def settled(self) -> State:
        """The state once nothing is open in the databases any more, or after half a second at most."""
        began = time.monotonic()
        while (state := self._ask()).open and time.monotonic() - began < (_PATIENCE if state.has_active else _GRACE):
            time.sleep(_PAUSE)
        return state

    def end(self, each: Open) -> None:
        """The session of an open transaction is gone, and with it what it did."""
        self._open().execute(_queries["end_session"], {"pid": each.pid})

    def close(self) -> None:
        """No connection is left."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self) -> State:
        values = {"databases": self._databases}
        try:
            row = self._open().execute(_queries["server"], values, prepare=True).fetchone()
        except psycopg.OperationalError:
            self.close()  # the server was started anew, perhaps
            row = self._open().execute(_queries["server"], values).fetchone()
        assert row is not None  # noqa: S101 a SELECT without FROM gives a row
        position, sessions, prepared = row
        left = [Open(each["database"], each["pid"], each["query"]) for each in sessions]
        left += [Open(each["database"], None, each["gid"]) for each in prepared]
        return State(position, tuple(left), any(not each["is_forgotten"] for each in sessions))

    def _open(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self.url, application_name=NAME)
        return self._connection
