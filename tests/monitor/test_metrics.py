"""/metrics: what Prometheus reads, named by its conventions, of everything that a picture holds."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from pictures import NOW, away, open_run, picture, vitals
from shardwright.monitor.alerts.alert import Alert
from shardwright.monitor.check import FleetCheck
from shardwright.monitor.metrics import METRICS, exposition
from shardwright.monitor.picture import Picture
from shardwright.monitor.skew import Skew
from shardwright.monitor.vitals import LongTransaction
from shardwright.pg.faults import Fault

_UNITS = ("_seconds", "_bytes", "_ratio", "_total", "_info")
_COUNTED = {
    "up",
    "recovery",
    "tenants",
    "rows",
    "connections",
    "allowed",
    "shards",
    "runs",
    "workers",
    "moves",
    "keys",
    "alerts",
}
_LABELS = {"set", "environment", "shard", "host", "revision", "state", "phase", "side", "direction", "rule", "severity"}


def full() -> Picture:
    """A picture in which everything has something to say."""
    lane = SimpleNamespace(keys=5, lag_seconds=0.5, back_keys=None, back_lag_seconds=None, at=NOW)
    other = SimpleNamespace(keys=7, lag_seconds=0.1, back_keys=2, back_lag_seconds=0.2, at=NOW)
    change: Any = SimpleNamespace(
        run=SimpleNamespace(id=9), lanes=(lane, other), proofs=SimpleNamespace(longest=20.0), tenants=3, at_green=1
    )
    move: Any = SimpleNamespace(move=SimpleNamespace(phase="switched", write_gap={"gap_ms": 31.0}, tenant="<script>"))
    return picture(
        vitals(longest=LongTransaction(1, 9.5, "SELECT 1"), lag=0.25, disk=0.5),
        vitals("shard_1", host="db2:5432", state=("1b3c",)),
        away("shard_2"),
        skew=(Skew("4f2a", ("shard_0",)), Skew("1b3c", ("shard_1",), "rollout 3")),
        open=(open_run(quiet=3.5), open_run("parked")),
        moves=(move,),
        change=change,
        checked=FleetCheck(),
        checked_at=NOW,
        alerts=(Alert("shard_down", "shard_2", "critical", "…", "", NOW),),
    )


def read(one: Picture | None) -> dict[str, dict[tuple[str, ...], float]]:
    """Every sample by name and its labels' values, as Prometheus' own parser reads the text."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(exposition(one).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_every_metric_that_is_declared_is_told() -> None:
    """And none besides."""
    assert set(read(full())) == {each.exposed for each in METRICS}


def test_names_units_and_labels_keep_to_the_conventions() -> None:
    """Base units at the end, counters as _total, help for each; no label that grows with tenants or runs."""
    for family in text_string_to_metric_families(exposition(full()).decode()):
        assert family.documentation.endswith(".")
        for sample in family.samples:
            assert re.fullmatch(r"shardwright(_[a-z]+)+", sample.name)
            assert sample.name.endswith(_UNITS) or sample.name.rsplit("_", 1)[1] in {*_COUNTED, "ok"}, sample.name
            assert sample.name.endswith("_total") == (family.type == "counter")
            assert set(sample.labels) <= _LABELS
    assert "script" not in exposition(full()).decode()


def test_figures_are_those_of_the_picture() -> None:
    """In seconds and bytes; a shard that is away has no figure but that."""
    found = read(full())
    assert found["shardwright_shard_up"] == {("shard_0",): 1, ("shard_1",): 1, ("shard_2",): 0}
    assert found["shardwright_shard_size_bytes"] == {("shard_0",): 9e6, ("shard_1",): 9e6}
    assert found["shardwright_shard_rows_written_total"][("shard_0",)] == 1000
    assert found["shardwright_host_connections"] == {("db1:5432",): 10, ("db2:5432",): 10}
    assert found["shardwright_revision_shards"] == {("4f2a",): 1, ("1b3c",): 1}
    assert found["shardwright_skewed_shards"] == {(): 1}
    assert found["shardwright_runs"][("running",)] == found["shardwright_runs"][("parked",)] == 1
    assert found["shardwright_run_quiet_seconds"] == {(): 3.5}
    assert found["shardwright_write_gap_seconds"] == {(): 0.031}
    assert found["shardwright_change_keys"] == {("to_green",): 12, ("to_blue",): 2}
    assert found["shardwright_change_lag_seconds"] == {("to_green",): 0.5, ("to_blue",): 0.2}
    assert found["shardwright_change_tenants"] == {("green",): 1, ("blue",): 2}
    assert found["shardwright_alerts"][("shard_down", "critical")] == 1
    assert found["shardwright_alerts"][("skew", "warning")] == 0
    assert found["shardwright_picture_timestamp_seconds"] == {(): NOW.timestamp()}


def test_what_is_not_known_is_not_told_as_nothing() -> None:
    """While the control database is away nobody knows how many runs there are; before the first picture, anything."""
    blind = read(picture(control_fault=Fault("away")))
    assert blind["shardwright_control_up"] == {(): 0}
    assert {"shardwright_runs", "shardwright_workers"}.isdisjoint(blind)
    assert read(None) == {}


def test_a_hostile_name_is_a_label_and_no_line_of_its_own() -> None:
    """Quotes and line ends are escaped."""
    name = 'x"} 1\nshardwright_shard_up{shard="y'
    assert list(read(picture(vitals(name)))["shardwright_shard_up"]) == [(name,)]
