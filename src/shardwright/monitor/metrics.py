"""A picture as the text that Prometheus reads. Pure; every metric is declared in METRICS, and nowhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shardwright.config import Rule
from shardwright.monitor.alerts.rules import RULES
from shardwright.monitor.picture import Picture
from shardwright.monitor.vitals import Vitals
from shardwright.runs.board import OPEN

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Sample = tuple[tuple[str, ...], float]


@dataclass(frozen=True)
class Declared:
    """One metric: its name and unit, what it says, its labels, and the samples that a picture gives."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    labels: tuple[str, ...]
    read: Callable[[Picture], Iterable[Sample]]

    @property
    def exposed(self) -> str:
        """The name as Prometheus has it."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


def exposition(picture: Picture | None) -> bytes:
    """All metrics of `picture`; None: there is none yet, and nothing is said. Content type: CONTENT_TYPE."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(picture))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, picture: Picture | None) -> None:
        self._picture = picture

    def collect(self) -> Iterator[Metric]:
        """One family for each metric that has anything to say."""
        for metric in METRICS if self._picture else ():
            assert self._picture is not None  # noqa: S101 there are no metrics without one
            family = _FAMILIES[metric.kind](metric.name, metric.help, labels=metric.labels)
            for labels, value in metric.read(self._picture):
                family.add_metric(labels, value)
            if family.samples:
                yield family


_FAMILIES = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily}


# --- reading a picture ------------------------------------------------------------------------


def _of_shard(read: Callable[[Vitals], float | None]) -> Callable[[Picture], Iterator[Sample]]:
    def samples(picture: Picture) -> Iterator[Sample]:
        return (((each.shard,), value) for each in picture.vitals if (value := read(each)) is not None)

    return samples


def _of_host(read: Callable[[Vitals], float | None]) -> Callable[[Picture], Iterator[Sample]]:
    """Of what all shards of a host say of it, the most."""

    def samples(picture: Picture) -> Iterator[Sample]:
        most: dict[str, float] = {}
        for each in picture.vitals:
            if (value := read(each)) is not None:
                most[each.host] = max(value, most.get(each.host, value))
        return (((host,), value) for host, value in most.items())

    return samples


def _info(picture: Picture) -> Iterator[Sample]:
    yield (picture.shard_set, picture.environment), 1


def _revisions(picture: Picture) -> Iterator[Sample]:
    counts = Counter(each.revision for each in picture.vitals if each.revision is not None)
    return (((revision,), count) for revision, count in counts.items())


def _unexpected(picture: Picture) -> Iterator[Sample]:
    yield (), sum(len(each.shards) for each in picture.skew if each.expected is None)


def _runs(picture: Picture) -> Iterator[Sample]:
    if picture.control_fault is None:
        counts = Counter(run.run.state for run in picture.open)
        yield from (((state,), counts[state]) for state in (*OPEN, "abandoned"))


def _quiet(picture: Picture) -> Iterator[Sample]:
    if quiet := [run.quiet for run in picture.open if run.run.state == "running"]:
        yield (), max(quiet)


def _workers(picture: Picture) -> Iterator[Sample]:
    if picture.control_fault is None:
        yield (), len(picture.workers)


def _moves(picture: Picture) -> Iterator[Sample]:
    counts = Counter(move.move.phase for move in picture.moves)
    return (((phase,), count) for phase, count in counts.items())


def _write_gap(picture: Picture) -> Iterator[Sample]:
    told = [(move.move.write_gap or {}).get("gap_ms") for move in picture.moves]
    gaps = [gap for gap in (*told, picture.change.proofs.longest if picture.change else None) if gap is not None]
    if gaps:
        yield (), max(gaps) / 1000


def _change_tenants(picture: Picture) -> Iterator[Sample]:
    if picture.change is not None:
        yield ("green",), picture.change.at_green
        yield ("blue",), picture.change.tenants - picture.change.at_green


def _change_keys(picture: Picture) -> Iterator[Sample]:
    for direction, name in _WAYS.items():
        if told := [keys for lane in _lanes(picture) if (keys := getattr(lane, f"{name}keys")) is not None]:
            yield (direction,), sum(told)


def _change_lag(picture: Picture) -> Iterator[Sample]:
    for direction, name in _WAYS.items():
        if told := [lag for lane in _lanes(picture) if (lag := getattr(lane, f"{name}lag_seconds")) is not None]:
            yield (direction,), max(told)


_WAYS: Mapping[str, str] = {"to_green": "", "to_blue": "back_"}


def _lanes(picture: Picture) -> Iterable[object]:
    return picture.change.lanes if picture.change else ()


def _alerts(picture: Picture) -> Iterator[Sample]:
    counts = Counter(each.rule for each in picture.alerts)
    severities = {rule.name: rule.severity for rule in RULES}
    return (((rule, severities[rule]), counts[rule]) for rule in get_args(Rule))


def _control_up(picture: Picture) -> Iterator[Sample]:
    yield (), float(picture.control_fault is None)


def _check_ok(picture: Picture) -> Iterator[Sample]:
    if picture.checked is not None:
        yield (), float(picture.checked.exit_code == 0)


def _moment(read: Callable[[Picture], datetime | None]) -> Callable[[Picture], Iterator[Sample]]:
    def samples(picture: Picture) -> Iterator[Sample]:
        if (at := read(picture)) is not None:
            yield (), at.timestamp()

    return samples


def _gauge(name: str, labels: tuple[str, ...], read: Callable[[Picture], Iterable[Sample]], help: str) -> Declared:
    return Declared(f"shardwright_{name}", "gauge", help, labels, read)


# No label has a tenant's id, a run's number or an address of a client: a fleet of a million tenants has as many series
# as one of ten.
METRICS: tuple[Declared, ...] = (
    _gauge("fleet_info", ("set", "environment"), _info, "The fleet that is watched; always 1."),
    _gauge("shard_up", ("shard",), _of_shard(lambda v: float(v.is_up)), "Whether the shard answers."),
    _gauge(
        "shard_in_recovery",
        ("shard",),
        _of_shard(lambda v: None if v.in_recovery is None else float(v.in_recovery)),
        "Whether the shard's server is a standby, where nothing can be written.",
    ),
    _gauge("shard_latency_seconds", ("shard",), _of_shard(lambda v: v.seconds), "A round trip that does nothing."),
    _gauge("shard_size_bytes", ("shard",), _of_shard(lambda v: v.bytes), "Size of the database."),
    _gauge("shard_tenants", ("shard",), _of_shard(lambda v: v.tenants), "Tenants; from 100,000 on an estimate."),
    _gauge("shard_rows", ("shard",), _of_shard(lambda v: v.rows), "Rows of all tables, an estimate."),
    Declared(
        "shardwright_shard_rows_written",
        "counter",
        "Rows inserted, updated and deleted since the server's statistics began.",
        ("shard",),
        _of_shard(lambda v: v.writes),
    ),
    _gauge("shard_cache_hit_ratio", ("shard",), _of_shard(lambda v: v.cache), "Share of blocks found in memory."),
    _gauge(
        "shard_longest_transaction_seconds",
        ("shard",),
        _of_shard(lambda v: v.longest_transaction),
        "Age of the oldest open transaction. Needs pg_monitor.",
    ),
    _gauge(
        "shard_replication_lag_seconds",
        ("shard",),
        _of_shard(lambda v: v.lag),
        "How far the slowest standby is behind. Needs pg_monitor.",
    ),
    _gauge("host_connections", ("host",), _of_host(lambda v: v.connections), "Connections of the server in use."),
    _gauge(
        "host_connections_allowed",
        ("host",),
        _of_host(lambda v: v.connections_allowed),
        "Connections the server gives to ordinary roles.",
    ),
    _gauge(
        "host_disk_used_ratio",
        ("host",),
        _of_host(lambda v: v.disk),
        "Share of the room that [monitor] disk names which the shards' databases take.",
    ),
    _gauge("revision_shards", ("revision",), _revisions, "Shards at each revision."),
    _gauge("skewed_shards", (), _unexpected, "Shards whose revision differs and nothing under way explains it."),
    _gauge("runs", ("state",), _runs, "Runs that are not at their end."),
    _gauge("run_quiet_seconds", (), _quiet, "How long nothing was heard of a run that is running; of the quietest."),
    _gauge("workers", (), _workers, "Worker processes."),
    _gauge("moves", ("phase",), _moves, "Moves of tenants that are not at their end."),
    _gauge(
        "write_gap_seconds", (), _write_gap, "Longest time that a tenant of an open move or change could not write."
    ),
    _gauge("change_tenants", ("side",), _change_tenants, "Tenants of the open blue-green change, by where they write."),
    _gauge("change_keys", ("direction",), _change_keys, "Changed rows that are still to be brought over."),
    _gauge("change_lag_seconds", ("direction",), _change_lag, "How far the other side is behind, in the worst lane."),
    _gauge("control_up", (), _control_up, "Whether the control database answers."),
    _gauge("alerts", ("rule", "severity"), _alerts, "Alerts that fire, by rule; 0 where none does."),
    _gauge("check_ok", (), _check_ok, "Whether the last full check found nothing."),
    _gauge("check_timestamp_seconds", (), _moment(lambda p: p.checked_at), "When the last full check was made."),
    _gauge("picture_timestamp_seconds", (), _moment(lambda p: p.at), "When these figures were read."),
)
