"""The fleet as last measured: for people, and for the planner."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import psycopg

from shardwright.catalog import changes, placement
from shardwright.catalog.ask import ask_each
from shardwright.catalog.control import read_control
from shardwright.catalog.placement import Placement
from shardwright.catalog.store import takes_new
from shardwright.catalog.tenants import require_shard
from shardwright.config import FleetConfig
from shardwright.move.store import Move, Moves
from shardwright.pg.faults import Fault
from shardwright.rebalance.balance import loads
from shardwright.rebalance.load import EVERYBODY, NAME, shards_with_tenants
from shardwright.rebalance.load_store import Loads, Measured, MeasuredShard
from shardwright.rebalance.measure import database_bytes
from shardwright.rebalance.rules import Rules
from shardwright.rebalance.world import ShardState, TenantLoad, World
from shardwright.shard import Shard

_SAID = 5  # names in a note
_PLANNED = "a rebalance can't be planned"


@dataclass(frozen=True, slots=True)
class HeavyTenant:
    """One tenant as last measured, and its share of the whole fleet's load; `writes`: None where they are not known."""

    load: TenantLoad
    share: float
    writes: float | None

    @property
    def tenant(self) -> str:
        """Its id."""
        return self.load.tenant

    def as_dict(self) -> dict[str, Any]:
        """The tenant as `--json` prints it."""
        load = self.load
        return {
            "tenant": load.tenant,
            "shard": load.shard,
            "load": round(self.share, 6),
            "rows": load.rows,
            "bytes": load.bytes,
            "writes": None if self.writes is None else round(self.writes, 3),
            "custom": load.custom,
            "labels": dict(load.labels),
            "measured_at": load.measured_at.isoformat() if load.measured_at else None,
            "is_moving": load.is_moving,
        }


@dataclass(frozen=True)
class FleetLoad:
    """What the last measurements say of the tenants in `world`, of the whole fleet or of one shard.

    `shares` has the share of the fleet's load that each has, as [rebalance] says what load is; `shards` what was
    measured of each, `unmeasured` those that never were; `uncounted` tenants of whose writes nothing is known.
    """

    world: World
    shares: Mapping[str, float] = field(default_factory=dict)
    shards: Mapping[str, MeasuredShard] = field(default_factory=dict)
    uncounted: frozenset[str] = frozenset()

    @property
    def at(self) -> datetime:
        """When it was read, by the control database's clock."""
        return self.world.at

    @property
    def unmeasured(self) -> list[str]:
        """The shards that were never measured."""
        return [shard.name for shard in self.world.shards if shard.name not in self.shards]

    def heaviest(self, top: int) -> list[HeavyTenant]:
        """The first `top` tenants by load; of equals by id."""
        ranked = sorted(self.world.tenants, key=lambda each: (-self.shares[each.tenant], each.tenant))
        return [
            HeavyTenant(each, self.shares[each.tenant], None if each.tenant in self.uncounted else each.writes)
            for each in ranked[:top]
        ]

    @cached_property
    def carried(self) -> Mapping[str, float]:
        """The share of the fleet's load that each shard carries."""
        carried = {shard.name: 0.0 for shard in self.world.shards}
        for each in self.world.tenants:
            carried[each.shard] += self.shares[each.tenant]
        return carried

    def as_dict(self, *, top: int) -> dict[str, Any]:
        """The loads as `--json` prints them."""
        return {
            "at": self.at.isoformat(),
            "tenants": [each.as_dict() for each in self.heaviest(top)],
            "shards": [
                {**shard.as_dict(), "load": round(self.carried[name], 6)} for name, shard in self.shards.items()
            ],
            "unmeasured": self.unmeasured,
            "notes": list(self.world.notes),
        }


def read_loads(fleet: FleetConfig, *, shard: str | None = None) -> FleetLoad:
    """How heavy each tenant, of `shard` or of all, was when last measured; only the control database is asked.

    Raises NoShards, NoSuchShard, UsageError, ControlUnavailable, ControlTooOld.
    """
    fleet.select(None)
    if shard is not None:
        require_shard(fleet, shard)
    with read_control(fleet.control, application_name=NAME) as control:
        if control is None:
            return FleetLoad(nothing_known(fleet))
        store = Loads(control, fleet.shard_set)
        measured, lines = store.shards(), store.tenants()
        world = _world(control, fleet, measured, lines, shards_with_tenants(control, fleet))
    shares = loads(world, Rules.of(fleet.config))
    if shard is not None:
        world = replace(
            world,
            tenants=tuple(each for each in world.tenants if each.shard == shard),
            shards=tuple(each for each in world.shards if each.name == shard),
        )
    names = {each.name for each in world.shards}
    counted = {tenant for tenant, each in lines.items() if each.writes is not None}
    return FleetLoad(
        world,
        shares,
        {name: each for name, each in measured.items() if name in names},
        frozenset(each.tenant for each in world.tenants if each.tenant not in counted),
    )


def nothing_known(fleet: FleetConfig) -> World:
    """What is said before anything was ever recorded."""
    return World(fleet.shard_set, datetime.now(UTC), (), _states(fleet, fleet.shards, {}, {}))


def read_world(fleet: FleetConfig) -> World:
    """The fleet as it is now: placements, open moves, sizes of shards; tenants as last measured. Changes nothing.

    What an open move has still to bring is counted at its target too: what is on both shards, is on both. Raises
    NoShards, ChangeUnderWay, GreenIsTheFleet, ControlUnavailable, ControlTooOld.
    """
    fleet.select(None)
    with read_control(fleet.control, application_name=NAME) as control:
        if control is None:
            return nothing_known(fleet)
        changes.require_none_open(control, fleet.shard_set, _PLANNED)
        changes.require_written_down(control, fleet)
        store = Loads(control, fleet.shard_set)
        measured = store.shards()
        world = _world(control, fleet, measured, store.tenants(), fleet.shards)
        coming = _coming(world, Moves(control, fleet.shard_set).open())
    sizes = ask_each(
        fleet.shards, database_bytes, connections_per_host=fleet.config.limits.connections_per_host
    )  # fmt: skip
    return replace(
        world,
        shards=tuple(_sized(state, sizes[state.name], coming.get(state.name, 0)) for state in world.shards),
        notes=(*world.notes, *_silent(sizes, measured)),
    )


def _world(
    control: psycopg.Connection[object],
    fleet: FleetConfig,
    measured: Mapping[str, MeasuredShard],
    lines: Mapping[str, Measured],
    shards: Sequence[Shard],
) -> World:
    placed = placement.page(control, fleet.shard_set, limit=EVERYBODY)
    moving = {move.tenant for move in Moves(control, fleet.shard_set).open()}
    names = {shard.name for shard in shards}
    at_home = [each for each in placed if each.shard in names]
    labels = _labels(fleet, shards)
    mean = _mean([lines[each.tenant] for each in at_home if each.tenant in lines])
    tenants = tuple(
        _load(each, lines.get(each.tenant), mean, labels[each.shard], is_moving=each.tenant in moving)
        for each in at_home
    )
    open_for = takes_new(control, fleet.shard_set)
    return World(
        fleet.shard_set,
        placement.moment(control),
        tenants,
        _states(fleet, shards, {name: each.database_bytes for name, each in measured.items()}, open_for),
        tuple(_notes(placed, names, lines, measured)),
    )


def _load(
    at: Placement, line: Measured | None, mean: TenantLoad, labels: Mapping[str, str], *, is_moving: bool
) -> TenantLoad:
    """One whom nobody has measured is like the others; that he lives where he does says what his labels are."""
    if line is None:
        load = replace(mean, tenant=at.tenant, shard=at.shard, epoch=at.epoch, labels=labels)
    else:
        load = TenantLoad(
            at.tenant, at.shard, at.epoch, line.rows, line.bytes,
            mean.writes if line.writes is None else line.writes,
            line.custom, line.labels, line.measured_at,
        )  # fmt: skip
    return replace(load, is_moving=is_moving)


def _labels(fleet: FleetConfig, shards: Sequence[Shard]) -> dict[str, dict[str, str]]:
    wanted = fleet.config.rebalance.labels
    return {
        shard.name: {name: shard.labels[name] for name in wanted if name in shard.labels} for shard in shards
    }  # fmt: skip


def _mean(lines: Sequence[Measured]) -> TenantLoad:
    count = max(len(lines), 1)
    rates = [each.writes for each in lines if each.writes is not None]
    return TenantLoad(
        "", "", 0,
        rows=round(sum(each.rows for each in lines) / count),
        bytes=round(sum(each.bytes for each in lines) / count),
        writes=sum(rates) / max(len(rates), 1),
        custom=sum(each.custom for each in lines) / count,
    )  # fmt: skip


def _states(
    fleet: FleetConfig, shards: Sequence[Shard], sizes: Mapping[str, int], open_for: Mapping[str, bool]
) -> tuple[ShardState, ...]:
    disks = fleet.config.monitor.disk
    return tuple(
        ShardState(
            shard.name, shard.host, dict(shard.labels), sizes.get(shard.name, 0), disks.get(shard.host),
            takes_new=open_for.get(shard.name, True),
        )
        for shard in shards
    )  # fmt: skip


def _coming(world: World, moves: Sequence[Move]) -> dict[str, int]:
    """Bytes that open moves have not brought yet, or only in part, by target."""
    bytes_of = {each.tenant: each.bytes for each in world.tenants}
    coming: dict[str, int] = {}
    for move in moves:
        if move.phase == "moving":
            coming[move.target] = coming.get(move.target, 0) + bytes_of.get(move.tenant, 0)
    return coming


def _sized(state: ShardState, size: int | Fault, coming: int) -> ShardState:
    return replace(state, bytes=(state.bytes if isinstance(size, Fault) else size) + coming)


def _silent(sizes: Mapping[str, int | Fault], measured: Mapping[str, MeasuredShard]) -> Iterator[str]:
    for name, size in sizes.items():
        if isinstance(size, Fault):
            taken = "its size is that of its last measurement" if name in measured else "its size is not known"
            yield f"{name} does not answer, so {taken}: {size.reason}"


def _notes(
    placed: Sequence[Placement],
    names: Collection[str],
    lines: Mapping[str, Measured],
    measured: Mapping[str, MeasuredShard],
) -> Iterator[str]:
    if away := [each for each in placed if each.shard not in names]:
        where = _some(sorted({each.shard for each in away}))
        yield f"{_count(len(away))} on shards that are none of the fleet's ({where}) and left out"
    here = [each.tenant for each in placed if each.shard in names]
    if never := [tenant for tenant in here if tenant not in lines]:
        yield f"{_count(len(never))} taken for the mean of the fleet, since nobody measured them yet: {_some(never)}"
    if unknown := [tenant for tenant in here if tenant in lines and lines[tenant].writes is None]:
        yield f"{_count(len(unknown))} measured once, which says nothing of writes yet: {_some(unknown)}"
    for name, shard in measured.items():
        for table, why in shard.unread.items() if name in names else ():
            yield f"{name}: {table} is not in the figures: {why}"


def _count(number: int) -> str:
    return f"{number} tenants are" if number != 1 else "1 tenant is"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SAID]) + (f" and {len(names) - _SAID} more" if len(names) > _SAID else "")
