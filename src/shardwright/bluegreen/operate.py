"""What an operator may do with a change that was started: look at it, order switches, end it either way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from shardwright import errors
from shardwright.bluegreen.sets import NAME
from shardwright.bluegreen.store import Change, ChangedTenant, Changes, Lane, Order
from shardwright.catalog.control import open_control, read_control
from shardwright.config import FleetConfig
from shardwright.runs.board import Board, DurableRun, StepRecord
from shardwright.runs.eta import Eta, eta
from shardwright.runs.store import operator

_SILENT = 60  # seconds after which a process that said nothing is not counted on


@dataclass(frozen=True)
class ChangeStatus:
    """One change, its run, and how far it is."""

    change: Change
    run: DurableRun
    steps: tuple[StepRecord, ...]
    lanes: tuple[Lane, ...]
    tenants: tuple[ChangedTenant, ...]
    eta: Eta | None
    orders: tuple[Order, ...]
    workers: int  # of this shard set, that were heard of lately

    @property
    def step(self) -> str | None:
        """The step under way, or that is to be begun next; None at the end."""
        return next((step.name for step in self.steps if step.state in ("begun", "to do")), None)

    @property
    def at_green(self) -> int:
        """How many tenants are written at green."""
        return sum(1 for each in self.tenants if each.at_green)

    @property
    def is_one_way(self) -> bool:
        """Whether nothing is brought back to blue."""
        return bool(self.run.plan.get("one_way"))

    @property
    def carried_by(self) -> str | None:
        """Which process has it in hand; None where nobody does, and nothing of it goes on."""
        return self.run.worker if self.run.state == "running" and (self.run.silent or 0) < _SILENT else None

    @property
    def write_gaps(self) -> list[float]:
        """Of the tenants' last switches, in milliseconds, those that could be measured."""
        return sorted(each.write_gap["gap_ms"] for each in self.tenants if each.write_gap and each.write_gap["gap_ms"])

    @property
    def certificates(self) -> tuple[int, int]:
        """How many tenants were proven to have the same rows on both sides at their last switch, and how many not."""
        found = [bool(each.certificate["equal"]) for each in self.tenants if each.certificate]
        return sum(found), len(found) - sum(found)

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
        moment, gaps = self.change.switched_at, self.write_gaps
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
            "tenants": len(self.tenants),
            "at_green": self.at_green,
            "orders": [vars(order) for order in self.orders],
            "carried_by": self.carried_by,
            "workers": self.workers,
            "write_gaps_ms": {"count": len(gaps), "p50": median(gaps), "max": gaps[-1]} if gaps else None,
            "certificates": {"equal": self.certificates[0], "different": self.certificates[1]},
            "way_back": self.way_back,
            "switched_at": moment.isoformat() if moment else None,
            "keep_until": self.change.keep_until.isoformat() if self.change.keep_until else None,
            "lanes": [{**vars(lane), "at": lane.at.isoformat() if lane.at else None} for lane in self.lanes],
            "steps": [step.as_dict() for step in self.steps],
        }


def status(fleet: FleetConfig) -> ChangeStatus:
    """The open change, else the last. Raises NoSuchChange."""
    with read_control(fleet.control, application_name=NAME) as control:
        found = Changes(control, fleet.shard_set).last() if control else None
        if control is None or found is None:
            raise errors.NoSuchChange(what=f"shard set {fleet.shard_set!r}")
        changes, board = Changes(control, fleet.shard_set), Board(control, fleet.shard_set)
        run = board.run(found.run)
        assert run is not None  # noqa: S101 a change has a run, and no run is ever deleted
        return ChangeStatus(
            found, run, tuple(board.steps(found.run)), tuple(changes.lanes(found.run)),
            tuple(changes.tenants(found.run)), eta(board.samples(found.run)), tuple(changes.orders(found.run)),
            sum(worker.silent < _SILENT for worker in board.workers()),
        )  # fmt: skip


def tenant_of(fleet: FleetConfig, tenant: str) -> ChangedTenant:
    """One tenant of the open change, with its write gap and certificate. Raises NoSuchChange, NoSuchTenant."""
    with read_control(fleet.control, application_name=NAME) as control:
        found = Changes(control, fleet.shard_set).last() if control else None
        if control is None or found is None:
            raise errors.NoSuchChange(what=f"shard set {fleet.shard_set!r}")
        return Changes(control, fleet.shard_set).tenant(found.run, tenant)


def order_switch(
    fleet: FleetConfig, *, tenants: Sequence[str] | None = None, share: float | None = None, home: bool = False
) -> tuple[int, int]:
    """These tenants, this share of them, or all are to be switched to green, `home` back to blue; gives run and order.

    Raises NoSuchChange, NoSuchTenant, ChangeNotThere, NoWayBack.
    """
    asked = "undo" if home else "switch"
    with open_control(fleet.control, application_name=NAME) as control, control.transaction():
        changes = Changes(control, fleet.shard_set)
        found = _open(changes, fleet)
        if found.phase not in ("building", "in_step") or (found.phase == "building" and home):
            raise errors.ChangeNotThere(asked=_ASKED[asked], run=found.run, phase=found.phase)
        for tenant in tenants or ():
            changes.tenant(found.run, tenant)
        _require_way_back(control, fleet, changes, found, home=home)
        return found.run, changes.order(found.run, asked, tenants=tenants, share=share, by=operator())


_ASKED = {"switch": "a switch", "undo": "a switch home"}


def ask_cancel(fleet: FleetConfig) -> int:
    """`ask_undo` for a change in which nobody was switched. Raises NoSuchChange, ChangeNotThere, TenantsAtGreen."""
    with open_control(fleet.control, application_name=NAME) as control:
        changes = Changes(control, fleet.shard_set)
        found = _open(changes, fleet)
        there = sum(each.at_green for each in changes.tenants(found.run))
        if there or any(lane.everybody_at_green for lane in changes.lanes(found.run)):
            raise errors.TenantsAtGreen(run=found.run, tenants=there)
    return ask_undo(fleet)


def ask_undo(fleet: FleetConfig) -> int:
    """The change is taken back as soon as it is in somebody's hands: every tenant will be at blue, with all that was
    written, and nothing of it left. Gives the run. Raises NoSuchChange, ChangeNotThere, NoWayBack."""
    with open_control(fleet.control, application_name=NAME) as control:
        changes, board = Changes(control, fleet.shard_set), Board(control, fleet.shard_set)
        found = _open(changes, fleet)
        if found.phase == "cleaning":
            raise errors.ChangeNotThere(asked="undo", run=found.run, phase=found.phase)
        _require_way_back(control, fleet, changes, found, home=True)
        run = board.run(found.run)
        if run is not None and run.direction == "back":
            if run.state in ("paused", "parked"):
                board.resume(found.run)
        else:
            board.cancel(found.run)
        return found.run


def ask_finish(fleet: FleetConfig, *, leave_writable: bool = False) -> int:
    """The way back is given up, and what it needs taken away; gives the run. Blue shards only read then, unless
    `leave_writable`. Raises NoSuchChange, ChangeNotThere."""
    with open_control(fleet.control, application_name=NAME) as control:
        changes, board = Changes(control, fleet.shard_set), Board(control, fleet.shard_set)
        found = _open(changes, fleet)
        run = board.run(found.run)
        if found.phase not in ("switched", "cleaning"):
            raise errors.ChangeNotThere(asked="finish", run=found.run, phase=found.phase)
        if found.phase == "switched":
            changes.order(found.run, "finish", leave_writable=leave_writable, by=operator())
        if run is not None and run.state in ("paused", "parked"):
            board.resume(found.run)
        return found.run


def set_throttle(fleet: FleetConfig, throttle: Mapping[str, Any]) -> None:
    """The open change keeps to these limits from its next part on. Raises NoSuchChange."""
    with open_control(fleet.control, application_name=NAME) as control:
        changes = Changes(control, fleet.shard_set)
        changes.set_throttle(_open(changes, fleet).run, throttle)


def is_ended(fleet: FleetConfig, order: int) -> bool:
    """Whether the order is done. Raises ControlUnavailable."""
    with open_control(fleet.control, application_name=NAME) as control:
        return Changes(control, fleet.shard_set).is_ended(order)


def _open(changes: Changes, fleet: FleetConfig) -> Change:
    found = changes.last()
    if found is None or not found.is_open:
        raise errors.NoOpenChange(what=f"shard set {fleet.shard_set!r}")
    return found


def _require_way_back(control: Any, fleet: FleetConfig, changes: Changes, found: Change, *, home: bool) -> None:
    run = Board(control, fleet.shard_set).run(found.run)
    there = sum(1 for each in changes.tenants(found.run) if each.at_green)
    if home and there and run is not None and run.plan.get("one_way"):
        raise errors.NoWayBack(run=found.run, tenants=there)
