"""`migrate --atomic`: prepared on every shard, decided once in the ledger, then committed or rolled back everywhere.

Two-phase commit with presumed abort (Mohan, Lindsay and Obermarck, 1986): without a decision in the ledger it is none.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg

from shardwright.catalog.control import open_control
from shardwright.config import format_duration
from shardwright.errors import ControlError
from shardwright.migration.history import History
from shardwright.migration.operation import Operation
from shardwright.migration.plan import Plan, ShardPlan
from shardwright.migration.settle import GONE, RESUME, Settlement, session_name, settle, transaction_name
from shardwright.migration.ways import Ways
from shardwright.runs.events import Decided, Event, ShardPrepared, ShardStarted
from shardwright.runs.fanout import FanOut, FanOutLimits, Job, JobResult
from shardwright.runs.results import ShardResult, Status
from shardwright.runs.stopping import StopRequest
from shardwright.runs.store import Decision, Ledger
from shardwright.shard import Shard

_PERSEVERANCE = timedelta(seconds=30)  # with servers that went away after they had prepared
_PAUSE = 0.5


@dataclass(frozen=True)
class Outcome:
    """What was decided, and for how long locks were held on the shard where it was longest (seconds)."""

    decision: Decision | None
    prepared: int
    seconds: float = 0.0
    longest: str | None = None
    open: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_well(self) -> bool:
        """Whether all shards have it, and nothing is left prepared."""
        return self.decision == "commit" and not self.open

    @property
    def note(self) -> str:
        """In words, for the ledger and the last line."""
        held = f"; locks were held for at most {self.seconds:.2f} s ({self.longest})" if self.longest else ""
        if self.decision is None:
            return "all shards or none: nobody can say what was decided, for the ledger does not answer"
        if self.open:
            return f"all shards or none: {self.decision} decided, and still to be done on {', '.join(self.open)}"
        told = f"committed on {self.prepared} together" if self.decision == "commit" else "none was changed"
        return f"all shards or none: {told}{held}"

    def as_dict(self) -> dict[str, Any]:
        """The outcome as `--json` prints it."""
        return {
            "decision": self.decision,
            "prepared": self.prepared,
            "locks_held_seconds": round(self.seconds, 3),
            "longest_on": self.longest,
            "open": dict(self.open),
        }


def job(history: History, plan: ShardPlan, ways: Ways, transaction: str) -> Job:
    """What prepares this shard: sent from a thread where all of it can be, else run online in a worker process."""
    location = history.location
    facts = {"version_table": location.version_table, "before": plan.before, "transaction": transaction}
    segments = ways.segments_of(plan)
    if segments and all(segment.renderings for segment in segments):
        renderings = [rendering for segment in segments for rendering in segment.renderings]
        return Job(
            plan.shard, "shardwright.migration.send:prepare", {**facts, "renderings": renderings}, in_thread=True
        )
    online = {**facts, "location": location, "steps": plan.steps, "after": plan.after}
    return Job(plan.shard, "shardwright.migration.apply:prepare", online)


def all_or_none(
    op: Operation, history: History, plan: Plan, ways: Ways, *, limits: FanOutLimits, timeout: timedelta, verbose: bool
) -> Outcome:
    """Every shard of `plan` is at its new revision, or none is; the results of all are in the ledger.

    `timeout`: how long it may take from the first shard's begin until all are prepared; later means none.
    """
    return _AllOrNone(op, history, plan, limits, timeout).run(ways, verbose=verbose)


class _AllOrNone:
    def __init__(self, op: Operation, history: History, plan: Plan, limits: FanOutLimits, timeout: timedelta) -> None:
        self._op = op
        self._run = op.run or 0
        self._history = history
        self._plans = {each.shard.name: each for each in plan.todo}
        self._limits = limits
        self._timeout = timeout
        self._token = op.ledger.token()
        self._halt = StopRequest(within=op.stop)
        self._clock = threading.Timer(timeout.total_seconds(), self._take_too_long)
        self._clock.daemon = True
        self._jobs: dict[str, JobResult] = {}
        self._for_others: tuple[str, ...] = ()

    def run(self, ways: Ways, *, verbose: bool) -> Outcome:
        try:
            self._prepare(ways, verbose=verbose)
        except BaseException:
            self._give_up()
            raise
        ready = not self._halt.is_asked and all(ended.succeeded for ended in self._jobs.values())
        decision = self._decide("commit" if ready else "abort")
        if decision is None:
            return self._leave_in_doubt()
        self._op.tell(Decided(decision, len(self._begun)))
        return self._conclude(decision, self._settle(decision))

    @property
    def _begun(self) -> list[Shard]:
        """Shards that may have prepared something."""
        return [each.job.shard for each in self._jobs.values() if each.attempts]

    def _settle(self, decision: Decision) -> Settlement:
        try:
            return settle(
                self._op.fleet,
                self._token,
                self._run,
                self._begun,
                decision,
                patience=_PERSEVERANCE,
                stop=self._op.stop,
                on_settled=lambda ended: self._op.take(self._settled(ended, decision)),
                on_round=self._op.write_in_time,
            )
        finally:
            self._op.write()

    def _give_up(self) -> None:
        """Nothing is prepared any more, also where nobody heard that it was; told to nobody, who may be what failed."""
        decision = self._decide("abort") or "abort"
        shards = [each.shard for each in self._plans.values()]
        fleet, run, stop = self._op.fleet, self._run, self._op.stop
        if not settle(fleet, self._token, run, shards, decision, patience=timedelta(0), stop=stop).open:
            self._op.settle_decision(look_again=True)  # a worker that was not heard of may be late

    # --- preparing ----------------------------------------------------------------------------

    def _prepare(self, ways: Ways, *, verbose: bool) -> None:
        fan_out = FanOut(
            name=session_name(self._run),
            limits=self._limits,
            stop=self._halt,
            on_result=self._take,
            on_event=self._listen,
            verbose=verbose,
        )
        names = {
            each.shard.name: transaction_name(self._token, self._run, each.shard.name) for each in self._plans.values()
        }
        try:
            fan_out.run([[job(self._history, each, ways, names[each.shard.name]) for each in self._plans.values()]])
        finally:
            self._clock.cancel()

    def _take(self, ended: JobResult) -> bool:
        name = ended.job.shard.name
        self._jobs[name] = ended
        if ended.succeeded:
            self._op.tell(ShardPrepared(name))
        elif not self._halt.is_asked:
            self._halt.ask(f"{name} could not be prepared")  # the others hold locks: they are not waited for
            self._for_others = (self._halt.told,)
        return not ended.succeeded

    def _listen(self, event: Event) -> None:
        if isinstance(event, ShardStarted) and not self._clock.is_alive() and not self._clock.finished.is_set():
            self._clock.start()
        self._op.tell(event)

    def _take_too_long(self) -> None:
        self._halt.ask(f"not all shards were prepared within {format_duration(self._timeout)} (--atomic-timeout)")

    # --- deciding -----------------------------------------------------------------------------

    def _decide(self, wanted: Decision) -> Decision | None:
        """The decision that stands; None where the ledger, asked to commit, could not say so again and again.

        What this process does not commit nobody can, so it may roll back without being able to write that down.
        """
        try:
            return self._op.ledger.decide(self._run, wanted)
        except psycopg.Error:
            return "abort" if wanted == "abort" else self._decide_in_doubt()

    def _decide_in_doubt(self) -> Decision | None:
        """The word was sent and no answer came: asked again, the ledger gives the one that counts."""
        fleet, deadline = self._op.fleet, time.monotonic() + _PERSEVERANCE.total_seconds()
        while time.monotonic() < deadline and self._op.stop.times <= 1:
            try:
                with open_control(fleet.control, application_name=f"shardwright decide {self._run}") as control:
                    return Ledger(control, fleet.shard_set).decide(self._run, "commit")
            except (psycopg.Error, ControlError):
                time.sleep(_PAUSE)
        return None

    # --- what came of it ----------------------------------------------------------------------

    def _conclude(self, decision: Decision, settlement: Settlement) -> Outcome:
        held = {
            name: ended.reply.value["settled_at"] - self._jobs[name].reply.value["since"]
            for name, ended in settlement.ended.items()
            if ended.succeeded and "since" in self._jobs[name].reply.value
        }
        for name, reason in settlement.open.items():
            self._op.record(self._open(self._result(name), decision, reason))
        outcome = Outcome(
            decision,
            sum(ended.succeeded for ended in self._jobs.values()),
            max(held.values(), default=0.0),
            max(held, key=lambda name: held[name], default=None),
            settlement.open,
        )
        if not outcome.open:
            self._op.settle_decision()
        self._op.note = outcome.note
        if decision == "abort" and self._halt.is_asked:
            self._op.stopped = self._halt.told
        return outcome

    def _result(self, name: str) -> ShardResult:
        before, prepared = self._plans[name].before, self._jobs[name]
        return ShardResult(name, Status.NOT_TRIED, before, before, prepared.seconds, prepared.attempts)

    def _settled(self, ended: JobResult, decision: Decision) -> ShardResult:
        name, after = ended.job.shard.name, ended.reply.value["after"]
        result = self._result(name).with_note(after=after, seconds=self._jobs[name].seconds + ended.seconds)
        if decision == "abort":
            return _aborted(result, self._jobs[name], self._for_others)
        if self._history.ancestry(after) != self._history.ancestry(self._plans[name].after):
            return result.with_note(status=Status.FAILED, error=GONE)
        return result.with_note(status=Status.MIGRATED)

    def _open(self, result: ShardResult, decision: Decision | None, reason: str) -> ShardResult:
        what = {"commit": "is to be committed", "abort": "may still have to be rolled back", None: "waits"}[decision]
        error = f"what it has prepared {what}: {reason}"
        return result.with_note(status=Status.UNKNOWN, error=error, after=None, hint=RESUME.format(run=self._run))

    def _leave_in_doubt(self) -> Outcome:
        for name in self._jobs:
            self._op.record(self._open(self._result(name), None, "the control database does not say what was decided"))
        outcome = Outcome(None, len(self._jobs), open=dict.fromkeys(self._jobs, "in doubt"))
        self._op.note = outcome.note
        return outcome


def _aborted(result: ShardResult, prepared: JobResult, ended_for_others: tuple[str, ...]) -> ShardResult:
    """A shard of a rollout that came to nothing: its own failure, or undone since another one failed."""
    if prepared.succeeded:
        return result.with_note(status=Status.ROLLED_BACK)
    if prepared.reply.reason is None or prepared.reply.reason.startswith(ended_for_others):
        return result.with_note(status=Status.NOT_TRIED)
    return result.with_note(status=Status.FAILED, error=prepared.reply.reason, hint=prepared.reply.hint)
