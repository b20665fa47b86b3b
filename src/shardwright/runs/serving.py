"""Carries out an order on one shard: takes its lock, runs the task, puts what went wrong into words."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from shardwright.errors import ShardwrightError
from shardwright.pg.faults import CANCELLED, LOCK_TIMEOUT, Fault, explain
from shardwright.runs.protocol import Begun, Order, Progress, Reply
from shardwright.runs.session import Cancelled, ShardProblem, ShardSession, hold

Task = Callable[[ShardSession], Mapping[str, Any]]


def serve(
    order: Order,
    say: Callable[[Begun | Progress], None],
    in_hand: Callable[[ShardSession], AbstractContextManager[None]],
) -> Reply:
    """How the order ended; `say` is told what happens on the way.

    `in_hand` wraps the task: within, another thread may cancel the session it was given.
    """
    session: ShardSession | None = None
    say(Begun())
    try:
        with hold(order, lambda message: say(Progress(message))) as session, in_hand(session):
            return Reply(value=load_task(order.task)(session))
    except (Exception, SystemExit) as error:  # noqa: BLE001 user code may raise anything; it is this shard's result
        return replace(_explain(error, session), value=_facts(error, session))


def load_task(name: str) -> Task:
    """The function that `module:function` names."""
    module, _, function = name.partition(":")
    task: Task = getattr(importlib.import_module(module), function)
    return task


def _facts(error: BaseException, session: ShardSession | None) -> dict[str, Any]:
    if session is not None:
        return session.facts
    return {"left_alone": True} if isinstance(error, ShardProblem) and error.left_alone else {}


def _explain(error: BaseException, session: ShardSession | None) -> Reply:
    if isinstance(error, ShardProblem):
        return Reply(reason=str(error), hint=error.hint or None, again=error.again)
    if isinstance(error, ShardwrightError):
        return Reply(reason=str(error), hint=error.hint or None)
    fault = explain(error)
    if session is None:
        return Reply(reason=fault.reason, hint=fault.hint or None)
    if session.cancelled is not None or isinstance(error, Cancelled):
        return Reply(
            reason=f"{session.cancelled}; in the way: {session.blocker}" if session.blocker else session.cancelled
        )
    return _explain_within(fault, error, session)


def _explain_within(fault: Fault, error: BaseException, session: ShardSession) -> Reply:
    where = f"{session.place}: " if session.place else ""
    if fault.sqlstate == LOCK_TIMEOUT:
        return _explain_lock_timeout(where, session)
    if fault.sqlstate == CANCELLED and "statement timeout" in fault.reason:
        hint = "raise limits.statement_timeout or --timeout, or make the statement smaller"
        return Reply(reason=f"{where}{fault.reason}", hint=hint)
    kind = "" if fault.sqlstate else f"{type(error).__name__}: "
    return Reply(reason=f"{where}{kind}{fault.reason}", hint=fault.hint or None)


def _explain_lock_timeout(where: str, session: ShardSession) -> Reply:
    blocker = session.blocker
    relation = f" on {blocker.relation}" if blocker and blocker.relation else ""
    holder = f"; in the way: {blocker}" if blocker else ""
    return Reply(
        reason=f"{where}lock timeout{relation}{holder}",
        hint=f"SELECT pg_terminate_backend({blocker.pid}) on this shard, then repeat"
        if blocker and blocker.pid
        else None,
        again=not session.committed,
    )
