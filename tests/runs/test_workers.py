"""A worker's heartbeat: what it finds out, and what it leaves to others."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest

from kit import MakeProject, until
from shardwright import errors
from shardwright.catalog.control import open_control
from shardwright.runs.board import Board, Places
from shardwright.runs.kinds import Kind, Step, StepContext
from shardwright.runs.workers import Attendant, WorkerLimits, worker_name

LIMITS = WorkerLimits(at_once=1, places=Places(9, 9), time_to_live=0.5)


def test_a_step_that_ends_its_thread_leaves_the_run_to_be_taken_over(make_project: MakeProject) -> None:
    """Its process lives and beats, but no more for that run."""
    fleet = make_project(shards=1).fleet().resolved

    def leave(context: StepContext) -> None:
        raise SystemExit(3)

    kind = Kind("k", (Step("one", leave),))
    with (
        open_control(fleet.control, application_name="test") as connection,
        Attendant(lambda: open_control(fleet.control, application_name="test"), fleet, "me", LIMITS) as attendant,
    ):
        board = Board(connection, fleet.shard_set)
        board.create(kind, {})
        admitted = board.admit(LIMITS.places)
        assert admitted is not None
        with pytest.raises(SystemExit):
            attendant.carry(*admitted, [kind])
        assert until(lambda: board.take_over(LIMITS.time_to_live, most=5, discard=lambda *_: None)) == [1]


def test_a_worker_older_than_the_control_database_gives_up_what_it_has_in_hand(make_project: MakeProject) -> None:
    """The step ends at its next safe point, and the run is left to the newer workers."""
    fleet = make_project(shards=1).fleet().resolved
    is_newer = threading.Event()
    told: list[str | None] = []

    def connect() -> AbstractContextManager[psycopg.Connection[Any]]:
        if is_newer.is_set():
            raise errors.ControlTooNew(present=9, known=8)
        return open_control(fleet.control, application_name="test")

    def wait(context: StepContext) -> None:
        is_newer.set()
        told.append(until(context.stop_wanted))
        context.raise_if_stopped()

    kind = Kind("k", (Step("one", wait),))
    with Attendant(connect, fleet, "me", LIMITS) as attendant, connect() as connection:
        board = Board(connection, fleet.shard_set)
        board.create(kind, {})
        admitted = board.admit(LIMITS.places)
        assert admitted is not None
        assert attendant.carry(*admitted, [kind])
        found = board.run(1)
    assert found is not None
    assert (told, found.state, found.worker, attendant.in_hand) == (["taken over"], "running", "me", [])


def test_no_two_workers_have_one_name() -> None:
    """Not even in one process."""
    assert len({worker_name() for _ in range(1000)}) == 1000
