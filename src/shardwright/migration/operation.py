"""One recorded operation over the fleet: its lock, its line in the ledger, its jobs, its result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from shardwright import errors
from shardwright.catalog.changes import require_written_down
from shardwright.catalog.control import open_control
from shardwright.catalog.store import record_shards
from shardwright.config import FleetConfig
from shardwright.migration.settle import settle_left_over
from shardwright.pg import locks
from shardwright.pg.faults import explain
from shardwright.runs.events import Listener, RunFinished, RunStarted, ShardFinished, each_of
from shardwright.runs.fanout import FanOut, FanOutLimits, Job, JobResult
from shardwright.runs.log import logging_listener
from shardwright.runs.results import RunResult, ShardResult, Status
from shardwright.runs.spans import spans_of_operation
from shardwright.runs.stopping import StopRequest
from shardwright.runs.store import Ledger, Run, operator, set_lock

_TOGETHER = 0.1  # seconds: results that come faster than this are written together


class Operation:
    """A running operation; made by `operation`, which holds the shard set's lock around it.

    `found_unsettled`: the runs of all shards or none that had not ended, and were finished before this one.
    """

    def __init__(
        self,
        fleet: FleetConfig,
        kind: str,
        *,
        control: psycopg.Connection[Any],
        ledger: Ledger,
        stop: StopRequest,
        on_event: Listener,
        adopts: int | None = None,
        found_unsettled: Sequence[int] = (),
    ) -> None:
        self.fleet = fleet
        self.kind = kind
        self.tell = on_event
        self.ledger = ledger
        self.control = control
        self.stop = stop
        self.found_unsettled = found_unsettled
        self.run: int | None = None
        self._adopts = adopts
        self._earlier: dict[str, ShardResult] = {}
        self.results: dict[str, ShardResult] = {}
        self.stopped: str | None = None
        self.note: str | None = None
        self._target: str | None = None
        self._ledger_fault: str | None = None
        self._fan_out: FanOut | None = None
        self._unwritten: dict[str, ShardResult] = {}
        self._written_at = 0.0

    def begin(
        self,
        *,
        target: str | None,
        plan: Mapping[str, Any],
        todo: Iterable[ShardResult],
        settled: Iterable[ShardResult],
        undoes: int | None = None,
        is_atomic: bool = False,
    ) -> None:
        """The run stands in the ledger: `settled` shards with their results, `todo` as not tried yet."""
        if self._adopts is not None:
            self._earlier = {result.shard: result for result in self.ledger.results(self._adopts)}
        todo, settled = ([self._since_the_first_try(result) for result in each] for each in (todo, settled))
        self.results = {result.shard: result for result in (*todo, *settled)}
        self._target = target
        results = list(self.results.values())
        if self._adopts is None:
            self.run = self.ledger.begin(
                self.kind, target=target, plan=plan, results=results, undoes=undoes, is_atomic=is_atomic
            )
        else:
            self.run = self._adopts
            self.ledger.adopt(self.run, target=target, plan=plan, results=results)
        self.tell(RunStarted(self.kind, self.run, target, len(self.results), len(todo)))
        for result in settled:
            self.tell(ShardFinished(result))

    def _since_the_first_try(self, result: ShardResult) -> ShardResult:
        """In a durable run that is carried on: what the shard was at the very beginning, and whether it has moved."""
        earlier = self._earlier.get(result.shard)
        if earlier is None or earlier.before is None or earlier.before == result.before:
            return result
        moved = result.status is Status.UP_TO_DATE
        attempts = max(1, earlier.attempts, result.attempts)
        status = Status.MIGRATED if moved else result.status
        return result.with_note(before=earlier.before, status=status, attempts=attempts)

    def fan_out(
        self,
        waves: Sequence[Sequence[Job]],
        *,
        limits: FanOutLimits,
        max_failures: int | None,
        result_of: Callable[[JobResult], ShardResult],
        failed_already: int = 0,
        verbose: bool = False,
    ) -> None:
        """Every job has ended and its shard's result is in the ledger."""
        fan_out = self._fan_out = FanOut(
            name=f"{self.kind} {self.run}",
            limits=limits,
            stop=self.stop,
            on_result=lambda ended: self.take(result_of(ended)).has_failed,
            on_round=self.write_in_time,
            on_event=self.tell,
            max_failures=max_failures,
            verbose=verbose,
        )
        if failed_already:
            fan_out.fail(failed_already, f"{failed_already} of the shards can't take part")
        try:
            fan_out.run(waves)
        finally:
            self.write()
        self.stopped = self.stopped or fan_out.stopped

    def record(self, result: ShardResult) -> ShardResult:
        """The shard's result is this one, here and in the ledger; gives it back.

        Where the ledger can't be written nothing new is started: what can't be recorded is not done.
        """
        self.take(result)
        self.write()
        return result

    def take(self, result: ShardResult) -> ShardResult:
        """The shard's result is this one, here and with the next `write` in the ledger; gives it back."""
        result = self.results[result.shard] = self._unwritten[result.shard] = self._since_the_first_try(result)
        self.tell(ShardFinished(result))
        return result

    def write_in_time(self) -> None:
        """`write`, unless that was a moment ago: results that come close together are written together."""
        if time.monotonic() - self._written_at >= _TOGETHER:
            self.write()

    def write(self) -> None:
        """The ledger has every result, or its fault is known and nothing new is started."""
        if not self._unwritten:
            return
        try:
            self.ledger.write(self.run or 0, list(self._unwritten.values()))
        except psycopg.Error as error:
            self._ledger_fault = explain(error).reason
            if self._fan_out is not None:
                self._fan_out.end(f"the ledger can't be written: {self._ledger_fault}")
        self._unwritten.clear()
        self._written_at = time.monotonic()

    def settle_decision(self, *, look_again: bool = False) -> None:
        """The ledger knows that nothing of this run is prepared any more; else the next operation looks again.

        `look_again`: the next operations do so all the same, for a day.
        """
        try:
            self.ledger.settle(self.run or 0, taken_over=look_again)
        except psycopg.Error as error:
            self._ledger_fault = explain(error).reason

    def finish(
        self, *, refused: bool = False, completed: bool = False, extra: Mapping[str, Any] | None = None
    ) -> RunResult:
        """The run is closed in the ledger; gives what the command reports.

        `completed`: it did all it had to do, even if it was asked to stop meanwhile.
        """
        extra = dict(extra or {})
        self._write_what_is_missing()
        if self._ledger_fault is not None:
            extra["ledger"] = f"the ledger lacks the end of this run: {self._ledger_fault}"
        result = RunResult(
            kind=self.kind,
            run=self.run,
            target=self._target,
            results=tuple(self.results[shard.name] for shard in self.fleet.shards if shard.name in self.results),
            stopped=self.stopped,
            refused=refused or self._ledger_fault is not None,
            signal=None if completed else self.stop.signal,
            note=self.note,
            extra=extra,
        )
        self._close(result)
        self.tell(RunFinished(result))
        return result

    def _write_what_is_missing(self) -> None:
        """The ledger may be back; a run that is closed has all its results there."""
        if self._ledger_fault is None:
            return
        try:
            self.ledger.write(self.run or 0, list(self.results.values()))
            self._ledger_fault = None
        except psycopg.Error as error:
            self._ledger_fault = explain(error).reason

    def _close(self, result: RunResult) -> None:
        if self._adopts is not None:
            return  # a durable run is closed by whoever has it in hand
        if self._ledger_fault is not None:
            return  # the next operation finds the run open and marks it abandoned
        try:
            note = "; ".join(filter(None, (self.stopped, self.note))) or None
            interrupted = self.stop.is_asked and result.exit_code != 0
            self.ledger.end(self.run or 0, exit_code=result.exit_code, note=note, interrupted=interrupted)
        except psycopg.Error:
            return  # as above


def session_of(kind: str, run: int | None) -> str:
    """The application_name of the session that holds the set's lock; by it a durable run's successor finds it."""
    return f"shardwright {kind} ({operator() if run is None else f'run {run}'})"


@contextmanager
def operation(
    fleet: FleetConfig, kind: str, *, stop: StopRequest | None = None, on_event: Listener, adopts: int | None = None
) -> Iterator[Operation]:
    """An operation that is alone on its shard set; `adopts`: the number of the durable run that it is.

    Raises RolloutUnderWay, ControlUnavailable, ControlTooNew.
    """
    with (
        spans_of_operation(kind) as trace,
        open_control(fleet.control, application_name=session_of(kind, adopts)) as control,
    ):
        on_event = each_of(on_event, logging_listener(kind), trace)
        ledger = Ledger(control, fleet.shard_set)
        key = set_lock(fleet.shard_set)
        if not locks.acquire(control, key):
            who = _describe(ledger.running(), locks.holder(control, key))
            raise errors.RolloutUnderWay(shard_set=fleet.shard_set, holder=who)
        require_written_down(control, fleet)
        record_shards(control, fleet.shard_set, fleet.shards, fleet.green)
        stop = stop or StopRequest()
        found = settle_left_over(fleet, ledger, stop=stop, on_event=on_event)
        op = Operation(
            fleet,
            kind,
            control=control,
            ledger=ledger,
            stop=stop,
            on_event=on_event,
            adopts=adopts,
            found_unsettled=found,
        )
        try:
            yield op
        except BaseException as error:
            if op.run is not None:
                with suppress(psycopg.Error):
                    ledger.abandon(f"it ended with {type(error).__name__}; the shards say how far it came")
            raise


def _describe(run: Run | None, holder: locks.Holder | None) -> str:
    if holder is None:
        return "it has just ended"
    if run is None or run.started_at < holder.since:  # that run died, and the holder has not begun its own yet
        return str(holder)
    return (
        f"run {run.id}: {run.kind} to {run.target or 'the end'}, started by {run.started_by} on {run.started_on} "
        f"(process {run.process}), since {run.started_at:%Y-%m-%d %H:%M:%S %Z}"
    )


def not_tried(shard: str, before: tuple[str, ...] | None) -> ShardResult:
    """The result of a shard whose turn has not come."""
    return ShardResult(shard, Status.NOT_TRIED, before, before)
