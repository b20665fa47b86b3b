"""How far a rebalance is, for whoever looks at it: its run, its moves, what is amiss. Reads only."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg

from shardwright import errors
from shardwright.catalog.control import read_control
from shardwright.config import FleetConfig
from shardwright.rebalance.store import AMISS, NAME, Line, Rebalance, Rebalances
from shardwright.runs.board import Board, DurableRun, StepRecord
from shardwright.runs.eta import Eta, eta


@dataclass(frozen=True)
class RebalanceStatus:
    """One rebalance, its run, its moves with those that were dropped, and how far it is."""

    rebalance: Rebalance
    run: DurableRun
    steps: tuple[StepRecord, ...]
    lines: tuple[Line, ...]
    eta: Eta | None

    @property
    def counts(self) -> Counter[str]:
        """How many moves are in each state."""
        return Counter(line.state for line in self.lines)

    @property
    def moves(self) -> tuple[Line, ...]:
        """Those that no later plan has dropped."""
        return tuple(line for line in self.lines if line.state != "dropped")

    @property
    def amiss(self) -> tuple[Line, ...]:
        """Those that could not be made."""
        return tuple(line for line in self.lines if line.state in AMISS)

    @property
    def exit_code(self) -> int:
        """0 where the rebalance is where it was to come to; 1 where a move could not be made, or not be taken back, or
        while it is on its way; 2 where the run is parked."""
        if self.run.state == "parked":
            return 2
        if self.run.state in ("queued", "running", "paused"):
            return 1
        is_undone = self.rebalance.phase == "undone"
        if is_undone:
            return 1 if self.counts["moved"] + self.counts["kept"] else 0
        return max((int(step.result.get("exit_code", 0)) for step in self.steps), default=0)

    def as_dict(self) -> dict[str, Any]:
        """The rebalance as `--json` prints it."""
        plan = {key: value for key, value in self.run.plan.items() if key != "options"}
        return {
            "run": self.run.id,
            "phase": self.rebalance.phase,
            "empty": list(self.rebalance.emptied),
            "state": self.run.told,
            "note": self.run.note,
            "progress": self.run.progress,
            "eta_seconds": vars(self.eta) if self.eta else None,
            "plan": plan,
            "summary": dict(self.counts),
            "moves": [line.as_dict() for line in self.lines],
            "steps": [step.as_dict() for step in self.steps],
        }


def status(fleet: FleetConfig) -> RebalanceStatus:
    """The open rebalance, else the last. Raises NoSuchRebalance."""
    with read_control(fleet.control, application_name=NAME) as control:
        found = last_in(control, fleet.shard_set) if control else None
    if found is None:
        raise errors.NoSuchRebalance(what=f"shard set {fleet.shard_set!r}")
    return found


def last_in(control: psycopg.Connection[Any], shard_set: str) -> RebalanceStatus | None:
    """The same, over a connection to the control database; None where there never was one."""
    found = Rebalances(control, shard_set).last()
    return _status(control, shard_set, found) if found else None


def status_of_run(fleet: FleetConfig, run: int) -> RebalanceStatus | None:
    """The rebalance that the run is; None where it is none."""
    with read_control(fleet.control, application_name=NAME) as control, suppress(errors.NoSuchRebalance):
        if control is not None:
            return _status(control, fleet.shard_set, Rebalances(control, fleet.shard_set).rebalance(run))
    return None


def _status(control: psycopg.Connection[Any], shard_set: str, found: Rebalance) -> RebalanceStatus:
    board = Board(control, shard_set)
    run = board.run(found.run)
    assert run is not None  # noqa: S101 a rebalance has a run, and no run is ever deleted
    lines = tuple(Rebalances(control, shard_set).lines(found.run))
    return RebalanceStatus(found, run, tuple(board.steps(found.run)), lines, eta(board.samples(found.run)))
