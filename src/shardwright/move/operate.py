"""What an operator may do with a move that was started: end it either way, verify it, slow it down."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from shardwright import errors
from shardwright.catalog.control import open_control
from shardwright.config import FleetConfig
from shardwright.move import certificate
from shardwright.move.status import status_of
from shardwright.move.store import Move, Moves
from shardwright.move.way import Way
from shardwright.runs.board import Board
from shardwright.runs.kinds import StepContext

_NAME = "shardwright move"


def ask_undo(fleet: FleetConfig, tenant: str) -> int:
    """The move goes back, as soon as it is in somebody's hands: the tenant will be at the source, with all that was
    written, and nothing of the move left. Gives the run. Raises NoSuchMove, NotSwitched, TooLate."""
    return _turn_back(fleet, tenant, "undo", ("moving", "given_up", "switched", "returned"))


def ask_cancel(fleet: FleetConfig, tenant: str) -> int:
    """The same for a move that is not switched yet."""
    return _turn_back(fleet, tenant, "cancel", ("moving", "given_up"))


def ask_finish(fleet: FleetConfig, tenant: str) -> int:
    """The way back is given up: the rows at the source may be deleted. Gives the run.

    Raises NoSuchMove, NotSwitched.
    """
    with open_control(fleet.control, application_name=_NAME) as control, control.transaction():
        board, move = Board(control, fleet.shard_set), _open_move(Moves(control, fleet.shard_set), tenant)
        run = board.run(move.run)
        if move.phase != "switched" or run is None:
            raise errors.NotSwitched(tenant=tenant, asked="finish", phase=move.phase)
        if run.state == "waiting":
            board.approve(move.run)
        elif run.state in ("paused", "parked"):
            board.resume(move.run)
        return move.run


def set_throttle(fleet: FleetConfig, tenant: str, throttle: Mapping[str, Any]) -> Move:
    """The move keeps to these limits from its next part on. Raises NoSuchMove."""
    with open_control(fleet.control, application_name=_NAME) as control:
        moves = Moves(control, fleet.shard_set)
        move = _open_move(moves, tenant)
        moves.set_throttle(move.run, throttle)
        return moves.move(move.run)


def verify_move(fleet: FleetConfig, tenant: str) -> certificate.Certificate:
    """Both sides of a switched move, compared anew; leaves the stored certificate alone.

    Raises NoSuchMove, NotSwitched once the source was cleaned.
    """
    found = status_of(fleet, tenant)
    if found.move.phase != "switched":
        raise errors.NotSwitched(tenant=tenant, asked="verify", phase=found.move.phase)
    context = StepContext(fleet=fleet, run=found.run.id, plan=found.run.plan, runner=found.run.runner)
    with closing(context.shelf):
        return certificate.make(Way.of(context))


def _turn_back(fleet: FleetConfig, tenant: str, asked: str, phases: tuple[str, ...]) -> int:
    with open_control(fleet.control, application_name=_NAME) as control:
        move = _open_move(Moves(control, fleet.shard_set), tenant)
        if move.phase not in phases:
            raise errors.NotSwitched(tenant=tenant, asked=asked, phase=move.phase)
        Board(control, fleet.shard_set).take_back(move.run)
        return move.run


def _open_move(moves: Moves, tenant: str) -> Move:
    found = moves.of_tenant(tenant)
    if found is None or not found.is_open:
        raise errors.NoSuchMove(what=f"tenant {tenant!r}")
    return found
