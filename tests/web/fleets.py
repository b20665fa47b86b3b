"""Pictures of fleets that need not be there: any number of shards, some of them unwell."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shardwright.catalog.comparison import Comparison, Difference, Kind
from shardwright.config import parse_column
from shardwright.migration.drift import Drift, SchemaGroup, Schemas
from shardwright.monitor.alerts.alert import Alert
from shardwright.monitor.check import FleetCheck
from shardwright.monitor.exhaustion import Exhaustion
from shardwright.monitor.leftovers import Leftover
from shardwright.monitor.picture import Picture
from shardwright.monitor.progress import Example
from shardwright.monitor.references import ReferenceCheck
from shardwright.monitor.skew import Skew
from shardwright.monitor.uneven import Uneven
from shardwright.monitor.vitals import LongTransaction, Vitals
from shardwright.move.verify import Odd, Verification
from shardwright.pg.faults import Fault
from shardwright.pg.fingerprint import Fingerprint, SchemaObject, differences

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HEAD, BEFORE = "8c2e41f0a7d3", "51d0c6a9e2b4"
REFUSED = Fault('connection to server at "10.0.3.7", port 5432 failed: Connection refused', "shardwright shards check")


def vitals(number: int, *, at: datetime = NOON, **changes: Any) -> Vitals:
    """A shard that is well; the same number gives the same one."""
    wave = 1 + 0.4 * math.sin(number * 1.7) + 0.25 * math.sin(at.timestamp() / 300 + number)
    found = Vitals(
        shard=f"shard_{number}",
        host=f"10.0.{number % 8}.7:5432",
        at=at,
        seconds=0.0006 * wave,
        version="18.6",
        in_recovery=False,
        connections=int(38 * wave),
        connections_allowed=97,
        longest=LongTransaction(4000 + number, 0.8 * wave, "SELECT * FROM tasks WHERE organization_id = $1"),
        lag=0.02 * wave,
        bytes=int(41e9 * wave),
        disk=0.42 * wave,
        cache=0.994,
        tenants=int(420 * wave),
        rows=int(83e6 * wave),
        writes=int(9e9 * wave),
        writes_per_second=310 * wave,
        state=(HEAD,),
    )
    return replace(found, **changes)


def down(number: int, *, at: datetime = NOON, fault: Fault = REFUSED) -> Vitals:
    """A shard that does not answer."""
    return Vitals(f"shard_{number}", f"10.0.{number % 8}.7:5432", at, fault=fault)


def picture(shards: int = 12, *, unwell: Mapping[int, Vitals] | None = None, **changes: Any) -> Picture:
    """A fleet of so many shards, those of `unwell` as they are there."""
    at = changes.get("at", NOON)
    there = tuple((unwell or {}).get(number) or vitals(number, at=at) for number in range(shards))
    found = Picture(at=at, shard_set="main", environment="production", vitals=there, heads=(HEAD,))
    return replace(found, **changes)


def troubled(shards: int = 12, *, at: datetime = NOON, **changes: Any) -> Picture:
    """The same with a shard down, one that is full, and one that was forgotten at an earlier revision."""
    unwell = {
        3: down(3, at=at),
        5: vitals(5, at=at, connections=93),
        7: vitals(7, at=at, state=(BEFORE,), bytes=140_000_000_000),
    }
    alerts = (
        Alert("shard_down", "shard_3", "critical", "shard_3 does not answer: Connection refused",
              "shardwright shards check", at - timedelta(minutes=4)),
        Alert("connections", "10.0.5.7:5432", "critical", "10.0.5.7:5432 has 93 of 97 connections in use",
              "end idle sessions there, put a pooler before the application, or raise max_connections",
              at - timedelta(minutes=21)),
        Alert("skew", "fleet", "warning", f"2 revisions: {HEAD}: {shards - 2} shards; {BEFORE}: shard_7",
              "shardwright status", at - timedelta(hours=5)),
    )  # fmt: skip
    others = tuple(f"shard_{number}" for number in range(shards) if number not in (3, 7))
    return picture(
        shards, unwell=unwell, alerts=alerts, at=at,
        skew=(Skew(HEAD, others), Skew(BEFORE, ("shard_7",))),
        uneven=(Uneven("bytes", "shard_7", 140e9, "shard_4", 31e9),), **changes,
    )  # fmt: skip


def hour(shards: int = 12, *, until: datetime = NOON, every: float = 60.0) -> list[Picture]:
    """Pictures of the last hour, the oldest first, of a fleet whose shard 3 went down four minutes ago."""
    moments = [until - timedelta(seconds=every * back) for back in range(int(3600 / every), -1, -1)]
    gone = until - timedelta(minutes=4)
    return [
        replace(troubled(shards, at=at), number=place) if at >= gone else picture(shards, at=at, number=place)
        for place, at in enumerate(moments, 1)
    ]


def schema(**definitions: str) -> Fingerprint:
    """A schema with these objects besides the usual ones, named `kind__name`; an empty definition takes one away."""
    known = dict(_SCHEMA)
    for key, definition in definitions.items():
        kind, _, name = key.partition("__")
        known[kind, f"public.{name}"] = definition
    objects = tuple(SchemaObject(*key, definition) for key, definition in sorted(known.items()) if definition)
    return Fingerprint(hashlib.sha256(repr(objects).encode()).hexdigest(), objects)


def unlike(shards: int = 12) -> FleetCheck:
    """What a check finds where much is not as it should be."""
    twice = Kind(1, (Difference("acme", "shard_0", ("shard_0", "shard_4")),))
    orphans = Odd("shard_2", "12 rows of comments belong to no tenant that lives here", "shardwright tables")
    plans = ReferenceCheck(
        parse_column("invoices.plan_code"), parse_column("billing.plans.code"), rows=812_000, dangling=3,
        examples=(Example("shard_1", "gold-2019", "4711"),),
    )  # fmt: skip
    sequence = Exhaustion(
        "shard_6", "sequence", "public.tasks_id_seq", 0.91, 193_273_528, 2**31 - 1,
        "public.tasks_id_seq has given out 91 % of its numbers", "ALTER TABLE public.tasks ALTER id TYPE bigint",
    )  # fmt: skip
    triggers = Leftover("shard_8", "transfer", "12", "triggers of move 12, which is over", "shardwright check", 12)
    return FleetCheck(
        schemas=drifted(shards),
        verification=Verification(Comparison(agreeing=5034, moving=2, twice=twice), (), (orphans,)),
        references=(plans,),
        exhaustion=(sequence,),
        leftovers=(triggers,),
    )


def drifted(shards: int = 12) -> Schemas:
    """A fleet in which shard_7 was changed by hand."""
    usual = schema()
    odd = schema(
        index__tasks_by_due="", column__tasks_note="text",
        function__touch="CREATE FUNCTION public.touch() RETURNS trigger\n LANGUAGE plpgsql\nAS $$\nBEGIN\n"
        "  NEW.changed_at := clock_timestamp();\n  RETURN NEW;\nEND\n$$",
    )  # fmt: skip
    others = tuple(f"shard_{number}" for number in range(shards) if number != 7)
    group, changed = SchemaGroup((HEAD,), 18, usual, others), SchemaGroup((HEAD,), 18, odd, ("shard_7",))
    return Schemas((group, changed), (Drift(changed, group, tuple(differences(odd, usual))),), ())


_SCHEMA = {
    ("table", "public.tasks"): "TABLE",
    ("column", "public.tasks_title"): "text NOT NULL",
    ("index", "public.tasks_by_due"): "CREATE INDEX tasks_by_due ON public.tasks USING btree (organization_id, due)",
    ("function", "public.touch"): "CREATE FUNCTION public.touch() RETURNS trigger\n LANGUAGE plpgsql\nAS $$\nBEGIN\n"
    "  NEW.changed_at := now();\n  RETURN NEW;\nEND\n$$",
}
