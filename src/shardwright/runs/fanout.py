"""One job on each of many shards: waves, budget, retries, time limits, and the end asked for half way."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from multiprocessing.connection import Connection, wait
from typing import Any

import psycopg

from shardwright import errors
from shardwright.config import LimitsSection, format_duration
from shardwright.pg import activity, retry
from shardwright.pg.connect import connect, milliseconds
from shardwright.runs.budget import HostBudget
from shardwright.runs.events import Listener, ShardProgress, ShardStarted, ShardWaiting, Stopping, WaveStarted, ignore
from shardwright.runs.pool import WorkerProcess
from shardwright.runs.protocol import Answer, Begun, Order, Progress, Reply
from shardwright.runs.stopping import StopRequest
from shardwright.runs.threads import WorkerThread
from shardwright.shard import Shard

SHARD_LOCK = 1  # the advisory lock that every operation on a shard takes, in the shard's own database
_TICK = 0.2
_REPEAT_CANCEL = 1.0
_HARD_AFTER = 5.0
_KILL_AFTER = 10.0


@dataclass(frozen=True)
class Job:
    """What is to be done on one shard: `task` is `module:function`.

    It is run in a worker process, or where `in_thread` in a thread of our own: only for tasks that run nobody's code.
    `alone`: the session that holds the shard's lock does the work itself.
    """

    shard: Shard
    task: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    in_thread: bool = False
    alone: bool = False

    @property
    def connections(self) -> int:
        """How many it has on its host at most: its own, one that asks about it; user code's, where there is any."""
        return 2 if self.alone else 3


@dataclass(frozen=True)
class JobResult:
    """How a job ended. `attempts` is 0 where it was never begun; `lost` where its worker died over it."""

    job: Job
    reply: Reply
    seconds: float = 0.0
    attempts: int = 0
    lost: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether the task returned a value."""
        return self.attempts > 0 and self.reply.reason is None


@dataclass(frozen=True)
class FanOutLimits:
    """What a fan-out may take: workers, connections per host, time per shard, tries and waits for locks."""

    jobs: int
    connections_per_host: int
    lock_timeout: timedelta
    lock_tries: int
    statement_timeout: timedelta
    timeout: timedelta | None = None
    senders: int = 16

    def at_once(self, *, in_thread: bool) -> int:
        """How many jobs of this kind may be in work at once."""
        return self.senders if in_thread else self.jobs

    @classmethod
    def from_config(
        cls,
        limits: LimitsSection,
        *,
        jobs: int | None = None,
        timeout: timedelta | None = None,
        lock_timeout: timedelta | None = None,
    ) -> FanOutLimits:
        """The configured limits, with what the caller wants otherwise."""
        return cls(
            jobs=jobs or default_jobs(),
            connections_per_host=limits.connections_per_host,
            lock_timeout=lock_timeout or limits.lock_timeout,
            lock_tries=limits.lock_tries,
            statement_timeout=limits.statement_timeout,
            timeout=timeout,
            senders=jobs or cls.senders,
        )


def default_jobs() -> int:
    """$SHARDWRIGHT_JOBS, else two workers a processor, 4 to 16: they wait for servers about as long as they work.

    Raises UsageError where the variable is no number from 1.
    """
    wanted = os.environ.get("SHARDWRIGHT_JOBS")
    if wanted is None:
        return min(16, max(4, 2 * (os.cpu_count() or 1)))
    if not wanted.isdecimal() or int(wanted) < 1:
        raise errors.UsageError(reason=f"SHARDWRIGHT_JOBS={wanted!r} is not a number from 1")
    return int(wanted)


Worker = WorkerProcess | WorkerThread
_Place = tuple[str, bool, int]  # on a host, in a thread or not, for so many connections


@dataclass(eq=False)
class _Pending:
    job: Job
    attempt: int = 1
    ready_at: float = 0.0
    seconds: float = 0.0
    reply: Reply | None = None

    @cached_property
    def place(self) -> _Place:
        """What it waits for."""
        return self.job.shard.host, self.job.in_thread, self.job.connections


@dataclass
class _Running:
    worker: Worker
    pending: _Pending
    started: float
    deadline: float | None = None  # none until the worker has begun
    ending: str | None = None
    ending_since: float = 0.0
    asked_at: float = 0.0


class FanOut:
    """Runs jobs wave by wave; `on_result` is called in this thread for each job as it ends, and says whether it failed.

    `on_round` is called between the ends of jobs and the starts of the next, at least every 0.2 s.
    After more than `max_failures` failures (None: never) nothing new is started and what runs is finished; after
    `stop` was asked nothing new is started and what runs is cancelled on its server.
    """

    def __init__(
        self,
        *,
        name: str,
        limits: FanOutLimits,
        stop: StopRequest,
        on_result: Callable[[JobResult], bool],
        on_event: Listener,
        on_round: Callable[[], None] = lambda: None,
        max_failures: int | None = 0,
        verbose: bool = False,
    ) -> None:
        self.stopped: str | None = None
        self._name = name
        self._limits = limits
        self._stop = stop
        self._on_result = on_result
        self._on_event = on_event
        self._on_round = on_round
        self._max_failures = max_failures
        self._verbose = verbose
        self._failures = 0
        self._budget = HostBudget(limits.connections_per_host)
        self._queue: list[_Pending] = []
        self._waiting: Counter[_Place] = Counter()  # how many of the queue wait for each place
        self._running: dict[Connection[Any, Any], _Running] = {}
        self._idle: dict[bool, list[Worker]] = {False: [], True: []}
        self._busy: Counter[bool] = Counter()  # as _idle by kind: in a thread, or not

    def run(self, waves: Sequence[Sequence[Job]]) -> None:
        """Every job has ended and was handed to `on_result`, those never begun too; no worker is left."""
        waves = [wave for wave in waves if wave]
        try:
            for number, wave in enumerate(waves, start=1):
                if len(waves) > 1 and not self._is_over:
                    self._on_event(WaveStarted(number, len(waves), len(wave)))
                self._run_wave(wave)
        finally:
            self._close()

    def fail(self, count: int, reason: str) -> None:
        """`count` shards failed before any job; counted as failures of jobs are."""
        self._failures += count
        self._stop_if_too_many(reason)

    def end(self, reason: str) -> None:
        """Nothing new is started; what runs is finished."""
        if not self._is_over:
            self.stopped = reason
            self._on_event(Stopping(reason))

    @property
    def _is_over(self) -> bool:
        return self.stopped is not None

    def _run_wave(self, wave: Sequence[Job]) -> None:
        for job in wave:
            self._enqueue(_Pending(job))
        while True:
            self._obey_stop()
            if not self._is_over:
                self._start_what_may_start()
            if not self._running and (self._is_over or not self._queue):
                break
            self._listen()
            self._on_round()
            self._end_what_takes_too_long()
        for pending in self._queue:
            self._finish(pending, pending.reply or Reply(reason=None), begun=pending.attempt - 1)
        self._queue.clear()
        self._waiting.clear()

    # --- starting -----------------------------------------------------------------------------

    def _start_what_may_start(self) -> None:
        """In the queue's order; not looked through to its end once nothing in it has a place."""
        now = time.monotonic()
        places = set(+self._waiting)
        for pending in list(self._queue):
            if not places:
                return
            if pending.place not in places or pending.ready_at > now:
                continue
            if self._is_full(pending.job.in_thread) or not self._budget.take(
                pending.job.shard.host, pending.job.connections
            ):
                places.discard(pending.place)
                continue
            self._queue.remove(pending)
            self._waiting[pending.place] -= 1
            self._begin(pending, now)

    def _enqueue(self, pending: _Pending) -> None:
        self._queue.append(pending)
        self._waiting[pending.place] += 1

    def _is_full(self, kind: bool) -> bool:
        return self._busy[kind] >= self._limits.at_once(in_thread=kind)

    def _worker(self, job: Job) -> Worker:
        if idle := self._idle[job.in_thread]:
            return idle.pop()
        return WorkerThread() if job.in_thread else WorkerProcess(verbose=self._verbose)

    def _begin(self, pending: _Pending, now: float) -> None:
        worker = self._worker(pending.job)
        self._running[worker.channel] = _Running(worker, pending, now)
        self._busy[pending.job.in_thread] += 1
        self._on_event(ShardStarted(pending.job.shard.name, pending.attempt))
        worker.order(self._order(pending))

    def _order(self, pending: _Pending) -> Order:
        statement_timeout = min(self._limits.statement_timeout, self._limits.timeout or self._limits.statement_timeout)
        return Order(
            shard=pending.job.shard,
            task=pending.job.task,
            payload=pending.job.payload,
            application_name=self._application_name(pending.job.shard),
            lock=SHARD_LOCK,
            lock_timeout=milliseconds(retry.lock_timeout(self._limits.lock_timeout, pending.attempt)),
            statement_timeout=milliseconds(statement_timeout),
            attempt=pending.attempt,
            alone=pending.job.alone,
        )

    def _application_name(self, shard: Shard) -> str:
        return f"shardwright {self._name} {shard.name}"

    # --- listening ----------------------------------------------------------------------------

    def _listen(self) -> None:
        if not self._running:
            time.sleep(_TICK / 4)  # every shard left waits for its next try
            return
        for channel in wait(list(self._running), timeout=_TICK):
            assert isinstance(channel, Connection)  # noqa: S101 nothing else is waited for
            running = self._running[channel]
            try:
                answer: Answer = channel.recv()
            except (EOFError, ConnectionResetError):
                self._lose(running)
                continue
            match answer:
                case Begun():
                    self._set_clock(running)
                case Progress(message):
                    self._on_event(ShardProgress(running.pending.job.shard.name, message))
                case Reply():
                    self._take_reply(running, answer)

    def _set_clock(self, running: _Running) -> None:
        running.started = time.monotonic()
        if self._limits.timeout is not None:
            left = self._limits.timeout.total_seconds() - running.pending.seconds
            running.deadline = running.started + max(0.0, left)

    def _take_reply(self, running: _Running, reply: Reply) -> None:
        pending = self._release(running)
        self._idle[pending.job.in_thread].append(running.worker)
        if reply.reason is not None and (ending := running.ending or self._overdue(running)):
            known = reply.reason if reply.reason.startswith(ending) else ending
            reply = replace(reply, reason=known, again=False)
        if reply.again and pending.attempt < self._limits.lock_tries and not self._is_over:
            self._put_back(pending, reply)
            return
        if reply.again and pending.attempt > 1:
            reply = replace(reply, reason=f"{reply.reason} (after {pending.attempt} tries)")
        self._finish(pending, reply, begun=pending.attempt)

    def _put_back(self, pending: _Pending, reply: Reply) -> None:
        seconds = retry.pause(pending.attempt).total_seconds()
        self._on_event(ShardWaiting(pending.job.shard.name, reply.reason or "", seconds))
        ready_at = time.monotonic() + seconds
        self._enqueue(replace(pending, attempt=pending.attempt + 1, ready_at=ready_at, reply=reply))

    def _lose(self, running: _Running) -> None:
        pending = self._release(running)
        words = running.worker.last_words()
        running.worker.close()
        self._terminate_sessions(pending.job.shard)
        reason = running.ending or f"its worker process ended unexpectedly ({words})"
        self._finish(pending, Reply(reason=reason), begun=pending.attempt, lost=True)

    def _terminate_sessions(self, shard: Shard) -> None:
        """Nothing of the dead worker goes on at the server, whether or not it noticed yet."""
        try:
            with connect(shard.url, application_name="shardwright clean-up", connect_timeout=3) as connection:
                activity.terminate(connection, self._application_name(shard)[:63])
        except psycopg.Error:
            return  # out of reach: client_connection_check_interval ends it

    def _release(self, running: _Running) -> _Pending:
        del self._running[running.worker.channel]
        self._busy[running.pending.job.in_thread] -= 1
        self._budget.give_back(running.pending.job.shard.host, running.pending.job.connections)
        running.pending.seconds += time.monotonic() - running.started
        return running.pending

    def _finish(self, pending: _Pending, reply: Reply, *, begun: int, lost: bool = False) -> None:
        result = JobResult(pending.job, reply, pending.seconds, begun, lost)
        if self._on_result(result):
            self._failures += 1
            self._stop_if_too_many(f"{pending.job.shard.name} failed")

    # --- ending -------------------------------------------------------------------------------

    def _stop_if_too_many(self, reason: str) -> None:
        if self._max_failures is not None and self._failures > self._max_failures:
            self.end(reason)

    def _obey_stop(self) -> None:
        if self._stop.reason is None:
            return
        self.end(self._stop.told)
        for running in self._running.values():
            self._ask_to_end(running, self._stop.told)

    def _end_what_takes_too_long(self) -> None:
        for running in list(self._running.values()):
            if reason := self._overdue(running):
                self._ask_to_end(running, reason)

    def _overdue(self, running: _Running) -> str | None:
        if running.deadline is None or self._limits.timeout is None or time.monotonic() < running.deadline:
            return None
        return f"took longer than {format_duration(self._limits.timeout)}"

    def _ask_to_end(self, running: _Running, reason: str) -> None:
        """Cancel on the server, again every second; then end the sessions; then kill the worker."""
        now = time.monotonic()
        if running.ending is None:
            running.ending, running.ending_since = reason, now
        patience = now - running.ending_since
        if patience > _KILL_AFTER or self._stop.times > 1:
            running.worker.kill()
        elif now - running.asked_at > _REPEAT_CANCEL:
            running.asked_at = now
            running.worker.cancel(running.ending, hard=patience > _HARD_AFTER)

    def _close(self) -> None:
        """No worker is left; what runs is ended on its server, where an exception has cut the run short."""
        for running in self._running.values():
            running.worker.cancel("given up", hard=True)
        idle = (*self._idle[False], *self._idle[True])
        for worker in (*idle, *(running.worker for running in self._running.values())):
            worker.close()


def run_all(
    name: str,
    waves: Sequence[Sequence[Job]],
    *,
    limits: FanOutLimits,
    stop: StopRequest,
    on_result: Callable[[JobResult], object] = lambda _: None,
    on_round: Callable[[], None] = lambda: None,
    max_failures: int | None = 0,
) -> list[JobResult]:
    """How every job ended, in the order of their ends; nobody is told of what happens on the way."""
    results: list[JobResult] = []

    def take(result: JobResult) -> bool:
        results.append(result)
        on_result(result)
        return not result.succeeded

    FanOut(
        name=name,
        limits=limits,
        stop=stop,
        on_result=take,
        on_event=ignore,
        on_round=on_round,
        max_failures=max_failures,
    ).run(waves)
    return results
