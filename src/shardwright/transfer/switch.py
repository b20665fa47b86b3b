"""The switch: the shard that takes the tenant's writes changes, within a bounded write gap.

Under the lock that keeps writers out: the last drain; the flag is closed, by the very session that holds the lock, so
that it can't have been lost; then `decide`, the point of no return; then the other shard's flag is opened, those who
were refused are told where to go, and the lock is given back. Told earlier, they might go there for nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
from psycopg import sql

from shardwright.errors import ControlUnavailable
from shardwright.pg.connect import milliseconds
from shardwright.runs.board import Superseded
from shardwright.transfer import fence
from shardwright.transfer.drain import NotEqual, drain, forget_drained, make_room, snapshot
from shardwright.transfer.scope import Scope
from shardwright.transfer.sessions import Sessions, write_silently

LOCK_PATIENCE = timedelta(milliseconds=200)  # below deadlock_timeout: a circle of waiting costs the mover a try
_ROUNDS = 3
Decide = Callable[[], object]


@dataclass(frozen=True)
class Switched:
    """The write gap in seconds, None where the mover died before it could tell; the keys that were drained in it."""

    epoch: int
    gap: float | None
    keys: int


def short_lived(budget: timedelta) -> sql.Composed:
    """A mover that sleeps with the lock in hand loses it: the tenant's writers go on."""
    least = sql.Literal(f"{max(2 * milliseconds(budget), 2000)}ms")
    return sql.SQL("SET idle_session_timeout = {0}; SET idle_in_transaction_session_timeout = {0}").format(least)


class NotNow(Exception):
    """The switch was given up before anything had changed; writers go on where they were. Later may be better."""

    def __init__(self, reason: str, holders: list[fence.Holder] | None = None) -> None:
        in_the_way = "; in the way: " + ", ".join(map(str, holders)) if holders else ""
        super().__init__(f"{reason}{in_the_way}")


@dataclass(frozen=True)
class Switch:
    """From `source` to `target`, for the tenant of `scope`, or for the one whose `flag` is given among all of it.

    `decide` moves the placement to `epoch`; done again it changes nothing. What it raises means that
    nothing was decided: the source is opened again. Superseded: whoever has taken over decides that.
    `settle` brings what was captured up to now, where that is not the scope's alone; `arrive` is done when it is
    decided, before the target takes writes. `is_decided`: by whoever had it in hand before, and has died over it.
    """

    scope: Scope
    source: Sessions
    target: Sessions
    budget: timedelta
    decide: Decide
    gone_to: str
    epoch: int
    reopens: bool = True
    flag: fence.Fence | None = None
    settle: Callable[[], object] | None = None
    arrive: Callable[[], object] = lambda: None
    is_decided: bool = False

    @property
    def _fence(self) -> fence.Fence:
        return self.flag or self.scope.fence

    def go(self) -> Switched:
        """The target takes the tenant's writes, the source refuses them. Raises NotNow, psycopg.Error."""
        with self.target.open() as there:
            if fence.is_open(there, self._fence):  # a mover that died had come so far
                with self.source.open() as here:
                    fence.say_where(here, self._fence, self.gone_to, self.epoch)
                return Switched(self.epoch, None, 0)
            write_silently(there)
            make_room(there, self.scope.tables)
            with self.source.open() as here, self.source.open() as watch:
                if self.is_decided and not fence.is_open(here, self._fence):
                    # All was drained before. Rows brought anew would be gone for a moment under who has come for them.
                    self._open(here, there)
                    return Switched(self.epoch, None, 0)
                return self._go(here, watch, there)

    def _go(self, here: Any, watch: Any, there: Any) -> Switched:
        patience = min(LOCK_PATIENCE, self.budget / 2)
        long = [each for each in fence.holders(watch, self._fence) if each.seconds > patience.total_seconds()]
        if long:
            raise NotNow("a transaction of the tenant is open for long", long)
        (self.settle or partial(self._settle, here, there))()
        fence.say_where(here, self._fence, None, self.epoch)
        limit = sql.SQL("SET statement_timeout = {}").format(sql.Literal(f"{milliseconds(self.budget)}ms"))
        here.execute(limit)
        here.execute(short_lived(self.budget))
        there.execute(limit)
        began = time.monotonic()
        if not fence.lock(here, self._fence, patience):
            raise NotNow(
                f"its writers did not end within {milliseconds(patience)} ms", fence.holders(watch, self._fence)
            )
        keys = self._last_drain(here, there, began)
        fence.close_for_writes(here, self._fence)
        self._decide(here)
        self._open(here, there)
        fence.unlock(here, self._fence)
        return Switched(self.epoch, time.monotonic() - began, keys)

    def _open(self, here: Any, there: Any) -> None:
        self.arrive()
        fence.open_for_writes(there, self._fence)
        fence.say_where(here, self._fence, self.gone_to, self.epoch)

    def _settle(self, here: Any, there: Any) -> None:
        """What was captured up to now is drained, so that the last drain has but a few keys."""
        for _ in range(_ROUNDS):
            began = time.monotonic()
            with snapshot(here) as taken:
                drained = drain(here, there, self.scope, self.scope.tables)
            if drained.keys:
                forget_drained(here, self.scope.tables, taken)
            seconds = time.monotonic() - began
            if seconds < self.budget.total_seconds() / 4:
                return
        if seconds > self.budget.total_seconds() / 2:  # else it is as short as it gets here, and fits
            raise NotNow(f"{drained.keys} keys took {seconds:.3f} s to be drained, too long for the write gap")

    def _last_drain(self, here: Any, there: Any, began: float) -> int:
        try:
            with snapshot(here):  # taken after the lock was granted: it sees all that its holders have committed
                keys = drain(here, there, self.scope, self.scope.tables, checks=True).keys
        except psycopg.errors.QueryCanceled:
            raise NotNow("the last drain took longer than the write gap allows") from None
        except NotEqual as error:
            raise NotNow(str(error)) from None
        if time.monotonic() - began > self.budget.total_seconds():
            raise NotNow(f"the last drain took {time.monotonic() - began:.3f} s, longer than the write gap allows")
        return keys

    def _decide(self, here: Any) -> None:
        try:
            self.decide()
        except Superseded:
            raise
        except (psycopg.OperationalError, ControlUnavailable) as error:
            self._reopen(here)
            raise NotNow(f"the control database did not answer: {error}") from error
        except Exception:
            self._reopen(here)
            raise

    def _reopen(self, here: Any) -> None:
        if self.reopens:
            fence.open_for_writes(here, self._fence)
        fence.unlock(here, self._fence)
