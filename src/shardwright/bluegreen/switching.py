"""One tenant's switch to green, or home: the switch of a move, among all that is drained between both shards."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import psycopg

from shardwright import errors
from shardwright.bluegreen.group import Group, NewTenants
from shardwright.bluegreen.lanes import Lane, by_shard
from shardwright.bluegreen.store import Changes
from shardwright.runs.board import Superseded, Undecided
from shardwright.runs.store import operator
from shardwright.transfer import fence
from shardwright.transfer.compare import Comparison, compare_frozen
from shardwright.transfer.drain import drain, snapshot
from shardwright.transfer.everyone import Tenant
from shardwright.transfer.switch import LOCK_PATIENCE, NotNow, Switch, Switched, short_lived
from shardwright.transfer.whose import EVERYBODY

_ROUNDS = 5
_ASK_AGAIN = 0.2
T = TypeVar("T")
Control = Callable[[timedelta | None], AbstractContextManager[Changes]]


@dataclass(frozen=True)
class Done:
    """One switch: how long the tenant could not write (seconds; None: not measured), and the proof of its rows."""

    switched: Switched
    comparison: Comparison

    def as_write_gap(self) -> Mapping[str, Any]:
        """As the control database keeps it."""
        gap = self.switched.gap
        return {"gap_ms": None if gap is None else round(gap * 1000, 1), "keys": self.switched.keys}


@dataclass(frozen=True)
class Switching:
    """Switches tenants of one group. `control` gives the changes, with a time limit for each statement if asked."""

    group: Group
    control: Control
    write_gap: timedelta

    def switch(self, tenant: Tenant, *, to_green: bool) -> Done:
        """The tenant's writes go to green, or home again, and its rows are proven to be there.

        Raises NotNow, before anything has changed; psycopg.Error, Superseded, RowsDiffer.
        """
        group, lane = self.group, self._lane(tenant)
        here, there = lane.pair if to_green else lane.pair[::-1]
        scope = lane.there if to_green else lane.back
        assert scope is not None  # noqa: S101 nobody goes home where there is no way
        moved = Tenant(tenant.tenant, tenant.blue, tenant.green, at_green=to_green)
        epoch = self._epoch(tenant.tenant)

        def act(changes: Changes) -> Switched:
            return Switch(
                scope, group.sessions(here), group.sessions(there), self.write_gap,
                decide=partial(self._decide, changes, tenant.tenant, to_green=to_green), gone_to=there,
                epoch=epoch + 1, flag=fence.of_tenant(group.context.run, tenant.tenant),
                settle=partial(self._settle, here), arrive=partial(group.place, [moved]),
            ).go()  # fmt: skip

        switched = self._beside_control(act)
        return Done(switched, self._prove(lane, tenant.tenant, to_green=to_green))

    def prove(self, tenant: Tenant, epoch: int, *, to_green: bool) -> Done:
        """The proof of a switch whose mover has died over it."""
        found = self._prove(self._lane(tenant), tenant.tenant, to_green=to_green)
        return Done(Switched(epoch, None, 0), found)

    def _beside_control(self, act: Callable[[Changes], T]) -> T:
        """What `act` gives, with the control database at hand before anybody is shut out. A shard's error leaves the
        block in which it would be taken for one of that database."""
        with self.control(self.write_gap) as changes:
            try:
                return act(changes)
            except psycopg.Error as error:
                failed = error
        raise failed

    def _lane(self, tenant: Tenant) -> Lane:
        return next(lane for lane in self.group.lanes if lane.pair == (tenant.blue, tenant.green))

    def _epoch(self, tenant: str) -> int:
        with self.control(None) as changes:
            return changes.tenant(self.group.context.run, tenant).epoch

    def _settle(self, shard: str) -> None:
        """What was noted up to now is brought, so that the last drain has but a few keys."""
        budget = self.write_gap.total_seconds()
        for _ in range(_ROUNDS):
            began = time.monotonic()
            keys = self.group.bring(shard)
            seconds = time.monotonic() - began
            if seconds < budget / 4:
                return
        if seconds > budget / 2:
            raise NotNow(f"{keys} keys took {seconds:.3f} s to be brought, too long for the write gap")

    def _decide(self, changes: Changes, tenant: str, *, to_green: bool) -> None:
        context = self.group.context

        def decide() -> None:
            changes.switch(context.run, context.runner, tenant, to_green=to_green, changed_by=operator())

        def is_decided(changes: Changes) -> bool:
            return changes.tenant(context.run, tenant).at_green == to_green

        self._decided(decide, is_decided)

    def _decided(self, decide: Callable[[], None], is_decided: Callable[[Changes], bool]) -> None:
        """Until it is known what became of the decision, neither side takes these writes."""
        try:
            decide()
        except Undecided:
            self.group.context.tell("the control database went away over the decision: writers wait for it")
            if not self._asked(is_decided):
                raise psycopg.OperationalError("it has not taken the decision") from None

    def _asked(self, question: Callable[[Changes], bool]) -> bool:
        context = self.group.context
        while True:
            try:
                with self.control(None) as changes:
                    changes.held(context.run, context.runner)
                    return question(changes)
            except (errors.ControlUnavailable, psycopg.OperationalError):
                time.sleep(_ASK_AGAIN)

    def _prove(self, lane: Lane, tenant: str, *, to_green: bool) -> Comparison:
        """The frozen side and the living one, before anything is brought back: that would cover up what differs."""
        scope = lane.of_tenant(tenant, to_green=to_green)
        here, there = lane.pair if to_green else lane.pair[::-1]
        with self.group.sessions(here).open() as frozen, self.group.sessions(there).open() as living, snapshot(living):
            return compare_frozen(frozen, living, scope)

    # --- shared rows, and tenants nobody has heard of -------------------------------------------

    def switch_everybody(self, *, to_green: bool) -> float:
        """Shared rows and new tenants are written on green, or on blue again; gives for how many seconds on neither.

        Raises NotNow, NewTenants, before anything has changed; psycopg.Error, Superseded.
        """
        group = self.group
        closing, opening = (list(by_shard(group.lanes, blue=blue)) for blue in (to_green, not to_green))
        for name in closing:
            self._settle(name)
        for name in opening:  # what it takes to write there is ready before anybody is shut out
            group.writer(name)
        return self._beside_control(partial(self._switch_everybody, closing, opening, to_green=to_green))

    def _switch_everybody(
        self, closing: Sequence[str], opening: Sequence[str], changes: Changes, *, to_green: bool
    ) -> float:
        group, flag = self.group, fence.of_everybody(self.group.context.run)
        with ExitStack() as stack:
            sessions = {name: stack.enter_context(group.sessions(name).open()) for name in closing}
            began = time.monotonic()
            try:
                for name, session in sessions.items():
                    self._close(name, session, flag)
                for name, session in sessions.items():
                    self._last_drain(name, session)
                if time.monotonic() - began > self.write_gap.total_seconds():
                    raise NotNow("the last drain took longer than the write gap allows")
                self._decide_everybody(changes, to_green=to_green)
            except Superseded:
                raise
            except (psycopg.OperationalError, errors.ControlUnavailable) as error:
                self._open_again(sessions, flag)
                raise NotNow(f"a database did not answer: {error}") from error
            except Exception:
                self._open_again(sessions, flag)
                raise
            group.place([Tenant(EVERYBODY, *lane.pair, at_green=to_green) for lane in group.lanes])
            for name in opening:
                fence.open_for_writes(group.writer(name), flag)
            for session in sessions.values():
                fence.unlock(session, flag)
            return time.monotonic() - began

    def _close(self, shard: str, session: psycopg.Connection[Any], flag: fence.Fence) -> None:
        session.execute(short_lived(self.write_gap))
        if not fence.lock(session, flag, min(LOCK_PATIENCE, self.write_gap / 2)):
            with self.group.sessions(shard).open() as watch:
                raise NotNow(f"writers of shared rows on {shard} did not end in time", fence.holders(watch, flag))
        fence.close_for_writes(session, flag)

    def _last_drain(self, shard: str, session: psycopg.Connection[Any]) -> None:
        with snapshot(session):
            if new := self.group.unknown_to(session, shard):
                raise NewTenants(shard, new)
            for there, scope in self.group.ways_from(shard):
                drain(session, self.group.writer(there), scope, scope.tables)

    def _decide_everybody(self, changes: Changes, *, to_green: bool) -> None:
        context, pairs = self.group.context, [lane.pair for lane in self.group.lanes]

        def decide() -> None:
            changes.switch_everybody(context.run, context.runner, pairs, to_green=to_green)

        def is_decided(changes: Changes) -> bool:
            lanes = {(lane.blue, lane.green): lane.everybody_at_green for lane in changes.lanes(context.run)}
            return all(lanes[pair] == to_green for pair in pairs)

        self._decided(decide, is_decided)

    def _open_again(self, sessions: Mapping[str, psycopg.Connection[Any]], flag: fence.Fence) -> None:
        for session in sessions.values():
            fence.open_for_writes(session, flag)
            fence.unlock(session, flag)
