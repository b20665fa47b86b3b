"""From how a job ended to the shard's result; what is not known is read, never guessed."""

from __future__ import annotations

from collections.abc import Mapping

from shardwright.migration.history import History, State
from shardwright.migration.operation import Operation, not_tried
from shardwright.migration.plan import ShardPlan
from shardwright.migration.versions import Reading, read_shard, survey
from shardwright.runs.fanout import JobResult
from shardwright.runs.results import ShardResult, Status, revisions_text


def result_of(history: History, plan: ShardPlan, ended: JobResult, *, success: Status) -> ShardResult:
    """The result of one shard's way from `plan.before` to `plan.after`, up or down."""
    if ended.attempts == 0:
        return not_tried(plan.shard.name, plan.before)
    reply = ended.reply
    after: State | None = plan.before if reply.value.get("left_alone") else reply.value.get("after")
    result = ShardResult(
        plan.shard.name,
        success if ended.succeeded else Status.FAILED,
        reply.value.get("before", plan.before),
        after,
        ended.seconds,
        ended.attempts,
        reply.reason,
        reply.hint,
    )
    if ended.succeeded and after is not None and history.ancestry(after) != history.ancestry(plan.after):
        return result.with_note(status=Status.FAILED, error=f"it is at {revisions_text(after)} afterwards")
    if ended.succeeded or (after is not None and not ended.lost):
        return result
    if ended.lost:
        return _resolve(result, history, plan, read_shard(plan.shard, history.location.version_table), success)
    return _unknown(result, "no answer")  # the worker has asked in vain; ask_again tries once more


def ask_again(op: Operation, history: History, plans: Mapping[str, ShardPlan], *, success: Status) -> None:
    """Shards that could not say what came of them have been asked once more, now that all others are done."""
    unknown = [plans[name] for name, result in op.results.items() if result.status is Status.UNKNOWN and name in plans]
    readings = survey(
        [plan.shard for plan in unknown],
        history.location.version_table,
        connections_per_host=op.fleet.config.limits.connections_per_host,
    )
    for plan in unknown:
        name = plan.shard.name
        op.record(_resolve(op.results[name], history, plan, readings[name], success))


def _resolve(result: ShardResult, history: History, plan: ShardPlan, reading: Reading, success: Status) -> ShardResult:
    """The acknowledgement was lost: only the shard can say what is true."""
    if reading.state is None:
        return _unknown(result, reading.fault.reason if reading.fault else "no answer")
    known = not history.unknown(reading.state)
    if known and history.ancestry(reading.state) == history.ancestry(plan.after):
        return result.with_note(status=success, after=reading.state, error=None, hint=None)
    error = (result.error or "").partition(_UNREAD)[0]
    return result.with_note(status=Status.FAILED, after=reading.state, error=error, hint=None)


_UNREAD = "; its revision could not be read afterwards: "


def _unknown(result: ShardResult, why: str) -> ShardResult:
    error = (result.error or "").partition(_UNREAD)[0]
    hint = "shardwright status, as soon as the shard is back"
    return result.with_note(status=Status.UNKNOWN, error=f"{error}{_UNREAD}{why}", hint=hint)
