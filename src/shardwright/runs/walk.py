"""Carries one durable run on, step by step, as far as it goes: forward, or back. Knows no engine."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import psycopg

from shardwright.config import FleetConfig
from shardwright.errors import ControlTooNew, ControlUnavailable
from shardwright.pg.faults import explain
from shardwright.runs.board import Board, DurableRun, StepRecord, Superseded
from shardwright.runs.kinds import Kind, Progress, Shelf, Step, StepContext, Stopped
from shardwright.runs.log import log
from shardwright.runs.spans import span_of_step

Control = Callable[[], AbstractContextManager[psycopg.Connection[Any]]]
T = TypeVar("T")

TRIES = 5  # of a step whose database went away
_PAUSE = 1.0
_PROGRESS_EVERY = 1.0


@dataclass
class Hands:
    """The hands a run is in: what their heartbeat last heard. `leaving`: the worker wants to end."""

    run: int
    runner: int
    wish: str | None = None
    is_lost: bool = False
    is_leaving: bool = False

    def stop_wanted(self) -> str | None:
        """Why a step should end at its next safe point."""
        if self.is_lost:
            return "taken over"
        return self.wish or ("leave" if self.is_leaving else None)

    def lost(self) -> str | None:
        """The same for a final step, which nothing but other hands can end."""
        return "taken over" if self.is_lost else None


class Walk:
    """One run in one worker's hands."""

    def __init__(self, control: Control, fleet: FleetConfig, kinds: Mapping[str, Kind], hands: Hands) -> None:
        self._control = control
        self._fleet = fleet
        self._kinds = kinds
        self._hands = hands
        self._told_at = 0.0
        self._about: Mapping[str, Any] = {}
        self._shelf = Shelf()

    def go(self) -> None:
        """The run is where it can't go on by itself: finished, cancelled, waiting, paused, parked, or let go."""
        with closing(self._shelf), suppress(Superseded):
            run = self._say(lambda board: board.run(self._hands.run))
            if run is None:
                return
            self._hands.wish = run.wish
            self._about = self._facts(run)
            kind = self._kinds.get(run.kind)
            if kind is None:
                self._leave("parked", f"this version of shardwright knows no runs of kind {run.kind}")
            elif run.direction == "back" or not self._forward(run, kind):
                self._back(run, kind)

    # --- forward ------------------------------------------------------------------------------

    def _forward(self, run: DurableRun, kind: Kind) -> bool:
        """Whether the run stays where this has brought it; False where it is to go back."""
        results: dict[str, Mapping[str, Any]] = {}
        for record in self._steps():
            if record.state == "done":
                results[record.name] = record.result
            elif (settled := self._step_forward(run, kind, record, results)) is not None:
                return settled
        code = max((int(result.get("exit_code", 0)) for result in results.values()), default=0)
        self._leave("finished", exit_code=code)
        return True

    def _step_forward(
        self, run: DurableRun, kind: Kind, record: StepRecord, results: dict[str, Mapping[str, Any]]
    ) -> bool | None:
        """None where the step is done, and its result is among the others; else as `_forward`."""
        step = kind.step(record.name)
        while True:
            if (reason := self._hands.stop_wanted()) and (settled := self._obey(reason)) is not None:
                return settled
            if step is None:
                return self._leave("parked", f"this version of shardwright has no step {record.name}")
            at_most = step.waits(self._context(run, results, record)) if step.waits else None
            if record.approval is not None and record.approved_by is None and at_most != 0:
                return self._leave("waiting", record.approval, waits_for=record.name, at_most=at_most)
            try:
                results[record.name] = self._do(run, step, record, results)
            except Stopped:
                continue  # obeyed at the top: a final step that was begun can't go back, and is done again
            except Superseded:
                raise
            except Exception as error:  # noqa: BLE001 a step may raise anything; the run waits for an operator then
                return self._leave("parked", f"{record.name}: {_told(error)}")
            return None

    def _do(
        self, run: DurableRun, step: Step, record: StepRecord, results: Mapping[str, Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        context = self._context(run, results, record)
        if step.final:
            context.stop_wanted = self._hands.lost

        def act() -> Mapping[str, Any]:
            context.attempt += 1
            self._write(record.name, "begun")
            with span_of_step(run.id, run.kind, record.name, **self._facts(run), attempt=context.attempt):
                return step.do(context) or {}

        result = self._insist(record.name, context, act)
        self._write(record.name, "done", result)
        given: Mapping[str, Any] = json.loads(json.dumps(result))  # as it would be found after a death
        return given

    def _insist(self, name: str, context: StepContext, act: Callable[[], T]) -> T:
        """What `act` gives, tried again where a database went away: every step may be."""
        for attempt in range(1, TRIES):
            try:
                return self._once(act)
            except (psycopg.OperationalError, ControlUnavailable) as error:
                self._tell(f"{name}: {_told(error)}; again in {attempt * _PAUSE:.0f} s")
                context.rest(attempt * _PAUSE)
        return self._once(act)

    def _once(self, act: Callable[[], T]) -> T:
        """Nothing of what has failed is used again."""
        try:
            return act()
        except BaseException:
            self._shelf.close()
            raise

    def _obey(self, reason: str) -> bool | None:
        """None where the run goes on after all."""
        if reason == "cancel":
            turned = self._say(lambda board: board.turn_back(self._hands.run, self._hands.runner))
            self._hands.wish = None
            return False if turned else None
        if reason == "pause":
            return self._leave("paused", "an operator paused it")
        if reason == "leave":
            return self._leave("queued", "its worker ends")
        raise Superseded

    # --- back ---------------------------------------------------------------------------------

    def _back(self, run: DurableRun, kind: Kind) -> None:
        records = self._steps()
        results = {record.name: record.result for record in records if record.state == "done"}
        for record in reversed(records):
            if record.state not in ("begun", "done"):
                continue
            if (reason := self._hands.stop_wanted()) and reason != "cancel" and self._obey(reason):
                return
            step = kind.step(record.name)
            try:
                if step is None:
                    raise LookupError(f"this version of shardwright has no step {record.name}")
                if step.undo is not None:
                    context = self._context(run, results, record)
                    context.stop_wanted = self._hands.lost
                    with span_of_step(run.id, run.kind, f"undo {record.name}", **self._facts(run)):
                        self._insist(f"undoing {record.name}", context, partial(step.undo, context))
            except (Stopped, Superseded):
                raise Superseded from None
            except Exception as error:  # noqa: BLE001 as above
                self._leave("parked", f"undoing {record.name}: {_told(error)}")
                return
            self._write(record.name, "undone")
        self._leave("cancelled", "every step that was done is undone", exit_code=0)

    def _facts(self, run: DurableRun) -> Mapping[str, Any]:
        """What a log or a trace of the run can be found by."""
        plan = run.plan
        return {
            "set": run.shard_set,
            "tenant": plan.get("tenant"),
            "source": plan.get("source"),
            "to": plan.get("target"),
        }

    def _log(self, event: str, **facts: Any) -> None:
        log(event, run=self._hands.run, **self._about, **facts)

    # --- what the steps are given -------------------------------------------------------------

    def _context(self, run: DurableRun, results: Mapping[str, Mapping[str, Any]], record: StepRecord) -> StepContext:
        return StepContext(
            fleet=self._fleet,
            run=run.id,
            plan=run.plan,
            results=dict(results),
            attempt=record.attempts,
            runner=self._hands.runner,
            report=self._report,
            tell=self._tell,
            stop_wanted=self._hands.stop_wanted,
            shelf=self._shelf,
        )

    def _report(self, progress: Progress) -> None:
        """Told at most once a second, and never waited for: it is only for whoever looks."""
        if time.monotonic() - self._told_at < _PROGRESS_EVERY and progress.done != progress.total:
            return
        self._told_at = time.monotonic()
        with suppress(ControlUnavailable), self._board() as board:
            board.write_progress(self._hands.run, self._hands.runner, progress)

    def _tell(self, text: str) -> None:
        self._log("message", text=text)
        with suppress(ControlUnavailable), self._board() as board:
            board.tell(self._hands.run, text)

    # --- the board ----------------------------------------------------------------------------

    def _steps(self) -> list[StepRecord]:
        return self._say(lambda board: board.steps(self._hands.run))

    def _write(self, name: str, state: str, result: Mapping[str, Any] | None = None) -> None:
        hands = self._hands
        wish = self._say(lambda board: board.write_step(hands.run, hands.runner, name, state, result))
        hands.wish = wish or hands.wish
        self._log("step", step=name, state=state)

    def _leave(
        self,
        state: str,
        note: str | None = None,
        *,
        waits_for: str | None = None,
        at_most: float | None = None,
        exit_code: int | None = None,
    ) -> bool:
        hands = self._hands
        self._say(
            lambda board: board.leave_running(
                hands.run, hands.runner, state, note, waits_for=waits_for, at_most=at_most, exit_code=exit_code
            )
        )
        self._log("run", state=state, note=note, exit_code=exit_code)
        return True

    @contextmanager
    def _board(self) -> Iterator[Board]:
        with self._shelf.lend("board", self._control) as connection:
            yield Board(connection, self._fleet.shard_set)

    def _say(self, word: Callable[[Board], T]) -> T:
        """What the board answers, asked until it does: while the control database is away, nothing goes on.

        Every word is guarded and can be said twice. A worker that ends does not wait: others take over.
        """
        while True:
            try:
                with self._board() as board:
                    return word(board)
            except ControlTooNew:
                raise Superseded from None
            except ControlUnavailable:
                if self._hands.is_leaving:
                    raise Superseded from None
                time.sleep(_PAUSE)


def _told(error: BaseException) -> str:
    fault = explain(error)
    return fault.reason if fault.sqlstate else f"{type(error).__name__}: {fault.reason}"
