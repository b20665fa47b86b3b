"""What counts as wrong: each rule looks at a picture and says what it finds, or what it can't tell now. Pure."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from shardwright.config import Config, Rule, format_duration
from shardwright.dsn import redact
from shardwright.monitor.alerts.alert import Alert, Key, Severity
from shardwright.monitor.check import NO_SCHEMAS
from shardwright.monitor.picture import OpenRun, Picture
from shardwright.monitor.vitals import Vitals
from shardwright.pg.fingerprint import Difference
from shardwright.runs.board import DurableRun

FLEET = "fleet"
_NAMED = 3
_FULL = re.compile(r"too many clients|remaining connection slots")


@dataclass(frozen=True, slots=True)
class Found:
    """Something is wrong with `subject`. `is_certain`: told at once, without a look whether it lasts."""

    subject: str
    fact: str
    cure: str = ""
    is_certain: bool = False


@dataclass(frozen=True, slots=True)
class Unsure:
    """Whether anything is wrong with `subject` can't be told now; None: with any of the rule's subjects."""

    subject: str | None = None


Look = Callable[[Picture, Config], Iterator[Found | Unsure]]


@dataclass(frozen=True)
class AlertRule:
    """One rule: how bad what it finds is, and how it looks."""

    name: Rule
    severity: Severity
    look: Look

    @property
    def when(self) -> str:
        """When it fires, for the reference."""
        return inspect.getdoc(self.look) or ""


@dataclass(frozen=True)
class Judgement:
    """What all rules say of one picture. Of what is `unsure` nothing is over; a subject of None: the rule's every."""

    found: Mapping[Key, Alert] = field(default_factory=dict)
    certain: frozenset[Key] = frozenset()
    unsure: frozenset[tuple[str, str | None]] = frozenset()

    def is_unsure(self, key: Key) -> bool:
        """Whether nothing can be told of that trouble."""
        return key in self.unsure or (key[0], None) in self.unsure


def judge(picture: Picture, config: Config) -> Judgement:
    """What is wrong in `picture`, by the rules that are not `off`. Of the others' troubles nothing fires any more."""
    found: dict[Key, Alert] = {}
    certain, unsure = set(), set()
    for rule in RULES:
        for each in rule.look(picture, config) if rule.name not in config.alerts.off else ():
            if isinstance(each, Unsure):
                unsure.add((rule.name, each.subject))
                continue
            fact, cure = redact(each.fact), redact(each.cure)
            alert = Alert(rule.name, each.subject, rule.severity, fact, cure, since=picture.at)
            found[alert.key] = alert
            if each.is_certain:
                certain.add(alert.key)
    return Judgement(found, frozenset(certain), frozenset(unsure))


# --- the shards -------------------------------------------------------------------------------


def _shard_down(picture: Picture, config: Config) -> Iterator[Found | Unsure]:
    """A shard does not answer, or is a standby, where nothing can be written."""
    del config
    for shard in picture.vitals:
        if shard.fault is not None:
            cure = shard.fault.hint or f"shardwright shards check --shards {shard.shard}"
            yield Found(shard.shard, f"{shard.shard} on {shard.host} does not answer: {shard.fault.reason}", cure)
        elif shard.in_recovery:
            fact = f"{shard.shard} on {shard.host} is a standby: nothing can be written"
            yield Found(shard.shard, fact, "point the shard's URL at the primary")


def _connections(picture: Picture, config: Config) -> Iterator[Found | Unsure]:
    """A server has given out nearly all of its connections (`[alerts] connections`, a share of them)."""
    for host, shards in _by_host(picture):
        full = next((each for each in shards if each.fault and _FULL.search(each.fault.reason)), None)
        used = max((each for each in shards if each.connections is not None), key=_used, default=None)
        cure = "end idle sessions there, put a pooler before the application, or raise max_connections"
        if full is not None and full.fault is not None:
            yield Found(host, f"{host} has no connection left: {full.fault.reason}", cure)
        elif used is None:
            yield Unsure(host)
        elif _used(used) >= config.alerts.connections:
            yield Found(host, f"{host} has {used.connections} of {used.connections_allowed} connections in use", cure)


def _used(vitals: Vitals) -> float:
    return (vitals.connections or 0) / max(1, vitals.connections_allowed or 1)


def _by_host(picture: Picture) -> Iterator[tuple[str, list[Vitals]]]:
    ordered = sorted(picture.vitals, key=lambda each: each.host)
    return ((host, list(shards)) for host, shards in groupby(ordered, key=lambda each: each.host))


def _replication_lag(picture: Picture, config: Config) -> Iterator[Found | Unsure]:
    """A standby of a shard is further behind than `[alerts] lag`. Needs pg_monitor."""
    allowed = config.alerts.lag
    for shard in picture.vitals:
        if not shard.is_up:
            yield Unsure(shard.shard)
        elif shard.lag is not None and shard.lag > allowed.total_seconds():
            fact = f"a standby of {shard.shard} is {shard.lag:.0f} s behind, and {format_duration(allowed)} is allowed"
            yield Found(shard.shard, fact, "look at pg_stat_replication there: is the standby up, and its network?")


# --- the schemas ------------------------------------------------------------------------------


def _skew(picture: Picture, config: Config) -> Iterator[Found | Unsure]:
    """Shards are at different revisions, and no rollout or blue-green change that is under way explains it."""
    del config
    odd = [each for each in picture.skew if each.expected is None]
    if odd:
        told = "; ".join(f"{each.revision}: {_few(each.shards)}" for each in picture.skew)
        yield Found(FLEET, f"{len(picture.skew)} revisions: {told}", "shardwright status")
    elif not all(each.is_up for each in picture.vitals) or picture.control_fault:
        yield Unsure()


def _drift(picture: Picture, config: Config) -> Iterator[Found | Unsure]:
    """The last full check found a shard whose schema is another than the others' at the same revision."""
    del config
    if not _has_looked(picture, "schema"):
        yield Unsure()
    schemas = picture.checked.schemas if picture.checked else NO_SCHEMAS
    for drift in schemas.drifts:
        what = _few([f"{each.kind} {each.name}" for each in _holders(drift.objects)])
        for shard in drift.odd.shards:
            fact = f"{shard} at {drift.odd.revision} has another schema than {_few(drift.usual.shards)}: {what}"
            yield Found(shard, fact, "shardwright check")
    for unread in schemas.unread:
        yield Unsure(unread.shard)


def _holders(objects: Iterable[Difference]) -> list[Difference]:
    """The tables and the like before their columns: what is worth naming first."""
    return sorted(objects, key=lambda each: each.name.count("."))


def _exhaustion(picture: Picture, config: Config) -> Iterator[Found | Unsure]:
    """The last full check found a sequence or an id that is about to run out (`[monitor] exhaustion`)."""
    del config
    if not _has_looked(picture, "exhaustion") or (picture.checked and picture.checked.unread):
        yield Unsure()
    for each in picture.checked.exhaustion if picture.checked else ():
        yield Found(f"{each.shard} {each.name}", f"{each.shard}: {each.fact}", each.cure)


def _has_looked(picture: Picture, part: str) -> bool:
    """Whether the last full check looked at that part, and could."""
    checked = picture.checked
    return checked is not None and part in checked.parts and part not in {each.part for each in checked.not_done}


# --- tenants ----------------------------------------------------------------------------------


def _tenant_twice(picture: Picture, config: Config) -> Iterator[Found | Unsure]:
    """The last full check found tenants on two shards that are not on the move: two places take their writes."""
    del config
    if picture.checked is None or picture.checked.verification is None:
        yield Unsure()
        return
    comparison = picture.checked.verification.comparison
    for tenant in comparison.twice.first:
        yield Found(
            f"tenant {tenant.tenant}", f"tenant {tenant.tenant!r} is on {_few(tenant.found)}", "shardwright check"
        )
    if comparison.unread:
        yield Unsure()


# --- runs -------------------------------------------------------------------------------------


def _run_stuck(picture: Picture, config: Config) -> Iterator[Found | Unsure]:
    """A run makes no progress (`[alerts] stuck`; a rollout: besides the longest time of a statement), its worker or
    process is gone, no worker takes it, or a step failed and it waits for an operator."""
    if picture.control_fault is not None:
        yield Unsure()
        return
    for run in picture.open:
        if (why := _why_stuck(run, picture, config)) is not None:
            subject, cure = f"run {run.run.id}", f"shardwright runs show {run.run.id}"
            yield Found(subject, f"{run.run.kind} {subject} {why}", cure, is_certain=run.run.state == "parked")


def _why_stuck(run: OpenRun, picture: Picture, config: Config) -> str | None:
    match run.run.state:
        case "abandoned":
            return f"is abandoned: {run.run.note or 'its process is gone'}"
        case "parked":
            return f"is parked: {run.run.note or 'a step failed'}"
        case "queued" if run.quiet > config.alerts.stuck.total_seconds() and not _has_workers(picture, config):
            return f"is queued for {run.quiet / 60:.0f} min, and no worker takes runs"
        case "running":
            return _why_still(run, picture, config)
    return None


def _why_still(run: OpenRun, picture: Picture, config: Config) -> str | None:
    if run.durable is not None and _is_lost(run.durable, config):
        return f"is running, and its worker {run.durable.worker} was last heard of {run.durable.silent:.0f} s ago"
    patience = config.alerts.stuck.total_seconds()
    if run.run.kind in _STATEMENTS:
        patience += config.limits.statement_timeout.total_seconds()
    quiet = min([run.quiet, *_lanes_quiet(run, picture)])
    return f"has made no progress for {quiet / 60:.0f} min" if quiet > patience else None


_STATEMENTS = frozenset({"migrate", "rollback", "reset", "seed"})  # one statement may rightly take its whole time-out


def _has_workers(picture: Picture, config: Config) -> bool:
    return any(worker.silent < config.runs.time_to_live.total_seconds() for worker in picture.workers)


def _is_lost(run: DurableRun, config: Config) -> bool:
    """Another worker should have taken it over by now."""
    return run.worker is not None and (run.silent or 0) > 2 * config.runs.time_to_live.total_seconds()


def _lanes_quiet(run: OpenRun, picture: Picture) -> list[float]:
    """A change that is kept in step for days has nothing to tell but its lanes, each second."""
    if picture.change is None or picture.change.run.id != run.run.id:
        return []
    return [(picture.at - lane.at).total_seconds() for lane in picture.change.lanes if lane.at is not None]


def _write_gap(picture: Picture, config: Config) -> Iterator[Found | Unsure]:
    """A tenant could not write for longer than `[limits] write_gap` at the switch of an open move or change."""
    if picture.control_fault is not None:
        yield Unsure()
        return
    allowed = config.limits.write_gap.total_seconds() * 1000
    told = f"and {format_duration(config.limits.write_gap)} is allowed"
    for move in picture.moves:
        gap = (move.move.write_gap or {}).get("gap_ms")
        if gap is not None and gap > allowed:
            fact = f"tenant {move.move.tenant!r} could not write for {gap:.0f} ms at its switch, {told}"
            yield Found(f"run {move.run.id}", fact, f"shardwright runs show {move.run.id}", is_certain=True)
    if picture.change is not None:
        longest = picture.change.proofs.longest
        if longest is not None and longest > allowed:
            fact = f"a tenant could not write for {longest:.0f} ms at its switch, {told}"
            yield Found(f"run {picture.change.run.id}", fact, "shardwright bluegreen status", is_certain=True)


# --- the control database ---------------------------------------------------------------------


def _control_away(picture: Picture, config: Config) -> Iterator[Found | Unsure]:
    """The control database does not answer: nothing new is started, and nobody knows what runs."""
    del config
    if picture.control_fault is not None:
        cure = picture.control_fault.hint or "shardwright shards check"
        yield Found("control", picture.control_fault.reason, cure)


def _few(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


RULES: tuple[AlertRule, ...] = (
    AlertRule("shard_down", "critical", _shard_down),
    AlertRule("control_away", "critical", _control_away),
    AlertRule("tenant_twice", "critical", _tenant_twice),
    AlertRule("connections", "critical", _connections),
    AlertRule("exhaustion", "critical", _exhaustion),
    AlertRule("run_stuck", "warning", _run_stuck),
    AlertRule("write_gap", "warning", _write_gap),
    AlertRule("skew", "warning", _skew),
    AlertRule("drift", "warning", _drift),
    AlertRule("replication_lag", "warning", _replication_lag),
)
