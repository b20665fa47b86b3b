"""The sessions of one transfer on one shard: how they are set, claimed by the runner, and taken from a predecessor."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Self

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from shardwright.pg.connect import connect, milliseconds
from shardwright.pg.queries import load
from shardwright.pg.spelling import SPELLING
from shardwright.runs.board import Superseded
from shardwright.shard import Shard

MARK = "shardwright.mover"  # the setting by which triggers know the mover's own writes
_queries = load(__package__, "sessions.sql")
# Plans go by indexes, since the tables of ours have no statistics.
_SETTINGS: Final = {
    **SPELLING,
    "jit": "off",
    "random_page_cost": "1.1",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "15min",
    "synchronous_commit": "on",
}


@dataclass(frozen=True)
class Sessions:
    """Makes the sessions of transfer `move` on `shard` for the runner of that number.

    With `keeps`, those that are not needed any more are used again, until `close`. `settings` are theirs as well.
    """

    shard: Shard
    move: int
    runner: int
    nonce: str = field(default_factory=lambda: secrets.token_hex(3))
    keeps: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    _idle: list[psycopg.Connection[Any]] = field(default_factory=list, repr=False, compare=False)

    @property
    def application_name(self) -> str:
        """By which its sessions are found on the server."""
        return f"shardwright move {self.move}.{self.runner}.{self.nonce}"

    @contextmanager
    def open(self, *, claims: bool = True) -> Iterator[psycopg.Connection[Any]]:
        """A session in autocommit, marked as the mover's; with `claims` only while this runner has the transfer.

        Raises Superseded, psycopg.OperationalError.
        """
        connection = self._idle.pop() if claims and self._idle else self._connect(claims=claims)
        try:
            yield connection
            if claims and self.keeps and _is_settled(connection):
                self._idle.append(connection)
                return
        except BaseException:
            connection.close()
            raise
        connection.close()

    def close(self) -> None:
        """No session is kept."""
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self, *, claims: bool) -> psycopg.Connection[Any]:
        connection = connect(
            self.shard.url,
            application_name=self.application_name,
            settings={**_SETTINGS, **self.settings, MARK: str(self.move)},
        )
        try:
            connection.prepare_threshold = None
            if claims:
                self._claim(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def take_over(self) -> None:
        """Nobody else works for this transfer on the shard: sessions of earlier runners, and of earlier tries, are
        ended, and new ones of theirs refused. Raises Superseded, psycopg.OperationalError where one does not end."""
        with self.open() as connection:
            self.end_others(connection)

    def end_others(self, connection: psycopg.Connection[Any]) -> None:
        """The same without a word to those that may come; over any session on the shard."""
        values = {"prefix": f"shardwright move {self.move}.%", "own": self.application_name}
        for pid, has_ended in connection.execute(_queries["end_others"], values).fetchall():
            if not has_ended:
                raise psycopg.OperationalError(f"session {pid} of an earlier mover on {self.shard.name} does not end")

    def _claim(self, connection: psycopg.Connection[Any]) -> None:
        values = {"move": self.move, "runner": self.runner}
        if connection.execute(_queries["claim"], values).fetchone() is None:
            raise Superseded(f"transfer {self.move} is in other hands on {self.shard.name}")


def _is_settled(connection: psycopg.Connection[Any]) -> bool:
    """Whether the session is as it was at its begin, but for temporary tables."""
    with suppress(psycopg.Error):
        if connection.info.transaction_status == TransactionStatus.IDLE:
            connection.execute("RESET ALL; SELECT pg_catalog.pg_advisory_unlock_all()")
            return True
    return False


def hold(connection: psycopg.Connection[Any]) -> None:
    """The transaction lasts however long the session has to wait for its next word: for another session, or a pace."""
    if connection.info.transaction_status == TransactionStatus.INTRANS:
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")


def short_lock(seconds: timedelta) -> sql.Composed:
    """SET LOCAL, so that nobody waits behind us for longer."""
    return sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{milliseconds(seconds)}ms"))


def may_write_silently(connection: psycopg.Connection[Any]) -> bool:
    """Whether `write_silently` would do so: tried and undone, since managed services give the right beside the ACL."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("SET LOCAL session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def write_silently(connection: psycopg.Connection[Any]) -> bool:
    """The session's writes fire no trigger and check no foreign key; False where its role may not set that."""
    try:
        connection.execute("SET session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True
