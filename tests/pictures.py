"""Pictures of fleets that are not there, for tests of what is made of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from shardwright.config import Config, parse
from shardwright.monitor.picture import OpenRun, Picture
from shardwright.monitor.vitals import Vitals
from shardwright.pg.faults import Fault
from shardwright.runs.board import DurableRun
from shardwright.runs.store import Run

NOW = datetime.now(UTC).replace(microsecond=0)
REFUSED = Fault("connection refused", "is the server running and listening there?")


def config(extra: str = "") -> Config:
    """A configuration with one shard, and what a test adds."""
    text = '[fleet]\ncontrol = "postgresql://h/c"\n[shards.shard_0]\nurl = "postgresql://h/s"\n'
    return parse(text + extra, Path("shardwright.toml"))


def vitals(shard: str = "shard_0", **fields: Any) -> Vitals:
    """A shard that is well, but for these fields."""
    well: dict[str, Any] = {
        "host": "db1:5432", "at": NOW, "seconds": 0.001, "version": "18.1", "in_recovery": False, "connections": 10,
        "connections_allowed": 97, "bytes": 9_000_000, "cache": 0.99, "tenants": 5, "rows": 100, "writes": 1000,
        "state": ("4f2a",),
    }  # fmt: skip
    return Vitals(shard, **{**well, **fields})


def away(shard: str = "shard_0", **fields: Any) -> Vitals:
    """A shard that does not answer."""
    return Vitals(shard, **{"host": "db1:5432", "at": NOW, "fault": REFUSED, **fields})


def picture(*shards: Vitals, seconds: float = 0, **fields: Any) -> Picture:
    """A picture of these shards (one that is well), so many seconds after the first."""
    found = Picture(NOW + timedelta(seconds=seconds), "main", "production", shards or (vitals(),))
    return replace(found, **fields)


def open_run(state: str = "running", *, quiet: float = 0, kind: str = "move", **fields: Any) -> OpenRun:
    """A durable run of which nothing was heard for `quiet` seconds; `silent` is for how long its worker was not."""
    run = Run(7, kind, "main", state, None, None, "ada", "here", 1, NOW, None, None, fields.pop("note", None), True)
    values: dict[str, Any] = {"worker": "w-1", "silent": 1.0, **fields}
    durable = DurableRun(
        7, kind, "main", state, "forward", None, {}, (), 1, 1, values["worker"], 0, None, None, None, run.note,
        values["silent"],
    )  # fmt: skip
    return OpenRun(run, quiet, durable)
