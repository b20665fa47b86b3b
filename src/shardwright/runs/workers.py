"""Processes that take durable runs: they beat, admit what there is a place for, take over what has lost its worker."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg

from shardwright.config import FleetConfig
from shardwright.errors import ControlUnavailable, NotNow, ShardwrightError, TooLate
from shardwright.runs.board import Board, Places, Superseded
from shardwright.runs.kinds import Kind, by_name
from shardwright.runs.log import log
from shardwright.runs.stopping import StopRequest
from shardwright.runs.walk import Control, Hands, Walk

_TICK = 0.5
_TICKS_PER_CONNECTION = 120  # with a new one it is noticed that a newer version has upgraded the control database
_BEATS_PER_LIFE = 5
MOST_TAKEOVERS = 5  # a run that kills whoever touches it is parked then


@dataclass(frozen=True)
class WorkerLimits:
    """How much a worker takes: runs at once here, places in all, and for how long silence is no death (seconds)."""

    at_once: int
    places: Places
    time_to_live: float


def worker_name() -> str:
    """Unique for ever: two processes of one name would take each other for alive."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(5)}"


class Attendant:
    """What a process with runs in its hands does beside them: it beats, and hears what operators wish."""

    def __init__(self, control: Control, fleet: FleetConfig, name: str, limits: WorkerLimits) -> None:
        self.name = name
        self._control = control
        self._fleet = fleet
        self._limits = limits
        self._hands: dict[tuple[int, int], Hands] = {}
        self.over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Attendant:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._thread.join(timeout=1.0)  # it may wait for a database that does not answer

    @property
    def in_hand(self) -> list[Hands]:
        """The runs this process has in its hands."""
        return list(self._hands.values())

    def carry(self, run: int, runner: int, kinds: Iterable[Kind]) -> bool:
        """The run is carried as far as it goes; False where it was in other hands already."""
        with self._control() as connection:
            if not Board(connection, self._fleet.shard_set).take(run, runner, self.name):
                return False
        hands = self._hands[run, runner] = Hands(run, runner)
        try:
            Walk(self._control, self._fleet, by_name(kinds), hands).go()
        finally:
            del self._hands[run, runner]
        return True

    def wish(self, wish: str) -> None:
        """What the operator at this process's terminal wishes of all it has in hand."""
        for hands in self.in_hand:
            hands.wish = wish

    def leave(self) -> None:
        """Whatever is in hand is let go at its next safe point."""
        for hands in self.in_hand:
            hands.is_leaving = True

    def _beat(self) -> None:
        """By the database's clock. While it can't be reached nobody else can take over either."""
        while not self.over.wait(self._limits.time_to_live / _BEATS_PER_LIFE):
            hands = dict(self._hands)
            try:
                with self._control() as connection:
                    beats = Board(connection, self._fleet.shard_set).beat(self.name, list(hands))
            except ControlUnavailable:
                continue
            except ShardwrightError:  # a newer version has upgraded the control database: its workers take over
                beats = []
            for beat in beats:
                mine = hands.pop((beat.run, beat.runner))
                mine.wish = beat.wish or mine.wish
            for lost in hands.values():
                lost.is_lost = True


class Worker:
    """A process that takes runs as long as it is let; as many as one likes on as many machines."""

    def __init__(
        self,
        control: Control,
        fleet: FleetConfig,
        kinds: Iterable[Kind],
        limits: WorkerLimits,
        make_engine: Callable[[str, Callable[[int, int], None]], Any],
        *,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._control = control
        self._fleet = fleet
        self._kinds = tuple(kinds)
        self._limits = limits
        self._say_aloud = say
        self._attendant = Attendant(control, fleet, worker_name(), limits)
        self._engine = make_engine(self._attendant.name, self._carry)
        self._promised: set[tuple[int, int]] = set()
        self._seeing_since: float | None = None
        self._looked_at = 0.0

    def work(self, stop: StopRequest) -> None:
        """Takes runs until `stop` is asked, then lets go of those in hand at their next safe point."""
        with self._control():  # an error of the control database is told as one
            self._engine.start()
        self._say(f"worker {self._attendant.name} takes runs of shard set {self._fleet.shard_set}")
        with self._attendant:
            try:
                while not stop.is_asked:
                    self._attend(stop)
                self._let_go(stop)
            finally:
                self._engine.stop()
            self._let_go(stop)  # what the engine had fetched by then
        with suppress(ControlUnavailable), self._control() as connection:
            self._board(connection).leave(self._attendant.name)

    def _say(self, text: str) -> None:
        log(text, worker=self._attendant.name)
        self._say_aloud(text)

    def _attend(self, stop: StopRequest) -> None:
        try:
            with self._control() as connection:
                for _ in range(_TICKS_PER_CONNECTION):
                    self._tick(self._board(connection))
                    time.sleep(_TICK)
                    if stop.is_asked:
                        return
        except ControlUnavailable as error:
            if self._seeing_since is not None:
                self._say(f"{error}; trying again")
            self._seeing_since = None
            time.sleep(_TICK)

    def _tick(self, board: Board) -> None:
        board.beat_worker(self._attendant.name, at_once=self._limits.at_once)
        self._take_over(board)
        board.wake()
        self._promised = {each for each in self._promised if board.is_promised(*each)}
        while self._free() > 0 and (admitted := board.admit(self._limits.places)):
            self._promised.add(admitted)
            self._engine.submit(*admitted)

    def _take_over(self, board: Board) -> None:
        """Silence counts only as long as we could have heard: after an outage, or a sleep of ours, all have time to
        beat again."""
        now, before = time.monotonic(), self._looked_at
        self._looked_at = now
        if self._seeing_since is None or now - before > self._limits.time_to_live / 2 + _TICK:
            self._seeing_since = now
        if now - self._seeing_since < self._limits.time_to_live:
            return
        for run in board.take_over(self._limits.time_to_live, most=MOST_TAKEOVERS, discard=self._engine.discard):
            self._say(f"run {run} has lost its worker: taken over")

    def _free(self) -> int:
        """Places here: in hand, or admitted by us and not fetched yet by anybody."""
        return self._limits.at_once - len(self._attendant.in_hand) - len(self._promised)

    def _carry(self, run: int, runner: int) -> None:
        """Called by the engine, in a thread of the run's own."""
        self._say(f"run {run}: taken")
        with suppress(Superseded):
            self._attendant.carry(run, runner, self._kinds)
        self._say(f"run {run}: let go")

    def _let_go(self, stop: StopRequest) -> None:
        self._attendant.leave()
        while self._attendant.in_hand and stop.times < 2:
            self._attendant.leave()
            time.sleep(_TICK / 5)

    def _board(self, connection: psycopg.Connection[Any]) -> Board:
        return Board(connection, self._fleet.shard_set)


def carry_here(
    control: Control,
    fleet: FleetConfig,
    kinds: Iterable[Kind],
    limits: WorkerLimits,
    run: int,
    *,
    stop: StopRequest,
) -> None:
    """The run is carried in this process, as soon as there is a place for it, until it can't go on by itself.

    In whoever's hands it is, once he has been silent for the time to live it is taken over. `stop` asked once means
    cancel; twice, that workers may go on with it.
    """
    seeing_since = None
    with Attendant(control, fleet, worker_name(), limits) as attendant:
        threading.Thread(target=_pass_on, args=(control, fleet, attendant, run, stop), daemon=True).start()
        while stop.times < 2:
            try:
                with control() as connection:
                    board = Board(connection, fleet.shard_set)
                    found = board.run(run)
                    if found is None or found.state not in ("queued", "running"):
                        return
                    seeing_since = seeing_since or time.monotonic()
                    if time.monotonic() - seeing_since > limits.time_to_live:
                        board.take_over(limits.time_to_live, most=MOST_TAKEOVERS, only=run)
                    admitted = board.admit(limits.places, only=run)
                if admitted and attendant.carry(*admitted, kinds):
                    continue
            except ControlUnavailable:
                seeing_since = None  # the run is not lost with it, and nobody could beat either
            time.sleep(_TICK)


def _pass_on(control: Control, fleet: FleetConfig, attendant: Attendant, run: int, stop: StopRequest) -> None:
    """The wish is written down too: it is heard by whoever has the run in hand, also after this process has died."""
    is_written = False
    while not attendant.over.wait(_TICK / 5):
        if stop.is_asked and not is_written:
            attendant.wish("cancel")
            with suppress(ControlUnavailable), control() as connection:
                with suppress(TooLate, NotNow):
                    Board(connection, fleet.shard_set).cancel(run)
                is_written = True
        if stop.times > 1:
            attendant.leave()
