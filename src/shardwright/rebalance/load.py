"""Measures how heavy each tenant is: every shard is read, and what it said goes into the control database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg

from shardwright.catalog import changes, placement
from shardwright.catalog.ask import ask_each
from shardwright.catalog.control import open_control
from shardwright.catalog.store import record_shards
from shardwright.catalog.tenants import require_tenants
from shardwright.config import FleetConfig
from shardwright.move.store import Moves
from shardwright.pg.faults import Fault
from shardwright.rebalance.load_store import Before, Loads, Measured, MeasuredShard
from shardwright.rebalance.measure import EXACT, Part, Questions, ShardReading, read_shard
from shardwright.rebalance.rates import Baseline, writes_of
from shardwright.shard import Shard

NAME: Final = "shardwright load"
EVERYBODY: Final = (1 << 31) - 1
_AT_ONCE = 2  # shards of one host: each reads whole tables
_SHORTEST = 60.0  # seconds in which writes are counted; in less, few are, and servers tell of them late


@dataclass(frozen=True)
class Measurement:
    """What was measured, by shard; `faults`: why a shard was not, of which the last measurement stands.

    `unread` names, of a shard, tables that are not in its figures, and why.
    """

    at: datetime
    shards: tuple[MeasuredShard, ...]
    faults: Mapping[str, Fault] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 where every shard was measured, all its tables too."""
        return 1 if self.faults or any(each.unread for each in self.shards) else 0

    def as_dict(self) -> dict[str, Any]:
        """The measurement as `--json` prints it."""
        return {
            "at": self.at.isoformat(),
            "shards": [each.as_dict() for each in self.shards],
            "failed": [
                {"shard": name, "error": fault.reason, "hint": fault.hint or None}
                for name, fault in self.faults.items()
            ],
        }


def measure(fleet: FleetConfig, shards: Sequence[Shard] | None = None, *, exact: int = EXACT) -> Measurement:
    """The control database has what each tenant of these shards (default: of all) has there, and writes a second.

    On the shards it only reads, two of a host at once. Tables of more than `exact` blocks are sampled. Raises
    NoTenants, NoShards, ControlUnavailable.
    """
    section = require_tenants(fleet.config)
    fleet.select(None)
    with open_control(fleet.control, application_name=NAME) as control:
        record_shards(control, fleet.shard_set, fleet.shards, fleet.green)
        at = placement.moment(control)
        store = Loads(control, fleet.shard_set)
        before, baselines = store.before(), store.baselines()
        green = {shard.name for shard in fleet.green}

        def read(shard: Shard) -> ShardReading | Fault:
            there = fleet.config.green_tenants if shard.name in green else None
            known = baselines.get(shard.name)
            return read_shard(shard, _questions(fleet, there or section, exact), known.xid if known else None)

        chosen = shards_with_tenants(control, fleet) if shards is None else shards
        answers = ask_each(
            chosen, read, connections_per_host=min(_AT_ONCE, fleet.config.limits.connections_per_host)
        )  # fmt: skip
        readings = {name: answer for name, answer in answers.items() if isinstance(answer, ShardReading)}
        placed = {
            each.tenant: each.shard for each in placement.page(control, fleet.shard_set, limit=EVERYBODY)
        }  # fmt: skip
        work = _Work(at, placed, before, baselines, readings, _Movement(control, fleet.shard_set))
        tenants = work.tenants()
        measured = {name: work.shard(reading, tenants) for name, reading in readings.items()}
        store.write(
            at, measured, tenants.values(), known=placed, fleet=[shard.name for shard in fleet.every]
        )  # fmt: skip
    faults = {name: answer for name, answer in answers.items() if isinstance(answer, Fault)}
    return Measurement(at, tuple(shard for shard, _ in measured.values()), faults)


def ensure_measured(fleet: FleetConfig, max_age: timedelta) -> Measurement | None:
    """No shard's measurement is older than `max_age`, as far as it answers; None where none was.

    Only those that are older are measured. Raises what `measure` raises.
    """
    with open_control(fleet.control, application_name=NAME) as control:
        ages = Loads(control, fleet.shard_set).ages()
        old = [
            shard
            for shard in shards_with_tenants(control, fleet)
            if ages.get(shard.name, float("inf")) > max_age.total_seconds()
        ]
    return measure(fleet, old) if old else None


def shards_with_tenants(control: psycopg.Connection[Any], fleet: FleetConfig) -> list[Shard]:
    """The fleet's shards, and green ones as soon as they have tenants."""
    loads = placement.loads(control, fleet.shard_set) if fleet.green else {}
    return [*fleet.select(None), *(shard for shard in fleet.green if shard.name in loads)]


def _questions(fleet: FleetConfig, section: Any, exact: int) -> Questions:
    rules = fleet.config.rebalance
    return Questions(section, fleet.config.fleet.version_table, rules.load_query, rules.labels, exact)


class _Movement:
    """Who was carried from shard to shard since a moment: what the mover wrote for them is nobody's load."""

    def __init__(self, control: psycopg.Connection[Any], shard_set: str) -> None:
        self._moves = Moves(control, shard_set)
        self._changing = changes.tenants_under_way(control, shard_set)
        self._known: dict[datetime, tuple[frozenset[str], frozenset[str]]] = {}

    def since(self, moment: datetime) -> tuple[frozenset[str], frozenset[str]]:
        """The tenants, and the shards that they came to or left."""
        if moment not in self._known:
            ways = self._moves.carried_since(moment)
            tenants = self._changing.union(tenant for tenant, _, _ in ways)
            shards = frozenset(shard for _, *both in ways for shard in both)
            self._known[moment] = frozenset(tenants), shards
        return self._known[moment]


class _Work:
    """From what the shards said to what each tenant weighs."""

    def __init__(
        self,
        at: datetime,
        placed: Mapping[str, str],
        before: Mapping[str, Before],
        baselines: Mapping[str, Baseline],
        readings: Mapping[str, ShardReading],
        movement: _Movement,
    ) -> None:
        self._at = at
        self._placed = placed
        self._before = before
        self._baselines = baselines
        self._readings = readings
        self._movement = movement

    def tenants(self) -> dict[str, Measured]:
        """Each tenant whose shard was read, as it is there; one whom a move took away meanwhile, where he was seen."""
        found: dict[str, Measured] = {}
        seen: dict[str, set[str]] = defaultdict(set)
        for name, reading in self._readings.items():
            for tenant in reading.tenants:
                seen[tenant].add(name)
        of_shard: dict[str, list[str]] = defaultdict(list)
        for tenant, shard in self._placed.items():
            if shard in self._readings:
                there = seen[tenant]
                of_shard[shard if shard in there or not there else min(there)].append(tenant)
        for shard, tenants in of_shard.items():
            found |= self._of_shard(self._readings[shard], tenants)
        return found

    def shard(self, reading: ShardReading, tenants: Mapping[str, Measured]) -> tuple[MeasuredShard, Baseline]:
        """What its tenants have there together; and what its writes are counted from the next time."""
        own = [each for each in tenants.values() if each.shard == reading.shard]
        strangers = reading.tenants.difference(each.tenant for each in own)
        measured = MeasuredShard(
            shard=reading.shard,
            measured_at=self._at,
            seconds=reading.seconds,
            database_bytes=reading.bytes,
            tenants=len(own),
            rows=sum(each.rows for each in own),
            bytes=sum(each.bytes for each in own),
            writes=sum(each.writes or 0.0 for each in own),
            custom=sum(each.custom for each in own),
            strangers=len(strangers),
            sampled=reading.sampled,
            unread=reading.unread,
        )
        known = self._baselines.get(reading.shard)
        if known is not None and not self._counts(reading):
            return measured, known
        counters = {name: each for table in reading.tables for name, each in table.counters.items()}
        return measured, Baseline(reading.shard, self._at, reading.at, reading.xid, counters)

    def _of_shard(self, reading: ShardReading, tenants: Collection[str]) -> dict[str, Measured]:
        rates = self._rates(reading)
        of: dict[str, dict[str, Part]] = defaultdict(dict)
        for table in reading.tables:
            for tenant, part in table.parts.items():
                if tenant is not None:
                    of[tenant][table.name] = part
        return {
            tenant: Measured(
                tenant=tenant,
                shard=reading.shard,
                rows=round(sum(part.rows for part in of[tenant].values())),
                bytes=round(sum(part.bytes for part in of[tenant].values())),
                writes=self._writes(tenant, reading, rates),
                custom=reading.custom.get(tenant, 0.0),
                labels=reading.labels.get(tenant, {}),
                measured_at=self._at,
                rows_of=self._rows_of(tenant, reading, of[tenant]),
            )
            for tenant in tenants
        }

    def _rates(self, reading: ShardReading) -> Mapping[str, float] | None:
        """Rows a second since the last measurement; None where nothing is counted."""
        if not self._counts(reading):
            return None
        baseline = self._baselines[reading.shard]
        _, shards = self._movement.since(baseline.since)
        rows_before = {
            tenant: each.rows_of for tenant, each in self._before.items() if each.shard == reading.shard
        }  # fmt: skip
        counts = writes_of(reading, baseline, rows_before, with_deletes=reading.shard not in shards)
        seconds = (reading.at - baseline.at).total_seconds()
        return {tenant: count / seconds for tenant, count in counts.items()}

    def _counts(self, reading: ShardReading) -> bool:
        baseline = self._baselines.get(reading.shard)
        return baseline is not None and (reading.at - baseline.at).total_seconds() >= _SHORTEST

    def _writes(self, tenant: str, reading: ShardReading, rates: Mapping[str, float] | None) -> float | None:
        before = self._before.get(tenant)
        if rates is None:
            return before.writes if before else None
        moved, _ = self._movement.since(self._baselines[reading.shard].since)
        if tenant in moved or (before and before.shard != reading.shard):
            return before.writes if before else None
        return rates.get(tenant, 0.0)

    def _rows_of(self, tenant: str, reading: ShardReading, parts: Mapping[str, Part]) -> Mapping[str, int]:
        """As of the moment from which deletes are counted."""
        before = self._before.get(tenant)
        is_kept = reading.shard in self._baselines and not self._counts(reading)
        if is_kept and before and before.shard == reading.shard:
            return before.rows_of
        return {name: round(part.rows) for name, part in parts.items()}
