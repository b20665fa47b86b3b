"""Plans a move, and puts it into the queue of runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from shardwright import errors
from shardwright.catalog.control import open_control, read_control
from shardwright.catalog.placement import Placement, find
from shardwright.catalog.tenants import require_tenants
from shardwright.config import FleetConfig
from shardwright.move.steps import KIND
from shardwright.move.store import Moves
from shardwright.move.way import asking
from shardwright.pg.fingerprint import fingerprint
from shardwright.pg.tables import read_tables
from shardwright.runs.board import Board
from shardwright.shard import Shard
from shardwright.transfer.clear import count_rows
from shardwright.transfer.graph import TableGraph
from shardwright.transfer.place import table_graph
from shardwright.transfer.scope import Scope

_NAME = "shardwright move"


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
    """What a move would do."""

    tenant: str
    source: str
    target: str
    epoch: int
    rows: Mapping[str, int]
    fingerprints: Mapping[str, str]
    options: MoveOptions
    hosts: tuple[str, ...] = ()
    graph: TableGraph | None = field(default=None, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """The plan as `--json` prints it."""
        names = ("tenant", "source", "target", "epoch")
        return {**{name: getattr(self, name) for name in names}, "rows": dict(self.rows)}

    def as_data(self, fleet: FleetConfig) -> dict[str, Any]:
        """The plan as the run keeps it."""
        keep = self.options.keep if self.options.keep is not None else fleet.config.limits.keep
        return {
            "tenant": self.tenant,
            "source": self.source,
            "target": self.target,
            "epoch": self.epoch,
            "tables": [{"table": name, "rows": count} for name, count in self.rows.items()],
            "fingerprints": dict(self.fingerprints),
            "keep_seconds": keep.total_seconds(),
            "streams": self.options.streams or fleet.config.moves.streams,
            "offline": self.options.offline,
            "allow": list(self.options.allow),
        }


def plan_move(fleet: FleetConfig, tenant: str, options: MoveOptions) -> MovePlan:
    """What a move of `tenant` would do; changes nothing.

    Raises NoSuchTenant, NoSuchShard, NoTenants, UsageError where it is there already, SchemasDiffer.
    """
    section = require_tenants(fleet.config)
    placement = _placement(fleet, tenant)
    source, target = _shard(fleet, placement.shard), _shard(fleet, options.to)
    if source == target:
        raise errors.UsageError(reason=f"tenant {tenant!r} is on {target.name} already", help="shardwright tenants")
    with asking(source) as here, asking(target) as there:
        graph = table_graph(read_tables(here, fleet.config.fleet.version_table), section)
        prints = {source.name: fingerprint(here).digest, target.name: fingerprint(there).digest}
        rows = count_rows(here, Scope(0, tenant, graph)) if not graph.problems else {}
    hosts = tuple(sorted({source.host, target.host}))
    return MovePlan(
        placement.tenant, source.name, target.name, placement.epoch, rows, prints, options, hosts=hosts, graph=graph
    )


def start_move(fleet: FleetConfig, plan: MovePlan) -> int:
    """The move is in the queue; gives its run's number. Raises MoveUnderWay, ControlUnavailable."""
    throttle = {"bytes_per_second": plan.options.bytes_per_second} if plan.options.bytes_per_second else {}
    with open_control(fleet.control, application_name=_NAME) as control, control.transaction():
        run = Board(control, fleet.shard_set).create(
            KIND, plan.as_data(fleet), target=f"{plan.tenant} to {plan.target}", hosts=plan.hosts
        )
        Moves(control, fleet.shard_set).create(run, plan.tenant, plan.source, plan.target, plan.epoch, throttle)
    return run


def _placement(fleet: FleetConfig, tenant: str) -> Placement:
    with read_control(fleet.control, application_name=_NAME) as control:
        found = find(control, fleet.shard_set, tenant) if control else None
    if found is None:
        raise errors.NoSuchTenant(tenant=tenant)
    return found


def _shard(fleet: FleetConfig, name: str) -> Shard:
    """By its own name, and no pattern. Raises NoSuchShard."""
    for shard in fleet.shards:
        if shard.name == name:
            return shard
    fleet.select(name)
    raise errors.UsageError(reason=f"{name!r} is not the name of one shard", help="shardwright shards")
