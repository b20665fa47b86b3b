"""Plans a blue-green change, and puts it into the queue of runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import psycopg

from shardwright import errors
from shardwright.bluegreen.preflight.check import preflight
from shardwright.bluegreen.preflight.estimate import Estimate, estimate
from shardwright.bluegreen.preflight.ground import Ground, open_ground
from shardwright.bluegreen.sets import NAME
from shardwright.bluegreen.shapes.shape_checks import ONE_WAY
from shardwright.bluegreen.shard_sets.loads import Load
from shardwright.bluegreen.steps import KIND
from shardwright.bluegreen.store import Changes
from shardwright.catalog import changes as catalog_changes
from shardwright.catalog.control import open_control, read_control
from shardwright.catalog.placement import epochs
from shardwright.catalog.store import record_shards
from shardwright.catalog.tenants import require_tenants
from shardwright.config import BlueGreenSection, FleetConfig
from shardwright.migration.history import History
from shardwright.migration.rollout import script_location
from shardwright.move.preflight.finding import Finding
from shardwright.pg.faults import explain
from shardwright.runs.board import Board

_MOST = 20  # of the errors in a refusal; `bluegreen plan` has all


@dataclass(frozen=True)
class ChangeOptions:
    """What `bluegreen start` may be told. `keep`: how long the way back stays open after the switch; None: as [limits]
    says. `auto` switches everything as soon as both sides are equal. `one_way`: nothing is brought back to blue."""

    keep: timedelta | None = None
    streams: int | None = None
    auto: bool = False
    one_way: bool = False
    allow: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChangePlan:
    """What a change would do, and what could make it fail. `tenants`: where each goes, and how much it has."""

    blue: tuple[str, ...]
    green: tuple[str, ...]
    revision: str
    options: ChangeOptions
    hosts: tuple[str, ...]
    tenants: Mapping[str, str]
    loads: Mapping[str, Load]
    fingerprints: Mapping[str, str]
    findings: tuple[Finding, ...]
    estimate: Estimate | None = None

    @property
    def lanes(self) -> tuple[tuple[str, str], ...]:
        """Each pair of shards with tenants between them; a green shard that gets none has the first blue one's."""
        pairs = {(self.loads[tenant].shard, green) for tenant, green in self.tenants.items()}
        seen = {name for pair in pairs for name in pair}
        pairs |= {(self.blue[0], name) for name in self.green if name not in seen}
        seen |= {name for pair in pairs for name in pair}
        pairs |= {(name, self.green[0]) for name in self.blue if name not in seen}
        return tuple(sorted(pairs))

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What has to be mended first."""
        return tuple(each for each in self.findings if each.severity == "error")

    @property
    def rows(self) -> int:
        """Of all tenants; an estimate."""
        return sum(load.rows for load in self.loads.values())

    @property
    def bytes(self) -> int:
        """Of all tenants, with indexes; an estimate."""
        return sum(load.bytes for load in self.loads.values())

    def as_dict(self) -> dict[str, Any]:
        """The plan as `--json` prints it."""
        return {
            "blue": list(self.blue),
            "green": list(self.green),
            "revision": self.revision,
            "lanes": [
                {
                    "blue": blue, "green": green,
                    "tenants": sum(
                        1 for tenant, to in self.tenants.items()
                        if to == green and self.loads[tenant].shard == blue
                    ),
                }
                for blue, green in self.lanes
            ],
            "tenants": len(self.tenants),
            "rows": self.rows,
            "bytes": self.bytes,
            "one_way": self.options.one_way,
            "findings": [each.as_dict() for each in self.findings],
            "estimate": self.estimate.as_dict() if self.estimate else None,
        }  # fmt: skip

    def as_data(self, fleet: FleetConfig) -> dict[str, Any]:
        """The plan as the run keeps it."""
        keep = self.options.keep if self.options.keep is not None else fleet.config.limits.keep
        return {
            "blue": list(self.blue),
            "green": list(self.green),
            "lanes": [list(pair) for pair in self.lanes],
            "revision": self.revision,
            "fingerprints": dict(self.fingerprints),
            "keep_seconds": keep.total_seconds(),
            "streams": self.options.streams or fleet.config.moves.streams,
            "auto": self.options.auto,
            "one_way": self.options.one_way,
            "tables": [{"table": "all", "rows": self.rows}],
        }


def plan_change(fleet: FleetConfig, options: ChangeOptions) -> ChangePlan:
    """What a change to the shards of [bluegreen] would do; changes nothing but scratch databases, which are gone then.

    Raises BadValue where there is no [bluegreen], ChangeUnderWay, NoTenants, ShardsSilent, GreenNotMade where a green
    server can't be asked, NoSuchRevision, SeveralHeads.
    """
    section = _section(fleet)
    require_tenants(fleet.config)
    with read_control(fleet.control, application_name=NAME) as control:
        if control is not None:
            catalog_changes.require_none_open(control, fleet.shard_set, "a new change")
            catalog_changes.require_written_down(control, fleet)
    options = replace(options, one_way=options.one_way or ONE_WAY in options.allow)
    revision = _revision(fleet, section)
    blue, green = [each.name for each in fleet.shards], [each.name for each in fleet.green]
    try:
        with open_ground(fleet, revision, one_way=options.one_way, allow=options.allow) as ground:
            findings = preflight(ground)
            tenants, loads = _spread(ground)
            return ChangePlan(
                tuple(blue), tuple(green), revision, options,
                hosts=tuple(sorted({shard.host for shard in fleet.every})),
                tenants=tenants,
                loads=loads,
                fingerprints={side.name: side.fingerprint.digest for side in ground.blue},
                findings=tuple(findings),
                estimate=estimate(ground) if tenants else None,
            )  # fmt: skip
    except psycopg.Error as error:
        reason = explain(error).reason
        raise errors.ShardsSilent(action="a change", shards=", ".join(blue), reason=reason) from error


def _spread(ground: Ground) -> tuple[Mapping[str, str], Mapping[str, Load]]:
    """Where each tenant goes, and what he has; nothing where that can't be said, for a reason among the findings."""
    try:
        return ground.placed, ground.loads
    except errors.GreenNotPlaced:
        return {}, ground.loads
    except psycopg.Error:
        if ground.is_broken:
            raise
        return {}, {}


def require_sound(plan: ChangePlan) -> None:
    """Raises ChangeRefused where the preflight has found errors."""
    if plan.errors:
        told = "\n".join(
            f"  {each.fact}" + (f"; try: {each.cure}" if each.cure else "") for each in plan.errors[:_MOST]
        )
        raise errors.ChangeRefused(findings=told)


def start_change(fleet: FleetConfig, plan: ChangePlan) -> int:
    """The change is in the queue; gives its run's number.

    Raises ChangeRefused, ChangeUnderWay, MovesUnderWay, ControlUnavailable.
    """
    require_sound(plan)
    with open_control(fleet.control, application_name=NAME) as control, control.transaction():
        record_shards(control, fleet.shard_set, fleet.shards, fleet.green)
        run = Board(control, fleet.shard_set).create(
            KIND, plan.as_data(fleet), target=f"{len(plan.green)} shards at {plan.revision}", hosts=plan.hosts
        )
        known = epochs(control, fleet.shard_set, list(plan.blue))
        tenants = {
            tenant: (plan.loads[tenant].shard, green, known[tenant])
            for tenant, green in plan.tenants.items()
            if tenant in known
        }
        Changes(control, fleet.shard_set).create(run, plan.lanes, tenants)
    return run


def _section(fleet: FleetConfig) -> BlueGreenSection:
    if fleet.config.bluegreen is None:
        file = str(fleet.config.file)
        raise errors.MissingKey(
            file=file, key="bluegreen.shards",
            help="add a [bluegreen.shards.NAME] for each green shard, and in it url = \"${GREEN_0_URL}\"",
        )  # fmt: skip
    return fleet.config.bluegreen


def _revision(fleet: FleetConfig, section: BlueGreenSection) -> str:
    """By its full id, since `head` may mean another one tomorrow."""
    found = History(script_location(fleet)).resolve(section.revision)
    return found[0] if len(found) == 1 else section.revision
