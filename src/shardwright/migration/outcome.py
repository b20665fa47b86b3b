"""From how a job ended to the shard's result; what is not known is read, never guessed."""

from __future__ import annotations

from shardwright.migration.history import History, State
from shardwright.migration.operation import not_tried
from shardwright.migration.plan import ShardPlan
from shardwright.migration.versions import Reading, read_shard
from shardwright.runs.fanout import JobResult
from shardwright.runs.results import ShardResult, Status, revisions_text


def result_of(history: History, plan: ShardPlan, ended: JobResult, *, success: Status) -> ShardResult:
    """The result of one shard's way from `plan.before` to `plan.after`, up or down."""
    if ended.attempts == 0:
        return not_tried(plan.shard.name, plan.before)
    reply = ended.reply
    after: State | None = reply.value.get("after")
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
    return _resolve(result, history, plan, read_shard(plan.shard, history.location.version_table), success)


def _resolve(result: ShardResult, history: History, plan: ShardPlan, reading: Reading, success: Status) -> ShardResult:
    """The acknowledgement was lost: only the shard can say what is true."""
    if reading.state is None:
        why = reading.fault.reason if reading.fault else "no answer"
        return result.with_note(
            status=Status.UNKNOWN,
            error=f"{result.error}; its revision could not be read afterwards: {why}",
            hint="shardwright status, as soon as the shard is back",
        )
    known = not history.unknown(reading.state)
    if known and history.ancestry(reading.state) == history.ancestry(plan.after):
        return result.with_note(status=success, after=reading.state, error=None, hint=None)
    return result.with_note(after=reading.state)
