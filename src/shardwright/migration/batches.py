"""Data migrations inside a revision: a big table changed batch by batch, gently, and resumed where it stopped.

Asked for as `from shardwright.migration import backfill`.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple, Protocol, cast

from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from psycopg.sql import SQL, Composable, Identifier
from sqlalchemy import text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from shardwright.pg import retry
from shardwright.pg.connect import milliseconds
from shardwright.pg.faults import LOCK_TIMEOUT, explain
from shardwright.pg.queries import load
from shardwright.runs.current import current

TRIES = 20  # with their pauses about two and a half minutes
PASSES = 5
_RETRIED = frozenset({LOCK_TIMEOUT, "40P01", "40001"})  # also deadlock and serialization failure: all rolled back
_LOCK_TIMEOUT = timedelta(milliseconds=100)
_TICK = 0.1
_BETWEEN_REPORTS = 1.0
_BETWEEN_LOOKS = 1.0

_queries = load(__package__, "batches.sql")
# Below "alembic", whose level the stock alembic.ini sets to INFO; its fileConfig disables all loggers but those.
_log = logging.getLogger("alembic.backfill")


class BackfillRefused(CommandError):
    """The backfill can't be run here; nothing was changed."""


class Operations(Protocol):
    """What is used of `alembic.op`."""

    def get_bind(self) -> Connection:
        """The connection that the revision is run on."""

    def get_context(self) -> MigrationContext:
        """Alembic's context."""


def backfill(
    op: Operations,
    table: str,
    *,
    set_: str,
    where: str | None = None,
    schema: str | None = None,
    batch: int = 1000,
    pace: float = 0.5,
    max_lag: float = 10.0,
    wait_while: str | None = None,
) -> int:
    """Every row of `table` that matches `where` is changed by `set_`, in short transactions; gives how many were.

        op.add_column("tasks", sa.Column("title_lower", sa.Text()), if_not_exists=True)
        backfill(op, "tasks", set_="title_lower = lower(title)", where="title_lower IS NULL")

    What the revision did before is committed first, as by Alembic's `autocommit_block`. So write it repeatably
    (`if_not_exists=True`), or give the backfill a revision of its own: a try that ends half way leaves it there. The
    next try goes on after the last finished batch, and the count is of both together.

    The table is walked along its primary key, `batch` rows at a time. Rows that come in behind are found where a
    changed row no longer matches `where`: it is walked again until none is left, at most five times. Without such a
    `where` they must be written right by the application. `set_` and `where` are SQL and see the table's columns.

    `pace` is the part of the time spent working (1: no pauses); `max_lag` the seconds a replica may be behind;
    `wait_while` a SELECT that gives true as long as the next batch should wait. A row that somebody holds is waited
    for with a short lock_timeout, again and again. Inside a rollout progress is reported and a wish to stop is
    obeyed between batches; elsewhere it is logged as `alembic.backfill`.

    Raises BackfillRefused where there is no live connection (`--sql`) or no primary key.
    """
    if batch < 1 or not 0 < pace <= 1:
        raise ValueError("batch must be at least 1, and pace more than 0 and at most 1")
    _require_own_transactions(op)
    context = op.get_context()
    # Which revision this is can't be asked; what it starts from can, and stays the same until it is done.
    name = _Name(",".join(sorted(context.get_current_heads())), _digest(schema, table, set_, where))
    with context.autocommit_block():
        connection = op.get_bind()
        target = _Target.find(connection, [part for part in (schema, table) if part], set_, where, batch)
        pacing = _Pacing(connection, pace, max_lag, wait_while)
        with _gentle(connection) as patience:
            changed = _Walk(connection, name, target, pacing, patience).go()
    _forget_with_the_revision(context, name)
    return changed


def _require_own_transactions(op: Operations) -> None:
    context = op.get_context()
    if context.as_sql:
        from shardwright.migration.recorder import NeedsConnection, StrictConnection  # noqa: PLC0415 rarely needed

        if isinstance(op.get_bind(), StrictConnection):
            raise NeedsConnection("backfills rows in batches")
        raise BackfillRefused("backfill() works in batches on a live database: it can't be rendered with --sql")
    if context._in_external_transaction:
        raise BackfillRefused(
            "backfill() commits every batch, but env.py has begun a transaction around the migrations: "
            "let it begin none but context.begin_transaction()"
        )


def _digest(*parts: str | None) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _forget_with_the_revision(context: MigrationContext, name: _Name) -> None:
    """The position goes in the transaction that writes the version row: until then the revision may be run again."""

    def forget(ctx: MigrationContext, **_: Any) -> None:
        ctx.on_version_apply_callbacks = tuple(one for one in ctx.on_version_apply_callbacks if one is not forget)
        connection = ctx.connection
        assert connection is not None  # noqa: S101 online
        if connection.execute(_query("has_progress")).scalar_one():
            connection.execute(_query("forget"), {"heads": name.heads})
            if not connection.execute(_query("has_more_progress")).scalar_one():
                connection.execute(_query("drop_progress"))

    context.on_version_apply_callbacks = (*context.on_version_apply_callbacks, forget)


# --- the statements ---------------------------------------------------------------------------


class _Name(NamedTuple):
    """By which a backfill is known again."""

    heads: str
    digest: str


class _State(NamedTuple):
    """How far it came: `still` counts changed rows that match nevertheless."""

    turn: int
    position: list[str] | None
    seen: int
    changed: int
    still: int


def _query(name: str, **parts: Composable) -> Any:
    """A named query for SQLAlchemy, with `parts` put in."""
    query = _queries[name]
    return text((query.format(**parts) if parts else query).as_string(None))


def _plain(fragment: Composable | str) -> SQL:
    """SQL in which SQLAlchemy finds no parameters, whatever colons it has."""
    written = fragment if isinstance(fragment, str) else fragment.as_string(None)
    return SQL(cast("Any", written.replace(":", "\\:")))


@dataclass(frozen=True)
class _Target:
    """The rows to be changed, and the statements that change them."""

    name: str
    batch: int
    estimate: int
    parts: dict[str, Composable]

    @classmethod
    def find(cls, connection: Connection, path: Sequence[str], set_: str, where: str | None, batch: int) -> _Target:
        """Raises BackfillRefused where the table has no primary key."""
        table = Identifier(*path)
        found = connection.execute(_query("key_columns"), {"table": table.as_string(None)}).all()
        if not found:
            raise BackfillRefused(f"backfill() walks along the primary key: {'.'.join(path)} is no table that has one")
        keys = [_plain(Identifier(column)) for column, _ in found]
        # Keys travel as text, whatever the type: each driver has its own idea of a uuid or a date in Python.
        bound = [
            SQL("CAST(CAST({} AS text) AS {})").format(SQL(f":key_{n}"), _plain(kind))
            for n, (_, kind) in enumerate(found)
        ]
        parts: dict[str, Composable] = {
            "table": _plain(table),
            "set_": _plain(f"{set_}\n"),  # a fragment may end in a comment
            "where": _plain(f"{where or 'true'}\n"),
            "batch": _plain(str(int(batch))),  # a parameter would hide from the planner how small it is
            "keys": SQL(", ").join(keys),
            "keys_as_text": SQL(", ").join(SQL("{}::text").format(key) for key in keys),
            "keys_descending": SQL(", ").join(SQL("{} DESC").format(key) for key in keys),
            "position": SQL(", ").join(bound),
        }
        plan = connection.execute(_query("estimate", **parts)).scalars().first()
        rows = re.search(r"rows=(\d+)", str(plan))
        return cls(".".join(path), batch, int(rows[1]) if rows else 0, parts)

    def next_batch(self, position: list[str] | None) -> tuple[Any, dict[str, str]]:
        """The statement that changes the batch after `position`, and its parameters."""
        after = SQL("true") if position is None else SQL("({keys}) > ({position})").format(**self.parts)
        parameters = {f"key_{number}": value for number, value in enumerate(position or ())}
        return _query("batch", after=after, **self.parts), parameters

    def some_left(self) -> Any:
        """The question whether any row matches."""
        return _query("some_left", **self.parts)


# --- the walk ---------------------------------------------------------------------------------


class _Walk:
    """One backfill on one connection, in autocommit."""

    def __init__(
        self, connection: Connection, name: _Name, target: _Target, pacing: _Pacing, patience: _SetPatience
    ) -> None:
        self._connection = connection
        self._name = name
        self._target = target
        self._pacing = pacing
        self._patience = patience
        self._reporting = _Reporting(target.name, target.estimate)

    def go(self) -> int:
        """No row is left that should be changed; gives how many were, in all tries."""
        state = self._begin()
        for walk in range(1, PASSES + 1):
            state = self._to_the_end(state)
            # Changed rows that match still would be changed twice: such a `where` is walked once.
            if state.still or not self._ask(self._target.some_left(), {})[0]:
                break
            if walk == PASSES:
                _say(f"{self._target.name}: rows to be changed keep coming in: does the application write them right?")
                break
            state = _State(*self._ask(_query("begin_again"), {**self._name._asdict(), "turn": state.turn}))
        self._reporting.finish(state)
        return state.changed

    def _begin(self) -> _State:
        if not self._ask(_query("has_progress"), {})[0]:
            # IF NOT EXISTS alone asks for the right to create schemas, even where there is nothing to create.
            if not self._ask(_query("has_schema"), {})[0]:
                self._connection.execute(_query("create_schema"))
            self._connection.execute(_query("create_progress"))
        self._connection.execute(_query("begin"), self._name._asdict())
        state = self._read()
        if state.position is not None:
            _say(f"{self._target.name}: going on where an earlier try stopped, after {state.seen:,} rows")
        self._reporting.begin(state)
        return state

    def _read(self) -> _State:
        return _State(*self._ask(_query("read"), self._name._asdict()))

    def _to_the_end(self, state: _State) -> _State:
        while True:
            self._pacing.wait_for_calm()
            began = time.monotonic()
            statement, keys = self._target.next_batch(state.position)
            row = self._retrying(statement, {**self._name._asdict(), "turn": state.turn, **keys})
            if row is None:  # a statement of an earlier try, still running, was faster
                state = self._read()
                continue
            before, state = state, _State(*row)
            if state.seen - before.seen < self._target.batch:
                return state
            self._reporting.tell(state)
            self._pacing.rest(time.monotonic() - began)

    def _ask(self, statement: Any, parameters: dict[str, Any]) -> Any:
        row = self._retrying(statement, parameters)
        if row is None:
            raise BackfillRefused(f"another process has run this backfill of {self._target.name} meanwhile")
        return row

    def _retrying(self, statement: Any, parameters: dict[str, Any]) -> Any:
        """Its one row, or None; tried again, with pauses and growing patience, while others hold what it needs."""
        for attempt in range(1, TRIES + 1):
            self._patience(attempt)
            try:
                return self._connection.execute(statement, parameters).one_or_none()
            except DBAPIError as error:
                fault = explain(error)
                if fault.sqlstate not in _RETRIED or attempt == TRIES:
                    raise
                _say(f"{self._target.name}: {fault.reason}; try {attempt + 1} of {TRIES} follows")
            _sleep(retry.pause(attempt).total_seconds())
        raise AssertionError  # pragma: no cover


_SetPatience = Callable[[int], None]


@contextmanager
def _gentle(connection: Connection) -> Iterator[_SetPatience]:
    """Gives what sets the lock_timeout of an attempt; afterwards the session's settings are what they were."""
    session = current()
    first = timedelta(milliseconds=session.order.lock_timeout) if session else _LOCK_TIMEOUT
    # With the cost of disks that turn the planner reads the whole table for every batch, up to half a million rows.
    with _setting(connection, "random_page_cost") as cost, _setting(connection, "lock_timeout") as timeout:
        cost("1.1")
        yield lambda attempt: timeout(f"{milliseconds(retry.lock_timeout(first, attempt))}ms")


@contextmanager
def _setting(connection: Connection, name: str) -> Iterator[Callable[[str], None]]:
    before = present = connection.execute(_query("setting"), {"name": name}).scalar_one()

    def set_to(value: str) -> None:
        nonlocal present
        if value != present:
            connection.execute(_query("set"), {"name": name, "value": value})
            present = value

    try:
        yield set_to
    finally:
        with suppress(SQLAlchemyError):  # the connection may be gone, which is said by another error
            set_to(before)


class _Pacing:
    """When the next batch may begin."""

    def __init__(self, connection: Connection, pace: float, max_lag: float, wait_while: str | None) -> None:
        self._connection = connection
        self._rest_per_work = (1 - pace) / pace
        self._max_lag = max_lag
        self._probe = text(_plain(wait_while).as_string(None)) if wait_while else None
        self._looked_at = float("-inf")

    def rest(self, worked: float) -> None:
        """Others have had their share of the time."""
        _sleep(worked * self._rest_per_work)

    def wait_for_calm(self) -> None:
        """No replica is too far behind, and the probe has nothing against it; looked at once a second."""
        if time.monotonic() - self._looked_at < _BETWEEN_LOOKS:
            _sleep(0)
            return
        told = None
        while reason := self._reason_to_wait():
            if reason != told:
                _say(f"waiting: {reason}")
            told = reason
            _sleep(_BETWEEN_LOOKS)
        self._looked_at = time.monotonic()

    def _reason_to_wait(self) -> str | None:
        if self._connection.execute(_query("replication_lag")).scalar_one() > self._max_lag:
            return f"a replica is more than {self._max_lag:g} s behind"
        if self._probe is not None and self._connection.execute(self._probe).scalar():
            return "wait_while says so"
        return None


# --- telling ----------------------------------------------------------------------------------


class _Reporting:
    """Tells how far it is, once a second."""

    def __init__(self, table: str, estimate: int) -> None:
        self._table = table
        self._estimate = estimate
        self._first = 0
        self._began = self._told = 0.0

    def begin(self, state: _State) -> None:
        """The first batch is about to begin."""
        self._first, self._began, self._told = state.seen, time.monotonic(), float("-inf")

    def tell(self, state: _State) -> None:
        """`tasks: 12,000 of ~50,000 rows (24 %), 3 s left`, unless told a moment ago."""
        now = time.monotonic()
        if now - self._told < _BETWEEN_REPORTS:
            return
        self._told = now
        self._first = min(self._first, state.seen)  # a second walk counts from 0
        total, walked = max(self._estimate, state.seen), max(state.seen - self._first, 1)
        left = (now - self._began) * (total - state.seen) / walked
        share = 100 * state.seen // total
        _say(f"{self._table}: {state.seen:,} of ~{total:,} rows ({share} %), {left:.0f} s left")

    def finish(self, state: _State) -> None:
        """The last word."""
        _say(f"{self._table}: backfilled, {state.changed:,} rows changed")


def _say(message: str) -> None:
    session = current()
    if session is None:
        _log.info(message)
    else:
        session.report(message)


def _sleep(seconds: float) -> None:
    """Obeys the rollout's wish to stop, also half way; raises Cancelled."""
    session, until = current(), time.monotonic() + seconds
    while True:
        if session is not None:
            session.raise_if_cancelled()
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, _TICK))
