"""The tables of durable runs: the queue, whose hands a run is in, its steps, events and wishes. Nobody else names them.

A run that is running has a number, its runner, that grows whenever it changes hands. Every word about it is guarded by
that number in the same statement: a process that slept while another took over changes nothing any more.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import psycopg

from shardwright import errors
from shardwright.pg.locks import CLASS
from shardwright.pg.queries import load
from shardwright.runs.kinds import Kind, Progress, Step
from shardwright.runs.store import operator

PROTOCOL = 1  # of what these tables mean; a run made under a newer one is left to newer workers
QUEUE_LOCK = 3
RESTING = ("waiting", "paused", "parked")
OPEN = ("queued", "running", *RESTING)
_queries = load(__package__, "board.sql")


class Superseded(Exception):
    """The run is in other hands by now: whoever meets this has no say in it any more."""


class Undecided(Exception):
    """The control database went away over a commit: only it knows what became of that."""


@dataclass(frozen=True)
class StepRecord:
    """One step of a run as it stands: `to do`, `begun`, `done` or `undone`."""

    name: str
    state: str
    is_final: bool
    approval: str | None
    approved_by: str | None
    attempts: int
    result: Mapping[str, Any]
    begun_at: datetime | None
    ended_at: datetime | None

    def as_dict(self) -> dict[str, Any]:
        """The step as `--json` prints it."""
        moments = {
            name: at.isoformat() if at else None
            for name, at in (("begun_at", self.begun_at), ("ended_at", self.ended_at))
        }
        return {**asdict(self), "result": dict(self.result), **moments}


@dataclass(frozen=True)
class DurableRun:
    """A durable run as it stands. `silent` is for how many seconds its worker has not been heard of."""

    id: int
    kind: str
    shard_set: str
    state: str
    direction: str
    target: str | None
    plan: Mapping[str, Any]
    hosts: tuple[str, ...]
    protocol: int
    runner: int
    worker: str | None
    takeovers: int
    wish: str | None
    waits_for: str | None
    progress: Mapping[str, Any] | None
    note: str | None
    silent: float | None

    @property
    def is_open(self) -> bool:
        """Whether anything may still come of it."""
        return self.state in OPEN

    @property
    def told(self) -> str:
        """The state in a word for people: a run that goes back is undoing."""
        return "undoing" if self.state == "running" and self.direction == "back" else self.state

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints beside the ledger's line."""
        fields = ("direction", "runner", "worker", "takeovers", "wish", "waits_for", "progress", "protocol")
        return {"hosts": list(self.hosts), **{name: getattr(self, name) for name in fields}}


@dataclass(frozen=True)
class Beat:
    """A run that is still in the worker's hands, and what an operator wishes of it."""

    run: int
    runner: int
    wish: str | None


@dataclass(frozen=True)
class WorkerSeen:
    """A process that takes runs; `silent` is for how many seconds it has not been heard of."""

    id: str
    host: str
    process: int
    at_once: int
    started_at: datetime
    silent: float


@dataclass(frozen=True)
class RunEvent:
    """Something that happened in a run: kind is state, step, progress or message."""

    id: int
    at: datetime
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Places:
    """How many runs may be running: at once in all, and on each host."""

    at_once: int
    per_host: int


class Board:
    """The durable runs of one shard set, over a connection to the control database in autocommit."""

    def __init__(self, connection: psycopg.Connection[Any], shard_set: str) -> None:
        self._connection = connection
        self._shard_set = shard_set

    # --- making and reading -------------------------------------------------------------------

    def create(
        self,
        kind: Kind,
        plan: Mapping[str, Any],
        *,
        target: str | None = None,
        hosts: Sequence[str] = (),
        pause: bool = False,
    ) -> int:
        """A new run stands in the queue, its plan and the names of its steps frozen; gives its number.

        `pause`: it waits for an operator before each final step.
        """
        with self._connection.transaction():
            row = self._connection.execute(
                _queries["create"],
                {
                    "kind": kind.name,
                    "shard_set": self._shard_set,
                    "target": target,
                    "plan": _json(plan),
                    "hosts": sorted(set(hosts)),
                    "protocol": PROTOCOL,
                    "started_by": operator(),
                    "started_on": socket.gethostname(),
                    "process": os.getpid(),
                },
            ).fetchone()
            assert row is not None  # noqa: S101 INSERT … RETURNING gives a row
            run = int(row[0])
            self._connection.execute(
                _queries["create_steps"],
                {
                    "run": run,
                    "names": [step.name for step in kind.steps],
                    "finals": [step.final for step in kind.steps],
                    "approvals": [_approval(step, pause=pause) for step in kind.steps],
                },
            )
            self._note(run, "state", {"state": "queued"})
        return run

    def run(self, run: int) -> DurableRun | None:
        """The run of that number; None where there is none, or it has no steps (a rollout in the calling process)."""
        row = self._connection.execute(_queries["durable_run"], {"run": run}).fetchone()
        if row is None:
            return None
        values: list[Any] = [tuple(value) if isinstance(value, list) else value for value in row]
        return DurableRun(*values)

    def steps(self, run: int) -> list[StepRecord]:
        """Its steps in their order."""
        return [StepRecord(*row) for row in self._connection.execute(_queries["steps"], {"run": run})]

    def events(self, run: int, *, after: int = 0) -> list[RunEvent]:
        """What has happened since the event `after`, a thousand at most."""
        rows = self._connection.execute(_queries["events"], {"run": run, "after": after})
        return [RunEvent(*row) for row in rows]

    def recent(self, run: int, *, most: int = 200) -> list[RunEvent]:
        """The newest of what has happened, oldest first, without how far it was."""
        rows = self._connection.execute(_queries["recent_events"], {"run": run, "most": most}).fetchall()
        return [RunEvent(*row) for row in reversed(rows)]

    def course(self, run: int, *, points: int = 400) -> list[tuple[datetime, Mapping[str, Any]]]:
        """How far the run was at moments spread evenly over its time, oldest first, twice `points` at most."""
        return list(self._connection.execute(_queries["course"], {"run": run, "points": points}))

    def samples(self, run: int) -> list[tuple[float, Mapping[str, Any]]]:
        """The newest moments (in seconds) at which progress was told, oldest first."""
        rows = self._connection.execute(_queries["progress_samples"], {"run": run}).fetchall()
        return [(row[0], row[1]) for row in reversed(rows)]

    def workers(self) -> list[WorkerSeen]:
        """The processes that take runs of this set, or did an hour ago and have not said that they leave."""
        return [
            WorkerSeen(*row) for row in self._connection.execute(_queries["workers"], {"shard_set": self._shard_set})
        ]

    # --- the queue ----------------------------------------------------------------------------

    def admit(self, places: Places, *, only: int | None = None) -> tuple[int, int] | None:
        """The next run for which there is a place is running, in nobody's hands yet: its number and its runner's."""
        with self._connection.transaction():
            self._lock_queue()
            values = {"shard_set": self._shard_set, "only": only, "protocol": PROTOCOL, **asdict(places)}
            row = self._connection.execute(_queries["admissible"], values).fetchone()
            if row is None:
                return None
            admitted = self._connection.execute(_queries["admit"], {"run": row[0]}).fetchone()
            if admitted is None:
                return None  # an operator was faster
            self._note_arrow(row[0], "queued", "running")
        return row[0], admitted[0]

    def wake(self) -> list[int]:
        """Runs that have waited as long as they were to are in the queue, their step approved by the clock; which."""
        woken = []
        with self._connection.transaction():
            for run, step in self._connection.execute(_queries["due"], {"shard_set": self._shard_set}).fetchall():
                self._connection.execute(_queries["approve"], {"run": run, "step": step, "by": "the clock"})
                self._operate(run, "queued", f"it was to wait for {step} until now")
                woken.append(run)
        return woken

    def is_promised(self, run: int, runner: int) -> bool:
        """Whether the run was admitted under that number, and nobody has taken it yet."""
        values = {"run": run, "runner": runner}
        return self._connection.execute(_queries["is_promised"], values).fetchone() is not None

    def take(self, run: int, runner: int, worker: str) -> bool:
        """Whether the run is in this worker's hands: the first that asks has it, and may ask again."""
        values = {"run": run, "runner": runner, "worker": worker, "shard_set": self._shard_set}
        return self._connection.execute(_queries["take"], values).fetchone() is not None

    def beat(self, worker: str, hands: Sequence[tuple[int, int]]) -> list[Beat]:
        """Who carries these runs, each as that runner, is alive, by the database's clock; gives those still in hand."""
        values = {"worker": worker, "runs": [run for run, _ in hands], "runners": [runner for _, runner in hands]}
        return [Beat(*row) for row in self._connection.execute(_queries["beat"], values)]

    def beat_worker(self, worker: str, *, at_once: int) -> None:
        """The list of workers has this process."""
        values = {
            "worker": worker,
            "shard_set": self._shard_set,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "at_once": at_once,
        }
        self._connection.execute(_queries["beat_worker"], values)

    def leave(self, worker: str) -> None:
        """The worker takes nothing any more."""
        self._connection.execute(_queries["leave"], {"worker": worker})

    def take_over(
        self,
        time_to_live: float,
        *,
        most: int,
        discard: Callable[[int, int], None] = lambda *_: None,
        only: int | None = None,
    ) -> list[int]:
        """Runs whose worker has been silent for longer (seconds) are in the queue again, or parked after `most` times.

        Gives their numbers; with `only` no other run is looked at. `discard` is told of each run and runner that is
        given up, before anybody else can begin.
        """
        taken = []
        with self._connection.transaction():
            self._lock_queue()
            values = {"shard_set": self._shard_set, "time_to_live": time_to_live, "only": only}
            for run, runner, worker, takeovers in self._connection.execute(_queries["lost"], values).fetchall():
                discard(run, runner)
                if worker is not None and takeovers >= most:
                    note = f"{takeovers + 1} workers died over it; the last was {worker}"
                    self._leave_running(run, runner, "parked", note)
                else:
                    self._connection.execute(_queries["take_over"], {"run": run, "runner": runner})
                    self._note(run, "state", {"state": "queued", "reason": f"{worker or 'no worker'} is silent"})
                taken.append(run)
        return taken

    def _lock_queue(self) -> None:
        self._connection.execute(_queries["lock_queue"], {"class": CLASS, "key": QUEUE_LOCK})

    # --- by whoever has it in hand ------------------------------------------------------------

    def leave_running(
        self,
        run: int,
        runner: int,
        state: str,
        note: str | None = None,
        *,
        waits_for: str | None = None,
        at_most: float | None = None,
        exit_code: int | None = None,
    ) -> None:
        """The run is in nobody's hands, in `state`; a wish to cancel that nobody has heard yet comes before a rest.

        One that waits does so for `at_most` seconds, if that is given. Raises Superseded.
        """
        with self._connection.transaction():
            self._leave_running(run, runner, state, note, waits_for=waits_for, at_most=at_most, exit_code=exit_code)

    def _leave_running(
        self,
        run: int,
        runner: int,
        state: str,
        note: str | None,
        *,
        waits_for: str | None = None,
        at_most: float | None = None,
        exit_code: int | None = None,
    ) -> None:
        values = {
            "run": run, "runner": runner, "state": state, "note": note, "waits_for": waits_for, "at_most": at_most,
            "exit_code": exit_code,
        }  # fmt: skip
        wish = self._require_row(_queries["leave_running"], values)
        self._note_arrow(run, "running", state, note)
        if state in RESTING and wish == "cancel":
            with suppress(errors.TooLate):
                self.cancel(run)
        if state != "queued":
            self._connection.execute(_queries["forget_wish"], {"run": run})

    def hold(self, run: int, runner: int) -> None:
        """Within the caller's transaction the run stays in these hands. Raises Superseded."""
        self._require_row(_queries["hold_as"], {"run": run, "runner": runner})

    @contextmanager
    def deciding(self, run: int, runner: int) -> Iterator[None]:
        """A transaction with the run in these hands. What fails before its commit was sent has not been done.

        Raises Superseded; Undecided where the commit was sent and its answer lost.
        """
        is_sent = False
        try:
            with self._connection.transaction():
                self.hold(run, runner)
                yield
                is_sent = True
        except psycopg.OperationalError as error:
            if is_sent:
                raise Undecided from error
            raise

    def turn_back(self, run: int, runner: int) -> bool:
        """Whether the run goes back from here on; False where a final step was begun. Raises Superseded."""
        with self._connection.transaction():
            is_back: bool = self._require_row(_queries["turn_back"], {"run": run, "runner": runner}) == "back"
            text = "going back" if is_back else "too late to go back: a final step was begun"
            self._note(run, "message", {"text": text})
        return is_back

    def write_step(
        self, run: int, runner: int, step: str, state: str, result: Mapping[str, Any] | None = None
    ) -> str | None:
        """The step is in `state`, with what it gave; gives what an operator wishes of the run. Raises Superseded."""
        values = {
            "run": run, "runner": runner, "step": step, "state": state,
            "result": None if result is None else _json(result),
        }  # fmt: skip
        with self._connection.transaction():
            wish: str | None = self._require_row(_queries["write_step"], values)
            self._note(run, "step", {"step": step, "state": state})
        return wish

    def write_progress(self, run: int, runner: int, progress: Progress) -> None:
        """The run is that far. Raises Superseded."""
        told = json.dumps(asdict(progress))
        with self._connection.transaction():
            self._require_row(_queries["write_progress"], {"run": run, "runner": runner, "progress": told})
            self._note(run, "progress", asdict(progress))

    def tell(self, run: int, text: str) -> None:
        """A line for whoever follows the run."""
        self._note(run, "message", {"text": text})

    def _require_row(self, query: Any, values: Mapping[str, Any]) -> Any:
        row = self._connection.execute(query, values).fetchone()
        if row is None:
            raise Superseded(f"run {values['run']} is not in the hands of runner {values['runner']} any more")
        return row[0]

    # --- by operators -------------------------------------------------------------------------

    def cancel(self, run: int) -> None:
        """The run goes back as soon as it can: all that was done is undone. Raises NoSuchRun, NotNow, TooLate."""
        with self._connection.transaction():
            found, steps = self._require(run, "cancel", OPEN), self.steps(run)
            if final := next((step.name for step in steps if step.is_final and step.state in ("begun", "done")), None):
                raise errors.TooLate(run=run, step=final)
            if found.state == "running":
                self._wish(run, "cancel")
            elif found.state == "queued" and all(step.state == "to do" for step in steps):
                self._operate(run, "cancelled", f"{operator()} cancelled it")
            else:
                self._operate(run, "queued", f"{operator()} cancelled it", back=True)

    def take_back(self, run: int) -> None:
        """The run goes back; where it does already and rests, it goes on with that. Raises TooLate."""
        found = self.run(run)
        if found is None or found.direction != "back":
            self.cancel(run)
        elif found.state in ("paused", "parked"):
            self.resume(run)

    def pause(self, run: int) -> None:
        """The run rests after what it is doing. Raises NoSuchRun, NotNow."""
        with self._connection.transaction():
            if self._require(run, "pause", ("queued", "running")).state == "running":
                self._wish(run, "pause")
            else:
                self._operate(run, "paused", f"{operator()} paused it")

    def resume(self, run: int) -> None:
        """A run that rests or is parked is in the queue again. Raises NoSuchRun, NotNow."""
        with self._connection.transaction():
            self._require(run, "resume", ("paused", "parked"))
            self._operate(run, "queued", f"{operator()} resumed it")

    def approve(self, run: int) -> str:
        """The step that waits may begin, with who said so; gives its name. Raises NoSuchRun, NotNow."""
        with self._connection.transaction():
            step = self._require(run, "approve", ("waiting",)).waits_for or ""
            self._connection.execute(_queries["approve"], {"run": run, "step": step, "by": operator()})
            self._operate(run, "queued", f"{operator()} approved {step}")
        return step

    def _wish(self, run: int, wish: str) -> None:
        self._connection.execute(_queries["wish"], {"run": run, "wish": wish})
        self._note(run, "message", {"text": f"{operator()} wants to {wish} it"})

    def _require(self, run: int, action: str, states: Sequence[str]) -> DurableRun:
        """The run, in one of these states and held there until the transaction ends."""
        self._connection.execute(_queries["hold"], {"run": run})
        found = self.run(run)
        if found is None:
            raise errors.NoSuchRun(run=run)
        if found.state not in states:
            raise errors.NotNow(run=run, action=action, state=found.told)
        return found

    def _operate(self, run: int, state: str, note: str, *, back: bool = False) -> None:
        self._connection.execute(_queries["operate"], {"run": run, "state": state, "back": back, "note": note})
        self._note(run, "state", {"state": state, "reason": note})

    # --- events -------------------------------------------------------------------------------

    def _note_arrow(self, run: int, before: str, after: str, note: str | None = None) -> None:
        row = self._connection.execute(_queries["arrow"], {"before": before, "after": after}).fetchone()
        self._note(run, "state", {"state": after, "reason": note or (row[0] if row else "")})

    def _note(self, run: int, kind: str, data: Mapping[str, Any]) -> None:
        self._connection.execute(_queries["add_event"], {"run": run, "kind": kind, "data": json.dumps(data)})


def _approval(step: Step, *, pause: bool) -> str | None:
    return step.approval or (f"begin {step.name}?" if pause and step.final else None)


def _json(value: Mapping[str, Any]) -> str:
    """Raises ValueError for what PostgreSQL can't hold, which would else look like a database that is not well."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    text.encode()
    if "\\u0000" in text:
        raise ValueError("a plan or a result can't hold the character NUL")
    return text
