"""How far a change is, for whoever looks at it: its lanes, its tenants, its run, the way back. Reads only."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg

from shardwright import errors
from shardwright.bluegreen.sets import NAME
from shardwright.bluegreen.store import Change, ChangedTenant, Changes, Lane, Order, Proofs
from shardwright.catalog.control import read_control
from shardwright.config import FleetConfig
from shardwright.runs.board import Board, DurableRun, StepRecord
from shardwright.runs.eta import Eta, eta

_SILENT = 60  # seconds after which a process that said nothing is not counted on


@dataclass(frozen=True)
class ChangeStatus:
    """One change, its run, and how far it is."""

    change: Change
    run: DurableRun
    steps: tuple[StepRecord, ...]
    lanes: tuple[Lane, ...]
    proofs: Proofs
    eta: Eta | None
    orders: tuple[Order, ...]
    last_order: Order | None  # that was ended
    workers: int  # of this shard set, that were heard of lately

    @property
    def step(self) -> str | None:
        """The step under way, or that is to be begun next; None at the end."""
        return next((step.name for step in self.steps if step.state in ("begun", "to do")), None)

    @property
    def tenants(self) -> int:
        """How many there are."""
        return sum(lane.tenants for lane in self.lanes)

    @property
    def at_green(self) -> int:
        """How many of them are written at green."""
        return sum(lane.at_green for lane in self.lanes)

    @property
    def is_one_way(self) -> bool:
        """Whether nothing is brought back to blue."""
        return bool(self.run.plan.get("one_way"))

    @property
    def carried_by(self) -> str | None:
        """Which process has it in hand; None where nobody does, and nothing of it goes on."""
        return self.run.worker if self.run.state == "running" and (self.run.silent or 0) < _SILENT else None

    @property
    def way_back(self) -> str:
        """Whether the change can be taken back, why, and until when."""
        if self.change.phase in ("done", "undone"):
            return f"no: the change is {self.change.phase}"
        if self.change.phase == "cleaning":
            return "no: the way back is closed, and what it needed is being taken away"
        if self.is_one_way and self.at_green:
            return "no: the change was begun with --one-way, and tenants are at green"
        until = self.change.keep_until
        return "yes" + (f", until {until:%Y-%m-%d %H:%M:%S %Z}" if until else "")

    @property
    def exit_code(self) -> int:
        """0 where the change is where it was to come to; 1 while it is on its way there; else 2."""
        if self.change.phase in ("in_step", "switched", "done", "undone") and self.run.state not in ("parked",):
            return 0
        return 1 if self.run.state in ("queued", "running") else 2

    def as_dict(self) -> dict[str, Any]:
        """The change as `--json` prints it."""
        moment, proofs = self.change.switched_at, self.proofs
        gaps = {"count": proofs.gaps, "p50": proofs.middle, "max": proofs.longest}
        return {
            "run": self.run.id,
            "blue": self.run.plan["blue"],
            "green": self.run.plan["green"],
            "revision": self.run.plan["revision"],
            "phase": self.change.phase,
            "state": self.run.told,
            "step": self.step,
            "note": self.run.note,
            "throttle": dict(self.change.throttle),
            "progress": self.run.progress,
            "eta_seconds": vars(self.eta) if self.eta else None,
            "tenants": self.tenants,
            "at_green": self.at_green,
            "orders": [vars(order) for order in self.orders],
            "last_order": vars(self.last_order) if self.last_order else None,
            "carried_by": self.carried_by,
            "workers": self.workers,
            "write_gaps_ms": gaps if proofs.gaps else None,
            "certificates": {"equal": proofs.equal, "different": proofs.different},
            "way_back": self.way_back,
            "switched_at": moment.isoformat() if moment else None,
            "keep_until": self.change.keep_until.isoformat() if self.change.keep_until else None,
            "lanes": [{**vars(lane), "at": lane.at.isoformat() if lane.at else None} for lane in self.lanes],
            "steps": [step.as_dict() for step in self.steps],
        }


def status(fleet: FleetConfig) -> ChangeStatus:
    """The open change, else the last. Raises NoSuchChange."""
    with read_control(fleet.control, application_name=NAME) as control:
        found = last_change_in(control, fleet.shard_set) if control else None
    if found is None:
        raise errors.NoSuchChange(what=f"shard set {fleet.shard_set!r}")
    return found


def last_change_in(control: psycopg.Connection[Any], shard_set: str) -> ChangeStatus | None:
    """The same, over a connection to the control database; None where there never was one."""
    found = Changes(control, shard_set).last()
    return _status(control, shard_set, found) if found else None


def status_of_run(fleet: FleetConfig, run: int) -> ChangeStatus | None:
    """The change that the run is; None where it is none."""
    with read_control(fleet.control, application_name=NAME) as control, suppress(errors.NoSuchChange):
        if control is not None:
            return _status(control, fleet.shard_set, Changes(control, fleet.shard_set).change(run))
    return None


def _status(control: psycopg.Connection[Any], shard_set: str, found: Change) -> ChangeStatus:
    changes, board = Changes(control, shard_set), Board(control, shard_set)
    run = board.run(found.run)
    assert run is not None  # noqa: S101 a change has a run, and no run is ever deleted
    return ChangeStatus(
        found, run, tuple(board.steps(found.run)), tuple(changes.lanes(found.run)), changes.proofs(found.run),
        eta(board.samples(found.run)), tuple(changes.orders(found.run)), changes.last_order(found.run),
        sum(worker.silent < _SILENT for worker in board.workers()),
    )  # fmt: skip


def tenant_of(fleet: FleetConfig, tenant: str) -> ChangedTenant:
    """One tenant of the open change, with its write gap and certificate. Raises NoSuchChange, NoSuchTenant."""
    with read_control(fleet.control, application_name=NAME) as control:
        found = Changes(control, fleet.shard_set).last() if control else None
        if control is None or found is None:
            raise errors.NoSuchChange(what=f"shard set {fleet.shard_set!r}")
        return Changes(control, fleet.shard_set).tenant(found.run, tenant)
