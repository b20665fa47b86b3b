"""A rebalance whose carrier is killed: another goes on, no move is made twice, nothing is lost."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from rebalances import ONE_BY_ONE, Estate, MakeEstate

# Between two moves, at each line of the bookkeeping; and while a move runs, at its own points.
BETWEEN = [
    "before start.plan_move 1",
    "before start.start_move 2",
    "before Rebalances.begin 1",
    "after Rebalances.begin 2",
    "after start.start_move 1",
    "before Rebalances.note 1",
    "after Rebalances.note 1",
    "before Rebalances.write_phase 1",
    "after Rebalances.write_phase 1",
]
WITHIN = ["after capture.install 1", "after Copy.copy 1", "after fence.close_for_writes 1", "after Moves.switch 1"]
BACK = ["after Rebalances.replan 1", "after fence.close_for_writes 1", "before Rebalances.note 1"]
FINISH = ["after Rebalances.write_phase 1", "before clear.clear 1", "before Rebalances.note 1"]
SAMPLE = ("before Rebalances.begin 1",)


def cases(points: list[str]) -> list[Any]:
    """Every point; all but the sample are for `make faults`."""
    return [pytest.param(point, marks=() if point in SAMPLE else pytest.mark.faults) for point in points]


@pytest.mark.parametrize("point", cases(BETWEEN + WITHIN))
def test_the_carrier_is_killed_on_the_way_there(make_estate: MakeEstate, point: str) -> None:
    """Whoever takes the rebalance over takes its moves over too; in the end it is as if nothing had happened."""
    estate = make_estate({"shard_0": (60, 50, 40)}, extra=ONE_BY_ONE)
    estate.write()
    run = estate.start()
    planned = len(estate.lines(run))
    assert planned > 1
    die(estate, run, point)
    found = estate.carry(run)
    assert (found.run.state, found.counts["moved"]) == ("waiting", planned), estate.story(run)
    require_each_once(estate, run)
    estate.project.fleet().finish_rebalance()
    estate.require_all()


@pytest.mark.faults
@pytest.mark.parametrize("point", BACK)
def test_the_carrier_is_killed_on_the_way_back(make_estate: MakeEstate, point: str) -> None:
    """Everybody is home in the end."""
    estate = make_estate({"shard_0": (60, 50, 40)}, extra=ONE_BY_ONE)
    before = estate.places
    estate.write()
    run = estate.start()
    estate.carry(run)
    estate.project.fleet().ask_undo_rebalance()
    die(estate, run, point)
    found = estate.carry(run)
    assert (found.rebalance.phase, found.exit_code) == ("undone", 0), estate.story(run)
    assert estate.places == before
    estate.require_all()


@pytest.mark.faults
@pytest.mark.parametrize("point", FINISH)
def test_the_carrier_is_killed_while_sources_are_cleaned(make_estate: MakeEstate, point: str) -> None:
    """All of them are clean in the end."""
    estate = make_estate({"shard_0": (60, 50, 40)}, extra=ONE_BY_ONE)
    estate.write()
    run = estate.start()
    estate.carry(run)
    estate.project.fleet().ask_finish_rebalance()
    die(estate, run, point)
    found = estate.carry(run)
    assert (found.rebalance.phase, found.exit_code) == ("done", 0), estate.story(run)
    estate.require_all()


def die(estate: Estate, run: int, point: str) -> None:
    """Who carries the run is killed at that point."""
    mover = estate.mover(run, dies=point)
    assert mover.wait(90) == -signal.SIGKILL, estate.log(mover)


def require_each_once(estate: Estate, run: int) -> None:
    """No tenant has two moves, and no move is without its line."""
    moves = estate.ask("control", "SELECT run, tenant FROM shardwright.move ORDER BY run")
    lines = [(line.run, line.tenant) for line in estate.lines(run) if line.run is not None]
    assert sorted(lines) == moves
    assert len({tenant for _, tenant in moves}) == len(moves)
