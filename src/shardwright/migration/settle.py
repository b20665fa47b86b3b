"""Finishes prepared transactions by the decision that stands in the ledger: after a rollout, or after its death."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from shardwright.config import FleetConfig
from shardwright.migration.history import State
from shardwright.migration.versions import read_state
from shardwright.pg import activity, prepared
from shardwright.pg.connect import NAME_LENGTH
from shardwright.runs.events import Listener, Warned
from shardwright.runs.fanout import FanOutLimits, Job, JobResult, run_all
from shardwright.runs.results import ShardResult, Status
from shardwright.runs.session import ShardSession
from shardwright.runs.stopping import StopRequest
from shardwright.runs.store import Decision, Ledger, Unsettled
from shardwright.shard import Shard

_PAUSE = 0.5
RESUME = "shardwright runs resume {run}"


def transaction_name(token: str, run: int, shard: str) -> str:
    """What a shard's prepared transaction is called: unique on a server that several fleets share."""
    return f"shardwright_{token}_{run}_{shard}"


def session_name(run: int) -> str:
    """The middle of the application_name of sessions that prepare for `run`."""
    return f"migrate {run}"


def settle_shard(session: ShardSession) -> Mapping[str, Any]:
    """The shard's prepared transaction is finished by the payload's `decision`; gives the shard's state afterwards.

    First nobody is left who could still prepare: the shard's lock is ours, and sessions of a process that died are
    ended. One that is finished already stays as it is.
    """
    activity.terminate(session.watch, session.payload["sessions"])
    name = session.payload["transaction"]
    session.facts["was_prepared"] = name in prepared.names(session.watch, name)
    if session.facts["was_prepared"]:
        prepared.finish(session.watch, name, commit=session.payload["decision"] == "commit")
    session.facts["settled_at"] = time.monotonic()
    session.facts["after"] = read_state(session.watch, session.payload["version_table"])
    return session.facts


@dataclass
class Settlement:
    """How the shards of one run ended; `open` are those that could not be reached, by name with the reason."""

    ended: dict[str, JobResult] = field(default_factory=dict)

    @property
    def open(self) -> dict[str, str]:
        """Shards that may still hold a prepared transaction, and why."""
        return {name: each.reply.reason or "" for name, each in self.ended.items() if not each.succeeded}


def settle(
    fleet: FleetConfig,
    token: str,
    run: int,
    shards: Iterable[Shard],
    decision: Decision,
    *,
    patience: timedelta,
    stop: StopRequest,
    on_settled: Callable[[JobResult], object] = lambda _: None,
    on_round: Callable[[], None] = lambda: None,
) -> Settlement:
    """Each of `shards` has nothing of `run` prepared any more, or is among the open ones.

    A shard that can't be reached is tried again until `patience` is over, or `stop` was asked twice: the decision
    stands, so the first Ctrl-C changes nothing any more. `on_settled` is called for each shard that is done, `on_round`
    as a fan-out's is.
    """
    result, left = Settlement(), list(shards)
    deadline = time.monotonic() + patience.total_seconds()
    table = fleet.config.fleet.version_table
    while left:
        jobs = [_job(shard, token, run, decision, table) for shard in left]
        ends = run_all(
            f"settle {run}",
            [jobs],
            limits=FanOutLimits.from_config(fleet.config.limits),
            stop=StopRequest(),
            on_result=lambda ended: on_settled(ended) if ended.succeeded else None,
            on_round=on_round,
            max_failures=None,
        )
        result.ended.update({ended.job.shard.name: ended for ended in ends})
        left = [shard for shard in left if shard.name in result.open]
        if time.monotonic() > deadline or stop.times > 1:
            break
        if left:
            time.sleep(_PAUSE)
    return result


def _job(shard: Shard, token: str, run: int, decision: Decision, version_table: str) -> Job:
    payload = {
        "transaction": transaction_name(token, run, shard.name),
        "sessions": f"shardwright {session_name(run)} {shard.name}"[:NAME_LENGTH],
        "decision": decision,
        "version_table": version_table,
    }
    return Job(shard, "shardwright.migration.settle:settle_shard", payload, in_thread=True)


# --- after the death of the process that decides ----------------------------------------------


def settle_left_over(fleet: FleetConfig, ledger: Ledger, *, stop: StopRequest, on_event: Listener) -> list[int]:
    """What runs of all shards or none have left prepared is finished by their decisions; undecided is not committed.

    The caller holds the set's lock: whoever began such a run is done with it. Shards that can't be reached are named,
    and left for the next time. Gives the numbers of the runs that had not ended.
    """
    found = ledger.unsettled()
    for left in found:
        _settle_one(fleet, ledger, left, stop, on_event)
    return [left.run for left in found if not left.again]


def _settle_one(fleet: FleetConfig, ledger: Ledger, left: Unsettled, stop: StopRequest, on_event: Listener) -> None:
    decision = ledger.decide(left.run, "abort")
    targets = dict(_targets(left.plan))
    shards = [shard for shard in fleet.shards if shard.name in targets]
    outcome = settle(fleet, ledger.token(), left.run, shards, decision, patience=timedelta(0), stop=stop)
    gone = dict.fromkeys(targets.keys() - outcome.ended.keys(), "it is not in shardwright.toml any more")
    still_open = {**outcome.open, **gone}
    if left.again and not any(ended.reply.value.get("was_prepared") for ended in outcome.ended.values()):
        return
    if not left.again:
        before = {result.shard: result for result in ledger.results(left.run)}
        done = [name for name in targets if name not in still_open]
        ledger.write(left.run, [_result(before[name], outcome.ended[name], decision, targets[name]) for name in done])
    for name, reason in still_open.items():
        on_event(
            Warned(
                f"{name} may hold a prepared transaction of run {left.run}, to be {_done(decision)}: {reason}",
                RESUME.format(run=left.run),
            )
        )
    if not still_open:
        ledger.settle(left.run, taken_over=True)
        code = 0 if decision == "commit" else 2
        ledger.close(left.run, exit_code=code, note=f"its process died; {_done(decision)} on every shard afterwards")
        on_event(
            Warned(f"run {left.run}, of all shards or none, had not ended: it is {_done(decision)} on every shard")
        )


def _targets(plan: Mapping[str, Any]) -> Iterator[tuple[str, State]]:
    for wave in plan["waves"]:
        for shard in wave:
            yield shard["shard"], () if shard["to"] == "base" else tuple(shard["to"].split(", "))


def _result(before: ShardResult, ended: JobResult, decision: Decision, target: State) -> ShardResult:
    after: State = ended.reply.value["after"]
    if decision == "abort":
        touched = ended.reply.value["was_prepared"]
        return before.with_note(status=Status.ROLLED_BACK if touched else Status.NOT_TRIED, after=after)
    if after != target:
        return before.with_note(status=Status.FAILED, after=after, error=GONE, attempts=1)
    return before.with_note(status=Status.MIGRATED, after=after, attempts=1)


GONE = "its prepared transaction was gone before it was committed: somebody rolled it back"


def _done(decision: Decision) -> str:
    return "committed" if decision == "commit" else "rolled back"
