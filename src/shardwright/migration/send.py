"""Sends rendered revisions to one shard: what Alembic does in one transaction is one transaction here too."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from itertools import groupby
from typing import Any

import psycopg
from psycopg.sql import SQL

from shardwright.migration.history import State
from shardwright.migration.recorder import Rendering, Statement
from shardwright.migration.versions import read_afresh, read_state
from shardwright.pg import indexes, prepared
from shardwright.pg.queries import load
from shardwright.runs.session import ShardProblem, ShardSession

_queries = load(__package__)
Numbered = list[tuple[int, Statement]]


class MovedMeanwhile(ShardProblem):
    """The shard is not at the revision that the renderings start from."""


def send(session: ShardSession) -> Mapping[str, Any]:
    """The shard has gone through the payload's `renderings`; gives its state before and after, as read.

    The session that holds the lock does it all. What it reads after its COMMIT or ROLLBACK counts where it is what was
    to be expected; anything else is read on a fresh connection. Raises MovedMeanwhile, psycopg.Error.
    """
    table = session.payload["version_table"]
    session.facts["before"] = before = read_state(session.watch, table)
    require_unmoved(before, session.payload["before"])
    expected = before
    try:
        send_all(session, session.payload["renderings"], over=session.watch)
        expected = session.payload["after"]
    finally:
        after = _read_back(session.watch, table)
        session.facts["after"] = after if after == expected else read_afresh(session, table)
    return session.facts


def prepare(session: ShardSession) -> Mapping[str, Any]:
    """The payload's `renderings` stand in one prepared transaction named `transaction`; none of it is visible yet.

    Raises MovedMeanwhile, psycopg.Error; nothing is prepared then.
    """
    require_unmoved(read_state(session.watch, session.payload["version_table"]), session.payload["before"])
    with session.connect() as connection:
        session.facts["since"] = time.monotonic()
        sender = _Sender(session, connection)
        for rendering in session.payload["renderings"]:
            session.raise_if_cancelled()
            session.place = f"upgrade {rendering.revision}"
            sender.send(rendering)
        sender.prepare(session.payload["transaction"])
    return session.facts


def _read_back(connection: psycopg.Connection[Any], version_table: str) -> State | None:
    """What a new session would read, unless it says nothing: a revision may have left this one any search_path."""
    try:
        connection.execute("RESET search_path")
        return read_state(connection, version_table)
    except psycopg.Error:
        return None


def require_unmoved(state: State, planned: State) -> None:
    """Raises MovedMeanwhile unless the shard is where it was when the plan was made."""
    if state != planned:
        raise MovedMeanwhile(f"it is at {', '.join(state) or 'base'} now, and was not when the plan was made")


def send_all(
    session: ShardSession, renderings: Sequence[Rendering], *, over: psycopg.Connection[Any] | None = None
) -> None:
    """The shard has gone through `renderings`, over one connection: a fresh one, unless one is given."""
    with nullcontext(over) if over else session.connect() as connection:
        sender = _Sender(session, connection)
        try:
            for rendering in renderings:
                session.raise_if_cancelled()
                session.place = f"upgrade {rendering.revision}"
                sender.send(rendering)
                if rendering.own_transaction:
                    sender.commit()
            sender.commit()
        finally:
            sender.roll_back()
        session.place = None


class _Sender:
    """One shard's connection, in autocommit, and whether a transaction is open on it."""

    def __init__(self, session: ShardSession, connection: psycopg.Connection[Any]) -> None:
        self._session = session
        self._connection = connection
        self._is_open = False

    def send(self, rendering: Rendering) -> None:
        """The revision's statements are sent; those in a transaction are committed with what comes next."""
        parts = [
            list(part) for _, part in groupby(enumerate(rendering.statements), key=lambda one: one[1].in_transaction)
        ]
        if len(parts) > 1:
            self._send_in_parts(rendering, parts)
        else:
            self._send_together([statement for part in parts for _, statement in part])

    def commit(self) -> None:
        """What was sent stays."""
        if self._is_open:
            self._connection.execute("COMMIT")
            self._is_open = False
            self._session.committed = True

    def prepare(self, name: str) -> None:
        """What was sent waits, with its locks, for whoever decides."""
        self._session.place = "PREPARE TRANSACTION"
        self._connection.execute(prepared.prepare(name))
        self._is_open = False
        self._session.committed = True

    def roll_back(self) -> None:
        """What was sent and not committed is undone, if there is any, and holds no lock any more."""
        if self._is_open:
            with suppress(psycopg.Error):  # the session is gone, and so is its transaction
                self._connection.execute("ROLLBACK")

    def _send_together(self, statements: list[Statement]) -> None:
        """One message for all of them. Raises MovedMeanwhile where the version row was not the expected one."""
        begin = [] if self._is_open else ["BEGIN"]
        self._is_open = True
        cursor = self._connection.execute(SQL("\n;\n".join([*begin, *(statement.sql for statement in statements)])))
        while cursor.nextset():
            pass
        if statements[-1].is_version and cursor.rowcount != 1:
            raise MovedMeanwhile("its version row was changed by somebody else")

    def _send_in_parts(self, rendering: Rendering, parts: list[Numbered]) -> None:
        """Some of it can't be in a transaction: how far it came is kept on the shard; the next try goes on there."""
        self.commit()
        progress = _Progress(self._connection, rendering)
        for part in parts:
            numbers = [number for number, _ in part]
            if numbers[-1] < progress.done:
                continue
            if part[0][1].in_transaction:
                self._send_together([statement for _, statement in part])
                progress.write(numbers[-1] + 1, finished=part is parts[-1])
                self.commit()
            else:
                for number, statement in part:
                    self._send_alone(number, statement, progress)

    def _send_alone(self, number: int, statement: Statement, progress: _Progress) -> None:
        if number < progress.done or progress.was_built(number, statement):
            return
        progress.write(number, begun=True)
        self._session.committed = True
        if indexes.waits_without_harm(statement.sql):
            self._connection.execute("SET lock_timeout = 0")
            self._drop_leftover(statement)
        self._connection.execute(SQL(statement.sql))
        self._connection.execute("RESET lock_timeout")
        progress.write(number + 1)

    def _drop_leftover(self, statement: Statement) -> None:
        target = indexes.index_to_be_built(statement.sql)
        if target is not None:
            indexes.drop_if_invalid(self._connection, *target)


def begun_renderings(connection: psycopg.Connection[Any]) -> list[str]:
    """The digests of renderings that were sent to this database half way."""
    try:
        return [row[0] for row in connection.execute(_queries["begun_renderings"])]
    except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege):
        return []


class _Progress:
    """How many statements of a revision this shard has behind it, in its schema `shardwright`."""

    def __init__(self, connection: psycopg.Connection[Any], rendering: Rendering) -> None:
        self._connection = connection
        self._key = {"revision": rendering.revision, "digest": rendering.digest}
        try:
            connection.execute(_queries["create_progress"])
        except psycopg.errors.InsufficientPrivilege:  # then a broken try begins anew, as with Alembic
            self._is_kept = False
            row = None
        else:
            self._is_kept = True
            row = connection.execute(_queries["read_progress"], self._key).fetchone()
        self.done: int = row[0] if row else 0
        self._begun: bool = bool(row and row[1])

    def write(self, done: int, *, begun: bool = False, finished: bool = False) -> None:
        """The shard remembers; in the open transaction, if there is one. Without the right to, it does not."""
        if not self._is_kept:
            return
        query = _queries["end_progress" if finished else "write_progress"]
        self._connection.execute(query, {**self._key, "done": done, "begun": begun})

    def was_built(self, number: int, statement: Statement) -> bool:
        """Whether a try that died after this statement, and before it could say so, has built its index."""
        target = indexes.index_to_be_built(statement.sql)
        if not self._begun or number != self.done or target is None:
            return False
        return indexes.is_valid(self._connection, *target)
