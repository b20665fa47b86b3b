"""What an operator may do with a rebalance that was started: end it where it is, take it back, finish it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shardwright import errors
from shardwright.catalog.control import open_control
from shardwright.config import FleetConfig
from shardwright.rebalance.store import NAME, Rebalance, Rebalances
from shardwright.runs.board import Board


def ask_cancel(fleet: FleetConfig) -> int:
    """Nothing more is begun, and what is not switched yet is taken back; tenants that were moved stay, with their way
    back. Gives the run. Raises NoSuchRebalance, RebalanceNotThere."""
    with _open(fleet, "cancel", ("moving", "stopping")) as (board, rebalances, found):
        rebalances.stop(found.run)
        run = board.run(found.run)
        if run is not None and run.state == "queued" and all(step.state == "to do" for step in board.steps(run.id)):
            board.cancel(run.id)
        elif run is not None and run.state in ("paused", "parked"):
            board.resume(run.id)
        return found.run


def ask_undo(fleet: FleetConfig) -> int:
    """Every tenant that can be goes back to where it was, as soon as the run is in somebody's hands; gives the run.

    Raises NoSuchRebalance, RebalanceNotThere.
    """
    with _open(fleet, "undo", ("moving", "stopping", "moved", "returning")) as (board, _, found):
        board.take_back(found.run)
        return found.run


def ask_finish(fleet: FleetConfig) -> int:
    """The ways back are given up: the rows at the sources are deleted. Gives the run.

    Raises NoSuchRebalance, RebalanceNotThere.
    """
    with _open(fleet, "finish", ("moved", "finishing")) as (board, _, found):
        run = board.run(found.run)
        if run is not None and run.state == "waiting":
            board.approve(run.id)
        elif run is not None and run.state in ("paused", "parked"):
            board.resume(run.id)
        return found.run


@contextmanager
def _open(fleet: FleetConfig, asked: str, phases: tuple[str, ...]) -> Iterator[tuple[Board, Rebalances, Rebalance]]:
    """The open rebalance, where that may be asked of it now; in one transaction."""
    with open_control(fleet.control, application_name=NAME) as control, control.transaction():
        rebalances = Rebalances(control, fleet.shard_set)
        found = rebalances.open()
        if found is None:
            raise errors.NoSuchRebalance(what=f"shard set {fleet.shard_set!r}")
        if found.phase not in phases:
            raise errors.RebalanceNotThere(asked=asked, run=found.run, phase=found.phase)
        yield Board(control, fleet.shard_set), rebalances, found
