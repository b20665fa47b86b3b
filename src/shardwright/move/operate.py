"""What an operator may do with a move that was started: look at it, end it either way, verify it, slow it down."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from shardwright import errors
from shardwright.catalog.control import open_control, read_control
from shardwright.config import FleetConfig
from shardwright.move import certificate
from shardwright.move.store import Move, Moves
from shardwright.move.way import Way
from shardwright.runs.board import Board, DurableRun, StepRecord
from shardwright.runs.eta import Eta, eta
from shardwright.runs.kinds import StepContext

_NAME = "shardwright move"


@dataclass(frozen=True)
class MoveStatus:
    """One move, its run, and how far it is."""

    move: Move
    run: DurableRun
    steps: tuple[StepRecord, ...]
    eta: Eta | None

    @property
    def step(self) -> str | None:
        """The step under way, or that is to be begun next; None at the end."""
        return next((step.name for step in self.steps if step.state in ("begun", "to do")), None)

    @property
    def exit_code(self) -> int:
        """0 where the tenant is where the move, or its undo, was to bring it; 1 while it is under way; else 2."""
        if self.run.state == "finished" or (self.run.state == "waiting" and self.move.phase == "switched"):
            return 0
        return 1 if self.run.state in ("queued", "running") else 2

    def as_dict(self) -> dict[str, Any]:
        """The move as `--json` prints it."""
        return {
            **self.move.as_dict(),
            "state": self.run.told,
            "step": self.step,
            "note": self.run.note,
            "progress": self.run.progress,
            "eta_seconds": vars(self.eta) if self.eta else None,
            "steps": [step.as_dict() for step in self.steps],
        }


def open_moves(fleet: FleetConfig) -> list[MoveStatus]:
    """The moves that have something on a shard, the oldest first; only the control database is asked."""
    with read_control(fleet.control, application_name=_NAME) as control:
        if control is None:
            return []
        board = Board(control, fleet.shard_set)
        return [_status(board, move) for move in Moves(control, fleet.shard_set).open()]


def status_of(fleet: FleetConfig, tenant: str) -> MoveStatus:
    """The tenant's open move, else its last. Raises NoSuchMove."""
    with read_control(fleet.control, application_name=_NAME) as control:
        found = Moves(control, fleet.shard_set).of_tenant(tenant) if control else None
        if control is None or found is None:
            raise errors.NoSuchMove(what=f"tenant {tenant!r}")
        return _status(Board(control, fleet.shard_set), found)


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
        board = Board(control, fleet.shard_set)
        run = board.run(move.run)
        if run is not None and run.direction == "back":
            if run.state in ("paused", "parked"):
                board.resume(move.run)
        else:
            board.cancel(move.run)
        return move.run


def _open_move(moves: Moves, tenant: str) -> Move:
    found = moves.of_tenant(tenant)
    if found is None or not found.is_open:
        raise errors.NoSuchMove(what=f"tenant {tenant!r}")
    return found


def _status(board: Board, move: Move) -> MoveStatus:
    run = board.run(move.run)
    assert run is not None  # noqa: S101 a move has a run, and no run is ever deleted
    return MoveStatus(move, run, tuple(board.steps(move.run)), eta(board.samples(move.run)))
