"""Lint: what in the SQL of revisions would block or break a shard that is in use, found before any is touched."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg

from shardwright import errors
from shardwright.catalog.ask import ask_each
from shardwright.config import Config, Environment, FleetConfig
from shardwright.migration.history import History, ScriptLocation
from shardwright.migration.plan import ShardPlan
from shardwright.migration.recorder import Rendering
from shardwright.migration.render import Way, render, render_ways, way_of
from shardwright.migration.rules import RULES, SAID_BETTER, Severity
from shardwright.migration.squawk import complaints, find
from shardwright.migration.versions import CONNECT_TIMEOUT
from shardwright.pg.connect import connect
from shardwright.pg.queries import load
from shardwright.runs.events import Warned
from shardwright.shard import Shard

ENFORCED: frozenset[Environment] = frozenset({"production", "staging"})  # elsewhere errors are only shown
NOT_LINTED: frozenset[Environment] = frozenset({"test"})  # nobody reads it there, and every test would wait for it

_ALLOW = re.compile(r"#\s*shardwright:\s*allow\s+([\w-]+(?:\s*,\s*[\w-]+)*)")
_NAME = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_TABLE = re.compile(
    rf"\b(?:(?:ALTER|DROP)\s+TABLE(?:\s+IF\s+EXISTS)?|CREATE\s+(?:UNIQUE\s+)?INDEX\b.*?\sON|REINDEX\s+TABLE)"
    rf"\s+(?:ONLY\s+)?(?P<schema>{_NAME}\.)?(?P<table>{_NAME})",
    re.IGNORECASE | re.DOTALL,
)
_CREATES = re.compile(
    rf"^\s*CREATE\s+(?:UNLOGGED\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(?P<schema>{_NAME}\.)?(?P<table>{_NAME})",
    re.IGNORECASE,
)
_SETTINGS = {"lock_timeout": "2s", "statement_timeout": "10s"}

Table = tuple[str | None, str]  # schema, where the statement names it, and name


@dataclass(frozen=True)
class Finding:
    """A statement of a revision that a rule speaks against; `note` says what is known of its table."""

    revision: str
    file: str
    rule: str
    severity: Severity
    statement: str
    message: str
    note: str = ""

    @property
    def cure(self) -> str:
        """What to write instead."""
        return RULES[self.rule].cure

    @property
    def is_error(self) -> bool:
        """Whether it stops a rollout where findings are enforced."""
        return self.severity is Severity.ERROR

    @property
    def table(self) -> Table | None:
        """The table the statement changes; None where it can't be told."""
        return _table(_TABLE.search(self.statement))

    @property
    def told(self) -> str:
        """Three lines for people: where and what, the statement, the cure."""
        note = f" ({self.note})" if self.note else ""
        return f"{self.file}: {self.rule}: {self.message}{note}\n    {_short(self.statement)}\n    instead: {self.cure}"

    def as_dict(self) -> dict[str, Any]:
        """The finding as `--json` prints it."""
        return {
            "revision": self.revision,
            "file": self.file,
            "rule": self.rule,
            "severity": self.severity.value,
            "statement": self.statement,
            "message": self.message,
            "cure": self.cure,
            **({"note": self.note} if self.note else {}),
        }


@dataclass(frozen=True)
class LintReport:
    """What lint found: `not_linted` names revisions without SQL, `why_none` says why nothing was linted at all.

    `is_enforced`: whether an error stops the rollout. `renderings`: the SQL that was looked at.
    """

    revisions: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    not_linted: Mapping[str, str] = field(default_factory=dict)
    why_none: errors.LinterError | None = None
    is_enforced: bool = True
    renderings: Mapping[Way, list[Rendering]] = field(default_factory=dict, repr=False)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that stop a rollout where they are enforced."""
        return tuple(finding for finding in self.findings if finding.is_error)

    @property
    def stops(self) -> bool:
        """Whether a rollout must not begin."""
        return self.is_enforced and bool(self.errors)

    def require_clean(self) -> None:
        """Raises LintFoundErrors where an error stops the rollout."""
        if self.stops:
            rules = ",".join(sorted({finding.rule for finding in self.errors}))
            findings = "\n".join(finding.told for finding in self.errors)
            count = f"{len(self.errors)} error{'s' if len(self.errors) > 1 else ''}"
            raise errors.LintFoundErrors(count=count, findings=findings, rules=rules)

    def warnings(self) -> Iterator[Warned]:
        """What a rollout says and goes on: findings that don't stop it, revisions without SQL, no linter at all."""
        for finding in self.findings:
            if not (self.is_enforced and finding.is_error):
                yield Warned(finding.told)
        if self.is_enforced and self.why_none is not None:
            yield Warned(f"the plan was not linted: {self.why_none}", self.why_none.hint)
        if self.is_enforced:
            yield from (Warned(f"{revision} was not linted: it {why}") for revision, why in self.not_linted.items())

    def as_dict(self) -> dict[str, Any]:
        """The report as `--json` prints it."""
        return {
            "revisions": list(self.revisions),
            "findings": [finding.as_dict() for finding in self.findings],
            "not_linted": dict(self.not_linted),
            **({"why_none": str(self.why_none)} if self.why_none else {}),
        }


def lint_plan(fleet: FleetConfig, history: History, todo: Sequence[ShardPlan], allow: Iterable[str] = ()) -> LintReport:
    """What `todo` would meet: each way through the history as a whole, so that tables it creates itself don't count.

    Where errors stop, one about a table that is small on every shard that lacks the revision is a warning: the shards
    are asked. Shards at base are left out, for nobody uses them yet. Without a linter the report says so.
    Raises UsageError, BadValue where a rule to allow does not exist.
    """
    allowed = _allowed(fleet.config, allow)
    enforced = fleet.config.fleet.environment in ENFORCED
    shards: dict[Way, list[Shard]] = defaultdict(list)
    for plan in todo:
        if plan.before:
            shards[way_of(plan)].append(plan.shard)
    if not shards or not is_linted(fleet.config):
        return LintReport(is_enforced=enforced)
    try:
        find()
        renderings = render(history.location, todo)
        found = {way: _lint(history, renderings[way], allowed) for way in shards}
    except errors.LinterError as error:
        return LintReport(why_none=error, is_enforced=enforced)
    findings = [finding for some in found.values() for finding in some]
    if enforced:
        sizes = _ask_sizes(fleet, shards, found)
        findings = [_weigh(finding, shards[way], sizes) for way, some in found.items() for finding in some]
    report = _report(history, [renderings[way] for way in shards], findings)
    return replace(report, is_enforced=enforced, renderings=renderings)


def is_linted(config: Config) -> bool:
    """Whether a rollout of this fleet is linted at all."""
    return config.lint.enabled and config.fleet.environment not in NOT_LINTED


def lint_history(config: Config, *, since: str | None = None, allow: Iterable[str] = ()) -> LintReport:
    """What a shard at `since` would meet on its way to the heads; without it each revision by itself, on a shard that
    has all the earlier ones. Needs no database. Raises HistoryError, LinterError, UsageError, BadValue.
    """
    allowed = _allowed(config, allow)
    find()
    history = History(ScriptLocation.from_config(config))
    state = history.resolve(since) if since is not None else ()
    steps = tuple(step.revision.revision for step in history.upgrade(state, "heads"))
    ((_, renderings),) = render_ways(history.location, [(state, steps)]).items()
    together = [renderings] if since is not None else [[rendering] for rendering in renderings]
    findings = [finding for ones in together for finding in _lint(history, ones, allowed)]
    return _report(history, [renderings], findings)


def _allowed(config: Config, allow: Iterable[str]) -> frozenset[str]:
    for rule in config.lint.allow:
        if rule not in RULES:
            raise errors.BadValue(file=str(config.file), key="lint.allow", reason=_no_such_rule(rule))
    asked = frozenset(allow)
    for rule in sorted(asked - RULES.keys()):
        raise errors.UsageError(reason=f"--allow: {_no_such_rule(rule)}", help=f"rules: {', '.join(RULES)}")
    return asked | frozenset(config.lint.allow)


def _no_such_rule(rule: str) -> str:
    close = difflib.get_close_matches(rule, RULES, n=1)
    return f"{rule!r} is no rule that is looked at" + (f"; did you mean {close[0]}?" if close else "")


def _report(history: History, all_renderings: Iterable[Sequence[Rendering]], findings: Sequence[Finding]) -> LintReport:
    """One report: a finding that several ways meet is told once, as an error if it is one on any of them."""
    renderings = {each.revision: each for renderings in all_renderings for each in renderings}
    order = {revision: place for place, revision in enumerate(reversed(history.revisions))}
    told: dict[tuple[str, str, str], Finding] = {}
    for finding in sorted(findings, key=lambda finding: (order[finding.revision], not finding.is_error)):
        told.setdefault((finding.revision, finding.rule, finding.statement), finding)
    return LintReport(
        revisions=tuple(sorted(renderings, key=order.__getitem__)),
        findings=tuple(told.values()),
        not_linted={each.revision: each.why_not for each in renderings.values() if each.why_not is not None},
    )


def _lint(history: History, renderings: Sequence[Rendering], allowed: frozenset[str]) -> list[Finding]:
    """The findings in these renderings, looked at as one script. Raises LinterError."""
    sent = [(rendering.revision, statement) for rendering in renderings for statement in rendering.statements]
    said = complaints([statement.sql for _, statement in sent], project=history.location.project)
    rules_at: dict[int, set[str]] = defaultdict(set)
    for complaint in said:
        rules_at[complaint.statement].add(complaint.rule)
    created = [_table(_CREATES.search(statement.sql)) for _, statement in sent]
    findings = []
    for complaint in said:
        revision, statement = sent[complaint.statement]
        script = _file(history, revision)
        if complaint.rule not in RULES or complaint.rule in allowed | _allowed_in(script):
            continue
        if SAID_BETTER.get(complaint.rule, frozenset()) & rules_at[complaint.statement]:
            continue
        if complaint.rule == "ban-concurrent-index-creation-in-transaction" and not statement.in_transaction:
            continue  # it stands in an autocommit_block, of which squawk knows nothing
        severity, file = RULES[complaint.rule].severity, _shown(script, history.location.project)
        finding = Finding(revision, file, complaint.rule, severity, statement.sql, complaint.message)
        if finding.table is None or finding.table not in created[: complaint.statement]:  # squawk forgives some rules
            findings.append(finding)
    return findings


def _file(history: History, revision: str) -> Path:
    return Path(history.script.revision_map.get_revision(revision).path)  # type: ignore[union-attr]  # it is there


def _allowed_in(script: Path) -> frozenset[str]:
    """The rules that a comment `# shardwright: allow RULE, RULE` in the revision's file lets pass."""
    text = script.read_text(encoding="utf-8", errors="replace")
    return frozenset(rule.strip() for found in _ALLOW.findall(text) for rule in found.split(","))


def _shown(script: Path, project: Path) -> str:
    return str(script.relative_to(project)) if script.is_relative_to(project) else str(script)


@dataclass(frozen=True)
class _Size:
    """How large a table is: all of it, and its rows alone; both 0 where it is not there."""

    total: int
    rows: int


def _ask_sizes(
    fleet: FleetConfig, shards: Mapping[Way, Sequence[Shard]], found: Mapping[Way, Sequence[Finding]]
) -> dict[str, dict[Table, _Size] | None]:
    """By shard, how large the tables of its errors are; None where it did not say."""
    tables = {
        shard.name: sorted({finding.table for finding in found[way] if _may_be_harmless(finding)}, key=repr)
        for way, some in shards.items()
        for shard in some
    }
    asked = [shard for some in shards.values() for shard in some if tables[shard.name]]
    limit = fleet.config.limits.connections_per_host
    return ask_each(asked, lambda shard: _sizes(shard, tables[shard.name]), connections_per_host=limit)


def _may_be_harmless(finding: Finding) -> bool:
    return finding.table is not None and RULES[finding.rule].harmless_up_to is not None


def _sizes(shard: Shard, tables: Sequence[Table | None]) -> dict[Table, _Size] | None:
    wanted = [table for table in tables if table is not None]
    names = {"schemas": [schema for schema, _ in wanted], "names": [name for _, name in wanted]}
    try:
        with connect(
            shard.url, application_name="shardwright lint", settings=_SETTINGS, connect_timeout=CONNECT_TIMEOUT
        ) as connection:
            rows = connection.execute(load(__package__)["table_sizes"], names).fetchall()
    except psycopg.Error:
        return None
    return {(schema, name): _Size(total, rows) for schema, name, total, rows in rows}


def _weigh(finding: Finding, shards: Sequence[Shard], sizes: Mapping[str, Mapping[Table, _Size] | None]) -> Finding:
    """The finding, a warning where its table is small on each of `shards`."""
    table, limit = finding.table, RULES[finding.rule].harmless_up_to
    if table is None or limit is None:
        return finding
    said = [sizes.get(shard.name) for shard in shards]
    known = [each[table] for each in said if each is not None]
    if len(known) < len(said):
        return replace(finding, note="not every shard said how large the table is")
    largest = max((size.rows if limit == 0 else size.total) for size in known)
    if largest > limit:
        return replace(finding, note=f"{table[1]} has up to {largest / 1_000_000:,.1f} MB on a shard")
    small = "is empty" if limit == 0 else f"has at most {largest / 1_000_000:,.1f} MB"
    return replace(finding, severity=Severity.WARNING, note=f"{table[1]} {small} on every shard, so it is soon done")


def _table(found: re.Match[str] | None) -> Table | None:
    return None if found is None else (_plain(found["schema"]), _plain(found["table"]) or "")


def _plain(name: str | None) -> str | None:
    """An identifier as the catalog has it."""
    if name is None:
        return None
    name = name.removesuffix(".")
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()


def _short(statement: str) -> str:
    line = " ".join(statement.split())
    return line if len(line) <= 160 else f"{line[:159]}…"
