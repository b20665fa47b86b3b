"""The words in which results are told: one line a shard, a summary, a status in groups."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from shardwright.runs.results import WELL, RunResult, ShardResult, Status, revisions_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from shardwright.migration.drift import Schemas, Unread
    from shardwright.migration.lint import LintReport
    from shardwright.runs.board import DurableRun, RunEvent, StepRecord
    from shardwright.runs.eta import Eta
    from shardwright.runs.store import Run

MANY = 20  # from here on shards that had nothing to do are told in one line
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)
_READS = re.compile(r"(SELECT|SHOW|SET|RESET|EXPLAIN)\b", re.IGNORECASE)
_SQL_WIDTH = 100  # of a statement, for people
_ID_WIDTH = 100  # of an id, for people; --json has all of it
_FEW_OBJECTS = 5  # of those that a downgrade left other than they were; --json has all
Line = tuple[str, str | None]

_GREEN = frozenset({Status.MIGRATED, Status.SEEDED, Status.RESET})


def result_line(result: ShardResult) -> Line:
    """`✓ shard_0: migrated to 4f2a (0.21 s)` and its colour."""
    if result.status in _GREEN:
        return f"✓ {result.shard}: {_done(result)} ({result.seconds:.2f} s)", "green"
    if result.status is Status.UP_TO_DATE:
        return f"- {result.shard}: already up to date ({revisions_text(result.after)})", "dim"
    if result.status is Status.ROLLED_BACK:
        return f"↩ {result.shard}: rolled back to {revisions_text(result.after)} ({result.seconds:.2f} s)", "yellow"
    if result.status is Status.NOT_TRIED:
        at = f" (at {revisions_text(result.before)})" if result.before is not None else ""
        return f"- {result.shard}: not tried{at}", "yellow"
    hint = f"; try: {result.hint}" if result.hint else ""
    return f"✗ {result.shard}: {_WRONG.get(result.status, 'ERROR')} {result.error}{hint}", "red"


_WRONG = {Status.UNKNOWN: "UNKNOWN", Status.AHEAD: "AHEAD", Status.BEHIND: "BEHIND"}


def _done(result: ShardResult) -> str:
    if result.status is Status.MIGRATED:
        return f"migrated to {revisions_text(result.after)}"
    if result.status is Status.RESET:
        return f"reset, at {revisions_text(result.after)}"
    return "seeded"


def not_well(result: RunResult) -> list[ShardResult]:
    """The shards that did not end as the command wanted."""
    well = WELL | {Status.ROLLED_BACK} if result.kind == "rollback" else WELL
    return [each for each in result.results if each.status not in well]


def summary_line(result: RunResult) -> str:
    """`3 migrated, 1 failed · run 7`, why it stopped where it did, what else there is to know."""
    counts = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in result.summary.items())
    run = f" · run {result.run}" if result.run is not None else ""
    stopped = f" · stopped: {result.stopped}" if result.stopped else ""
    note = f" · {result.note}" if result.note else ""
    return f"{counts or 'no shards'}{run}{stopped}{note}"


def status_lines(result: RunResult) -> Iterator[Line]:
    """The fleet's schema status, a line for each group of shards that stand alike, the odd ones by name."""
    groups: dict[tuple[Status, str | None], list[ShardResult]] = defaultdict(list)
    for shard in result.results:
        groups[shard.status, revisions_text(shard.after)].append(shard)
    yield f"target {result.target or 'base'}", None
    for (status, revision), shards in sorted(groups.items(), key=lambda group: -len(group[1])):
        if status in (Status.UP_TO_DATE, Status.BEHIND):
            well = status is Status.UP_TO_DATE
            word = "up to date" if well else "behind"
            cure = "" if well else "; try: shardwright migrate"
            yield (
                f"{'✓' if well else '✗'} {revision}: {counted(len(shards), 'shard')} {word}{_names(shards)}{cure}",
                "green" if well else "red",
            )
        else:
            yield from (result_line(shard) for shard in shards)


def counted(number: int, noun: str) -> str:
    """`1 shard`, `2 shards`."""
    return f"{number} {noun}{'s' if number != 1 else ''}"


def _names(shards: list[ShardResult]) -> str:
    if len(shards) > MANY:
        return ""
    return f" ({', '.join(shard.shard for shard in shards)})"


def schema_lines(schemas: Schemas) -> Iterator[Line]:
    """`revision 4f2a, schema 1a2b3c4d: 197 shards; schema 9f8e7d6c: 3 (names)`, a line for each revision."""
    majors = {group.major for group in schemas.groups}
    for (revision, major), together in groupby(schemas.groups, key=lambda group: (group.revision, group.major)):
        groups = list(together)
        told = (f"schema {each.schema.short}: {members(each.shards, is_first=each is groups[0])}" for each in groups)
        server = f" on PostgreSQL {major}" if len(majors) > 1 else ""
        mark, style = ("✓", "green") if len(groups) == 1 else ("✗", "red")
        yield f"{mark} revision {revision}{server}, {'; '.join(told)}", style


def members(shards: Sequence[str], *, is_first: bool) -> str:
    """`197 shards`, the first of a list by number only where they are many; `3 (names)` after it."""
    if not is_first:
        return f"{len(shards)} ({few(shards)})"
    count = f"{len(shards)} shard{'s' if len(shards) != 1 else ''}"
    return count if len(shards) > MANY else f"{count} ({few(shards)})"


def few(names: Sequence[str]) -> str:
    """The names, with `and 80 more` for those beyond twenty."""
    return ", ".join(names[:MANY]) + (f" and {len(names) - MANY} more" if len(names) > MANY else "")


def unread_line(shard: Unread) -> Line:
    """`✗ shard_3: its schema was not read: …`."""
    hint = f"; try: {shard.fault.hint}" if shard.fault.hint else ""
    return f"✗ {shard.shard}: its schema was not read: {shard.fault.reason}{hint}", "red"


def lint_lines(report: LintReport) -> Iterator[Line]:
    """Each finding with its statement and cure, and what was not linted."""
    for finding in report.findings:
        yield f"{'✗' if finding.is_error else '!'} {finding.told}", "red" if finding.is_error else "yellow"
    for revision, why in report.not_linted.items():
        yield f"- {revision}: not linted, it {why}", "dim"
    if report.why_none is not None:
        yield f"- not linted: {report.why_none}; try: {report.why_none.hint}", "dim"


def rehearsal_lines(report: Mapping[str, Any]) -> Iterator[Line]:
    """For each schema: the revisions with their times, what stops others meanwhile, and what is wrong."""
    for schema in report["schemas"]:
        shards = schema["shards"]
        counts = schema["rows"].values()
        rows = f" with {counted(sum(counts), 'row')} of {counted(len(counts), 'table')}" if counts else ""
        yield f"rehearsed on a copy of {shards[0]}{rows}, for {members(shards, is_first=True)}", None
        for revision in schema["revisions"]:
            yield from _revision_lines(revision, has_failed=schema["failure"] is not None)
        if schema["failure"] is not None:
            yield f"✗ {schema['failure']}", "red"


def _revision_lines(revision: Mapping[str, Any], *, has_failed: bool) -> Iterator[Line]:
    if has_failed and not revision["statements"]:
        return
    outcome = "" if has_failed or revision["irreversible"] else "; down and up again: as before"
    yield f"  {revision['revision']}: up {revision['seconds']:.3f} s{outcome}", None
    for statement in revision["statements"]:
        yield from _statement_lines(statement)
    if revision["irreversible"]:
        yield f"! {revision['revision']}: no way back: {revision['irreversible']}", "yellow"
    for each in revision["differences"][:_FEW_OBJECTS]:
        yield f"    {each['kind']} {each['name']}: {_change(each)}", "yellow"


def _change(difference: Mapping[str, Any]) -> str:
    """How the object stands after a way back that was none."""
    if difference["before"] is None:
        return f"left behind: {difference['after']}" if difference["after"] else "left behind"
    return "gone" if difference["after"] is None else f"{difference['after']}, and was {difference['before']}"


def _statement_lines(statement: Mapping[str, Any]) -> Iterator[Line]:
    """`0.012 s  ALTER TABLE …`, then who waits for it; a read, and a lock that stops nobody, is not told."""
    sql = " ".join(_COMMENT.sub("", statement["sql"]).split())
    if _READS.match(sql):
        return
    alone = " (outside of a transaction: its locks are not known)" if statement["locks"] is None else ""
    times = f" ({statement['times']} times)" if statement["times"] > 1 else ""
    short = sql if len(sql) <= _SQL_WIDTH else f"{sql[: _SQL_WIDTH - 1]}…"
    yield f"    {statement['seconds']:.3f} s  {short}{times}{alone}", "dim"
    for lock in statement["locks"] or ():
        if lock["stops"]:
            yield f"             {lock['mode']} on {lock['relation']}: {lock['stops']} wait", "yellow"


def run_line(run: Run) -> str:
    """A run in the ledger, in one line."""
    took = f", {(run.finished_at - run.started_at).total_seconds():.1f} s" if run.finished_at else ""
    code = "" if run.exit_code is None else f", exit {run.exit_code}"
    undoes = f" (undoes run {run.undoes})" if run.undoes else ""
    return (
        f"{run.id}  {run.started_at:%Y-%m-%d %H:%M:%S}  {run.kind} {_PREPOSITIONS.get(run.kind, 'to ')}"
        f"{run.target or 'base'}{undoes}  {run.state}{code}{took}  by {run.started_by} on {run.started_on}"
    )


_PREPOSITIONS = {"move": "", "seed": "with "}  # a move's target says who goes where


_STEP_MARKS = {"done": ("✓", "green"), "undone": ("↩", "yellow"), "begun": ("▸", None), "to do": ("-", "dim")}


def step_lines(steps: Sequence[StepRecord]) -> Iterator[Line]:
    """Each step of a durable run with how it stands."""
    for step in steps:
        mark, style = _STEP_MARKS[step.state]
        took = ""
        if step.begun_at is not None and step.ended_at is not None:
            took = f" ({(step.ended_at - step.begun_at).total_seconds():.2f} s)"
        tries = f", try {step.attempts}" if step.attempts > 1 else ""
        approved = f", approved by {step.approved_by}" if step.approved_by else ""
        yield f"  {mark} {step.name}: {step.state}{took}{tries}{approved}", style


def hands_line(run: DurableRun) -> str:
    """Whose hands a running run is in."""
    wish = f", is to {run.wish}" if run.wish else ""
    return f"  {run.told} on {run.worker or 'its way to a worker'}{wish}"


def run_progress(progress: Mapping[str, Any], eta: Eta | None) -> str:
    """`copy: 1,200 of 9,000 rows, lag 0.3 s, 2 min to go (1 to 4 min)`."""
    of = f" of {progress['total']:,.0f}" if progress.get("total") is not None else ""
    lag = f", lag {progress['lag']:.1f} s" if progress.get("lag") is not None else ""
    left = f", {span(eta.likely)} to go ({span(eta.early)} to {span(eta.late)})" if eta else ""
    return f"{progress['phase']}: {progress['done']:,.0f}{of} {progress['unit']}{lag}{left}"


def span(seconds: float) -> str:
    """Seconds for people: `3 s`, `12 min`, `1.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def event_line(event: RunEvent) -> str:
    """One line of what happened in a run."""
    data = event.data
    text = {
        "state": lambda: f"{data['state']}" + (f": {data['reason']}" if data.get("reason") else ""),
        "step": lambda: f"{data['step']}: {data['state']}",
        "progress": lambda: run_progress(data, None),
        "message": lambda: str(data["text"]),
    }[event.kind]()
    return f"{event.at:%H:%M:%S}  {text}"


def size(count: int | None) -> str:
    """Bytes for people: `12.3 MB`."""
    if count is None:
        return ""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def identifier(tenant: str) -> str:
    """An id for people: in quotes, with escapes, where it holds more than plain letters; cut where it is long."""
    is_plain = tenant.isprintable() and not any(character in tenant for character in " \"'\\`")
    shown = tenant if tenant and is_plain else json.dumps(tenant, ensure_ascii=not tenant.isprintable())
    return shown if len(shown) <= _ID_WIDTH else f"{shown[: _ID_WIDTH - 1]}…"
