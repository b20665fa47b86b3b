"""What an operator may do with a change that was started: order switches, slow it down, end it either way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from shardwright import errors
from shardwright.bluegreen.orders import meant
from shardwright.bluegreen.sets import NAME
from shardwright.bluegreen.store import Change, Changes
from shardwright.catalog.control import open_control, read_control
from shardwright.config import FleetConfig
from shardwright.runs.board import Board
from shardwright.runs.store import operator
from shardwright.transfer.everyone import Tenant


def order_switch(
    fleet: FleetConfig, *, tenants: Sequence[str] | None = None, share: float | None = None, home: bool = False
) -> tuple[int, int]:
    """These tenants, this share of them, or all are to be switched to green, `home` back to blue; gives run and order.

    Raises NoSuchChange, NoSuchTenant, ChangeNotThere, NoWayBack, OrderUnderWay.
    """
    with open_control(fleet.control, application_name=NAME) as control, control.transaction():
        changes = Changes(control, fleet.shard_set)
        changes.lock(_open(changes, fleet).run)
        found = _switchable(control, fleet, changes, home=home, named=tenants or ())
        kind, opposite = ("undo", "switch") if home else ("switch", "undo")
        for order in changes.orders(found.run):
            if order.kind == opposite and order.concerns(tenants):
                raise errors.OrderUnderWay(order=order.id, by=order.by, whom=_whom(tenants), where=_THERE[opposite])
        return found.run, changes.order(found.run, kind, tenants=tenants, share=share, by=operator())


_THERE = {"switch": "to green", "undo": "home"}
_FEW = 5


def _whom(tenants: Sequence[str] | None) -> str:
    return "tenants" if tenants is None else ", ".join(tenants[:_FEW]) + (" and others" if len(tenants) > _FEW else "")


def plan_switches(fleet: FleetConfig, wishes: Sequence[Mapping[str, Any]], *, home: bool = False) -> list[list[Tenant]]:
    """Whom each of these orders would switch, given one after the other; each is what `order_switch` takes.

    Raises what that raises, but OrderUnderWay.
    """
    with read_control(fleet.control, application_name=NAME) as control:
        if control is None:
            raise errors.NoOpenChange(what=f"shard set {fleet.shard_set!r}")
        changes = Changes(control, fleet.shard_set)
        named = [tenant for wish in wishes for tenant in wish.get("tenants") or ()]
        everybody = changes.tenants(_switchable(control, fleet, changes, home=home, named=named).run)
    left = {each.tenant: each for each in everybody if each.at_green == home}
    waves = []
    for wish in wishes:
        wave = meant([*left.values()], of=len(everybody), named=wish.get("tenants"), share=wish.get("share"))
        waves.append([left.pop(each.tenant) for each in wave])
    return waves


def _switchable(
    control: psycopg.Connection[Any], fleet: FleetConfig, changes: Changes, *, home: bool, named: Sequence[str]
) -> Change:
    """The open change, where these tenants may be switched now."""
    found = _open(changes, fleet)
    if found.phase not in ("building", "in_step") or (found.phase == "building" and home):
        asked = "a switch home" if home else "a switch"
        raise errors.ChangeNotThere(asked=asked, run=found.run, phase=found.phase)
    for tenant in named:
        changes.tenant(found.run, tenant)
    _require_way_back(control, fleet, changes, found, home=home)
    return found


def ask_cancel(fleet: FleetConfig) -> int:
    """`ask_undo` for a change in which nobody was switched. Raises NoSuchChange, ChangeNotThere, TenantsAtGreen."""
    with open_control(fleet.control, application_name=NAME) as control:
        changes = Changes(control, fleet.shard_set)
        found = _open(changes, fleet)
        there = _at_green(changes, found)
        if there or any(lane.everybody_at_green for lane in changes.lanes(found.run)):
            raise errors.TenantsAtGreen(run=found.run, tenants=there)
    return ask_undo(fleet)


def ask_undo(fleet: FleetConfig) -> int:
    """The change is taken back as soon as it is in somebody's hands: every tenant will be at blue, with all that was
    written, and nothing of it left. Gives the run. Raises NoSuchChange, ChangeNotThere, NoWayBack."""
    with open_control(fleet.control, application_name=NAME) as control:
        changes = Changes(control, fleet.shard_set)
        found = _open(changes, fleet)
        if found.phase == "cleaning":
            raise errors.ChangeNotThere(asked="undo", run=found.run, phase=found.phase)
        _require_way_back(control, fleet, changes, found, home=True)
        Board(control, fleet.shard_set).take_back(found.run)
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
    with read_control(fleet.control, application_name=NAME) as control:
        return control is not None and Changes(control, fleet.shard_set).is_ended(order)


def _open(changes: Changes, fleet: FleetConfig) -> Change:
    found = changes.last()
    if found is None or not found.is_open:
        raise errors.NoOpenChange(what=f"shard set {fleet.shard_set!r}")
    return found


def _require_way_back(
    control: psycopg.Connection[Any], fleet: FleetConfig, changes: Changes, found: Change, *, home: bool
) -> None:
    run = Board(control, fleet.shard_set).run(found.run)
    if home and run is not None and run.plan.get("one_way") and (there := _at_green(changes, found)):
        raise errors.NoWayBack(run=found.run, tenants=there)


def _at_green(changes: Changes, found: Change) -> int:
    return sum(lane.at_green for lane in changes.lanes(found.run))
