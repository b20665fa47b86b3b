"""Carries the moves of a rebalance in threads of this process, where no worker takes them."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, suppress
from threading import Thread
from typing import Any

import psycopg

from shardwright import errors
from shardwright.catalog.control import open_control
from shardwright.move import steps as moving
from shardwright.rebalance.store import NAME
from shardwright.runs.board import Board, Places, Superseded
from shardwright.runs.kinds import StepContext
from shardwright.runs.stopping import StopRequest
from shardwright.runs.workers import WorkerLimits, carry_here

_SILENT = 60  # seconds after which a worker that said nothing is not counted on
_PATIENCE = 3.0  # seconds that workers have to take a move before this process does
_LOOK_EVERY = 0.3


class Carriers:
    """A thread for each move that is under way: it leaves it to a worker who takes it, else it carries it itself, and
    takes it over from whoever dies. At the end whatever is in hand is let go, for others to go on with."""

    def __init__(self, context: StepContext) -> None:
        self._fleet = context.fleet
        self._stop = StopRequest()
        self._threads: dict[int, Thread] = {}

    def __enter__(self) -> Carriers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.let_go()
        for thread in self._threads.values():
            thread.join()

    def carry(self, run: int) -> None:
        """Somebody has the move in hand, or will have."""
        thread = self._threads.get(run)
        if thread is None or not thread.is_alive():
            self._threads[run] = Thread(target=self._carry, args=(run,), name=f"move {run}", daemon=True)
            self._threads[run].start()

    def _carry(self, run: int) -> None:
        """What goes wrong is in the run's own state, or will be tried again by the next `carry`."""
        with suppress(Superseded, errors.ShardwrightError, psycopg.Error):
            self._leave_to_workers(run)
            carry_here(self._connect, self._fleet, (moving.KIND,), self._limits, run, stop=self._stop)

    def _leave_to_workers(self, run: int) -> None:
        until = time.monotonic() + _PATIENCE
        with self._connect() as connection:
            board = Board(connection, self._fleet.shard_set)
            while time.monotonic() < until and not self._stop.times:
                found = board.run(run)
                are_there = any(worker.silent < _SILENT for worker in board.workers())
                if found is None or found.state != "queued" or not are_there:
                    return
                time.sleep(_LOOK_EVERY)

    @property
    def _limits(self) -> WorkerLimits:
        """The rebalance itself takes a place too, which would else be missing where there is only one."""
        section = self._fleet.config.runs
        places = Places(section.at_once + 1, section.per_host)
        return WorkerLimits(1, places, section.time_to_live.total_seconds())

    def _connect(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        return open_control(self._fleet.control, application_name=NAME)
