"""How far a move is, for whoever looks at it: its phase, its steps, how long it will still take. Reads only."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg

from shardwright import errors
from shardwright.catalog.control import read_control
from shardwright.config import FleetConfig
from shardwright.move.store import Move, Moves
from shardwright.runs.board import Board, DurableRun, StepRecord
from shardwright.runs.eta import Eta, eta

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
        return open_moves_in(control, fleet.shard_set) if control else []


def open_moves_in(control: psycopg.Connection[Any], shard_set: str) -> list[MoveStatus]:
    """The same, over a connection to the control database."""
    board = Board(control, shard_set)
    return [_status(board, move) for move in Moves(control, shard_set).open()]


def status_of(fleet: FleetConfig, tenant: str) -> MoveStatus:
    """The tenant's open move, else its last. Raises NoSuchMove."""
    with read_control(fleet.control, application_name=_NAME) as control:
        found = Moves(control, fleet.shard_set).of_tenant(tenant) if control else None
        if control is None or found is None:
            raise errors.NoSuchMove(what=f"tenant {tenant!r}")
        return _status(Board(control, fleet.shard_set), found)


def status_of_run(fleet: FleetConfig, run: int) -> MoveStatus | None:
    """The move that the run is; None where it is none."""
    with read_control(fleet.control, application_name=_NAME) as control, suppress(errors.NoSuchMove):
        if control is not None:
            return _status(Board(control, fleet.shard_set), Moves(control, fleet.shard_set).move(run))
    return None


def _status(board: Board, move: Move) -> MoveStatus:
    run = board.run(move.run)
    assert run is not None  # noqa: S101 a move has a run, and no run is ever deleted
    return MoveStatus(move, run, tuple(board.steps(move.run)), eta(board.samples(move.run)))
