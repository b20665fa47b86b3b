"""Plans a move, and puts it into the queue of runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg

from shardwright import errors
from shardwright.catalog.changes import require_none_open
from shardwright.catalog.control import open_control, read_control
from shardwright.catalog.placement import Placement, find, unknown
from shardwright.catalog.tenants import require_tenants
from shardwright.config import FleetConfig
from shardwright.move.preflight.check import preflight
from shardwright.move.preflight.estimate import Estimate, estimate
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground, open_ground
from shardwright.move.steps import KIND
from shardwright.move.store import Moves
from shardwright.pg.faults import explain
from shardwright.runs.board import Board
from shardwright.shard import Shard

_NAME = "shardwright move"
_MOVE = "no tenant can be moved by itself"
_MOST = 20  # of the errors in a refusal; `move plan` has all


@dataclass(frozen=True)
class MoveOptions:
    """What `move` may be told. `keep` is how long the way back stays open; None: as [limits] says."""

    to: str
    keep: timedelta | None = None
    streams: int | None = None
    bytes_per_second: int | None = None
    offline: bool = False
    allow: tuple[str, ...] = ()


@dataclass(frozen=True)
class MovePlan:
    """What a move would do, how long it may take, and what could make it fail."""

    tenant: str
    source: str
    target: str
    epoch: int
    options: MoveOptions
    hosts: tuple[str, ...]
    fingerprints: Mapping[str, str]
    findings: tuple[Finding, ...]
    estimate: Estimate | None

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What has to be mended first."""
        return tuple(each for each in self.findings if each.severity == "error")

    def as_dict(self) -> dict[str, Any]:
        """The plan as `--json` prints it."""
        return {
            **{name: getattr(self, name) for name in ("tenant", "source", "target", "epoch")},
            "offline": self.options.offline,
            "findings": [each.as_dict() for each in self.findings],
            "estimate": self.estimate.as_dict() if self.estimate else None,
        }

    def as_data(self, fleet: FleetConfig) -> dict[str, Any]:
        """The plan as the run keeps it."""
        keep = self.options.keep if self.options.keep is not None else fleet.config.limits.keep
        tables = self.estimate.tables if self.estimate else ()
        return {
            "tenant": self.tenant,
            "source": self.source,
            "target": self.target,
            "epoch": self.epoch,
            "tables": [{"table": each.table, "rows": each.rows} for each in tables],
            "fingerprints": dict(self.fingerprints),
            "keep_seconds": keep.total_seconds(),
            "streams": self.options.streams or fleet.config.moves.streams,
            "offline": self.options.offline,
            "allow": list(self.options.allow),
            "checked_at": time.time(),
        }


def plan_move(fleet: FleetConfig, tenant: str, options: MoveOptions) -> MovePlan:
    """What a move of `tenant` would do; changes nothing.

    Raises NoSuchTenant, NoSuchShard, NoTenants, MoveUnderWay, ChangeUnderWay, ShardsSilent, UsageError where it is
    there already.
    """
    require_tenants(fleet.config)
    placement = _placement(fleet, tenant)
    source, target = shard_named(fleet, placement.shard), shard_named(fleet, options.to)
    if source == target:
        raise errors.UsageError(reason=f"tenant {tenant!r} is on {target.name} already", help="shardwright tenants")
    try:
        with open_ground(fleet, placement.tenant, source, target, offline=options.offline) as ground:
            found = preflight(ground, options.allow)
            return MovePlan(
                placement.tenant, source.name, target.name, placement.epoch, options,
                hosts=tuple(sorted({source.host, target.host})),
                fingerprints={side.name: side.fingerprint.digest for side in ground.sides},
                findings=tuple(found),
                estimate=_estimate(ground),
            )  # fmt: skip
    except psycopg.Error as error:
        shards = f"{source.name} and {target.name}"
        raise errors.ShardsSilent(action="a move", shards=shards, reason=explain(error).reason) from error


Also = Callable[[psycopg.Connection[Any], int], None]


def _nothing_more(control: psycopg.Connection[Any], run: int) -> None:
    del control, run


def require_sound(plan: MovePlan) -> None:
    """Raises MoveRefused where the preflight has found errors."""
    if plan.errors:
        told = "\n".join(
            f"  {each.fact}" + (f"; try: {each.cure}" if each.cure else "") for each in plan.errors[:_MOST]
        )
        raise errors.MoveRefused(tenant=plan.tenant, target=plan.target, findings=told)


def _estimate(ground: Ground) -> Estimate | None:
    """None where it can't be made, for a reason that is among the findings: a right that is missing, for one."""
    if ground.is_broken or ground.graph.problems:
        return None
    try:
        return estimate(ground)
    except psycopg.Error:
        if ground.is_broken:
            raise
        return None


def start_move(fleet: FleetConfig, plan: MovePlan, also: Also = _nothing_more) -> int:
    """The move is in the queue; gives its run's number. `also` is done in the transaction that makes the run.

    Raises MoveRefused, MoveUnderWay, ChangeUnderWay, ControlUnavailable.
    """
    require_sound(plan)
    throttle = {"bytes_per_second": plan.options.bytes_per_second} if plan.options.bytes_per_second else {}
    with open_control(fleet.control, application_name=_NAME) as control, control.transaction():
        require_none_open(control, fleet.shard_set, _MOVE)
        run = Board(control, fleet.shard_set).create(
            KIND, plan.as_data(fleet), target=f"{plan.tenant} to {plan.target}", hosts=plan.hosts
        )
        Moves(control, fleet.shard_set).create(run, plan.tenant, plan.source, plan.target, plan.epoch, throttle)
        also(control, run)
    return run


def _placement(fleet: FleetConfig, tenant: str) -> Placement:
    with read_control(fleet.control, application_name=_NAME) as control:
        if control is None:
            raise errors.NoSuchTenant(tenant=tenant)
        found = find(control, fleet.shard_set, tenant)
        if found is None:
            raise unknown(control, fleet.shard_set, tenant)
        require_none_open(control, fleet.shard_set, _MOVE)
        present = Moves(control, fleet.shard_set).of_tenant(tenant)
    if present is not None and present.is_open:
        raise errors.MoveUnderWay(tenant=tenant, run=present.run)
    return found


def shard_named(fleet: FleetConfig, name: str) -> Shard:
    """By its own name, and no pattern. Raises NoSuchShard."""
    for shard in fleet.shards:
        if shard.name == name:
            return shard
    fleet.select(name)
    raise errors.UsageError(reason=f"{name!r} is not the name of one shard", help="shardwright shards")
