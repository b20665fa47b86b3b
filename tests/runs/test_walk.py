"""Durable runs, without an engine: steps done once each, stopped, taken back, resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import pytest

from kit import MakeProject
from shardwright import errors
from shardwright.catalog.control import open_control
from shardwright.config import FleetConfig
from shardwright.runs.board import Board, DurableRun, Places, Superseded
from shardwright.runs.kinds import Kind, Progress, Step, StepContext
from shardwright.runs.walk import Hands, Walk

PLACES = Places(at_once=10, per_host=10)


class Bench:
    """A control database with runs of one kind, and a worker that is called by hand."""

    def __init__(self, fleet: FleetConfig) -> None:
        self.fleet = fleet
        self.log: list[str] = []
        self.hands: Hands | None = None

    def connect(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        return open_control(self.fleet.control, application_name="test")

    @contextmanager
    def board(self) -> Iterator[Board]:
        with self.connect() as connection:
            yield Board(connection, self.fleet.shard_set)

    def step(self, name: str, **options: Any) -> Step:
        """A step that notes that it was done, and undone."""
        do: Callable[[], Mapping[str, Any] | None] = options.pop("do", lambda: None)

        def act(context: StepContext) -> Mapping[str, Any] | None:
            self.log.append(name)
            given = do()
            context.raise_if_stopped()
            return given

        def undo(context: StepContext) -> None:
            self.log.append(f"undo {name}")

        return Step(name, act, **{"undo": undo, **options})

    def create(self, kind: Kind, **options: Any) -> int:
        with self.board() as board:
            return board.create(kind, {"to": "shard_1"}, **options)

    def carry(self, kind: Kind) -> DurableRun | None:
        """The next run is admitted, taken and carried as far as it goes."""
        with self.board() as board:
            admitted = board.admit(PLACES)
            if admitted is None:
                return None
            assert board.take(*admitted, "me")
        self.hands = Hands(*admitted)
        Walk(self.connect, self.fleet, {kind.name: kind}, self.hands).go()
        return self.run(admitted[0])

    def run(self, number: int) -> DurableRun:
        with self.board() as board:
            found = board.run(number)
        assert found is not None
        return found

    def states(self, number: int) -> list[str]:
        with self.board() as board:
            return [step.state for step in board.steps(number)]


@pytest.fixture
def bench(make_project: MakeProject) -> Bench:
    return Bench(make_project(shards=1).fleet().resolved)


def test_steps_are_done_in_order_and_hand_on_what_they_found(bench: Bench) -> None:
    """Each once; what one gives the next may read; the plan is the one the run was made with."""
    seen: list[Any] = []

    def second(context: StepContext) -> None:
        seen.append((dict(context.results["one"]), context.plan["to"], context.attempt))

    kind = Kind("k", (bench.step("one", do=lambda: {"rows": 3}), Step("two", second)))
    number = bench.create(kind)
    run = bench.carry(kind)
    assert run is not None
    assert (run.state, run.id, seen) == ("finished", number, [({"rows": 3}, "shard_1", 1)])
    assert bench.states(number) == ["done", "done"]
    assert bench.carry(kind) is None


def test_a_step_that_fails_parks_the_run_and_resume_does_it_again(bench: Bench) -> None:
    """What was done stays done; only the failed step, and those after it, are done by the next worker."""
    fault = [ValueError("no such tenant")]

    def fail() -> None:
        if fault:
            raise fault.pop()

    kind = Kind("k", (bench.step("one"), bench.step("two", do=fail), bench.step("three")))
    number = bench.create(kind)
    run = bench.carry(kind)
    assert run is not None
    assert (run.state, run.note) == ("parked", "two: ValueError: no such tenant")
    with bench.board() as board:
        board.resume(number)
    run = bench.carry(kind)
    assert run is not None
    assert (run.state, bench.log) == ("finished", ["one", "two", "two", "three"])


def test_a_database_that_is_away_for_a_moment_is_no_failure(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step is done again, since every step may be."""
    monkeypatch.setattr("shardwright.runs.walk._PAUSE", 0.01)
    faults = [psycopg.OperationalError("connection refused"), psycopg.OperationalError("again")]

    def fail() -> None:
        if faults:
            raise faults.pop()

    kind = Kind("k", (bench.step("one", do=fail),))
    bench.create(kind)
    run = bench.carry(kind)
    assert run is not None
    assert (run.state, bench.log) == ("finished", ["one"] * 3)


def test_cancel_takes_back_what_was_done_in_reverse(bench: Bench) -> None:
    """The step under way too, wherever it had come to."""

    def cancel() -> None:
        with bench.board() as board:
            board.cancel(1)
        assert bench.hands is not None
        bench.hands.wish = "cancel"  # as the heartbeat brings it

    kind = Kind("k", (bench.step("one"), bench.step("two", do=cancel), bench.step("three")))
    number = bench.create(kind)
    run = bench.carry(kind)
    assert run is not None
    assert (run.state, bench.log) == ("cancelled", ["one", "two", "undo two", "undo one"])
    assert bench.states(number) == ["undone", "undone", "to do"]


def test_a_run_that_has_not_begun_is_cancelled_at_once(bench: Bench) -> None:
    """Nobody has to take it for that."""
    kind = Kind("k", (bench.step("one"),))
    number = bench.create(kind)
    with bench.board() as board:
        board.cancel(number)
    assert (bench.run(number).state, bench.carry(kind), bench.log) == ("cancelled", None, [])


def test_after_a_final_step_there_is_no_way_back(bench: Bench) -> None:
    """Refused where it is known; where the wish comes in the middle, the run goes on to its end."""

    def wish() -> None:
        assert bench.hands is not None
        bench.hands.wish = "cancel"

    kind = Kind("k", (bench.step("one"), bench.step("two", final=True, do=wish), bench.step("three", approval="sure?")))
    number = bench.create(kind)
    run = bench.carry(kind)
    assert run is not None
    assert (run.state, bench.log) == ("waiting", ["one", "two"])
    with bench.board() as board:
        with pytest.raises(errors.TooLate, match="its step two was begun"):
            board.cancel(number)
        assert board.approve(number) == "three"
    run = bench.carry(kind)
    assert run is not None
    assert (run.state, bench.log) == ("finished", ["one", "two", "three"])


def test_a_step_waits_for_an_operator_and_holds_no_place(bench: Bench) -> None:
    """Waiting costs nothing: another run begins meanwhile."""
    kind = Kind("k", (bench.step("one", final=True),))
    first = bench.create(kind, pause=True)
    second = bench.create(kind)
    run = bench.carry(kind)
    assert run is not None
    assert (run.id, run.state, run.waits_for, run.note) == (first, "waiting", "one", "begin one?")
    run = bench.carry(kind)
    assert run is not None
    assert (run.id, run.state) == (second, "finished")


def test_pause_keeps_what_was_done(bench: Bench) -> None:
    """The step under way is done again after `resume`."""

    def pause() -> None:
        assert bench.hands is not None
        if bench.log == ["one", "two"]:
            bench.hands.wish = "pause"

    kind = Kind("k", (bench.step("one"), bench.step("two", do=pause)))
    number = bench.create(kind)
    run = bench.carry(kind)
    assert run is not None
    assert run.state == "paused"
    with bench.board() as board:
        board.resume(number)
    run = bench.carry(kind)
    assert run is not None
    assert (run.state, bench.log) == ("finished", ["one", "two", "two"])


def test_whoever_was_taken_over_has_no_say_any_more(bench: Bench) -> None:
    """Its step ends, and nothing it says is written: not the step, not the end, not its progress."""
    kind = Kind("k", (bench.step("one"), bench.step("two")))

    def taken_over() -> None:
        with bench.board() as board:
            assert board.take_over(0.0, most=5, discard=lambda *_: None) == [1]

    slept = Kind("k", (bench.step("one", do=taken_over), bench.step("two")))
    number = bench.create(kind)
    run = bench.carry(slept)
    assert run is not None
    assert (run.state, run.takeovers, bench.log) == ("queued", 1, ["one"])
    assert bench.states(number) == ["begun", "to do"]
    assert bench.hands is not None
    with bench.board() as board, pytest.raises(Superseded):
        board.write_progress(number, bench.hands.runner, Progress("copy", 1))
    run = bench.carry(kind)
    assert run is not None
    assert (run.state, bench.log) == ("finished", ["one", "one", "two"])


def test_a_run_that_kills_its_workers_is_parked(bench: Bench) -> None:
    """After so many deaths an operator is to look at it."""
    kind = Kind("k", (bench.step("one"),))
    number = bench.create(kind)
    for _ in range(3):
        with bench.board() as board:
            admitted = board.admit(PLACES)
            assert admitted is not None
            board.take(*admitted, "mortal")
            board.take_over(0.0, most=2, discard=lambda *_: None)
    run = bench.run(number)
    assert (run.state, run.note) == ("parked", "3 workers died over it; the last was mortal")


def test_places_are_counted_in_all_and_on_each_host(bench: Bench) -> None:
    """A run that touches two hosts counts on both, and what rests or has ended takes no place."""
    kind = Kind("k", (bench.step("one"),))
    both, left, right, free = (bench.create(kind, hosts=hosts) for hosts in (("a", "b"), ("a",), ("b",), ("c",)))
    with bench.board() as board:
        one_each = Places(at_once=2, per_host=1)
        admitted = board.admit(one_each)
        assert admitted is not None
        assert (admitted[0], board.admit(one_each)) == (both, (free, 1))
        assert board.admit(one_each) is None
        board.leave_running(*admitted, "finished", exit_code=0)
        assert [board.admit(Places(at_once=9, per_host=1)) for _ in range(3)] == [(left, 1), (right, 1), None]


def test_the_last_releases_plan_runs_on_this_code(bench: Bench) -> None:
    """Steps are known by the names that stand in the run: others that were added since are not its own."""
    old = Kind("k", (bench.step("one"), bench.step("two")))
    number = bench.create(old)
    new = Kind("k", (bench.step("before"), bench.step("two"), bench.step("between"), bench.step("one")))
    run = bench.carry(new)
    assert run is not None
    assert (run.state, bench.log) == ("finished", ["one", "two"])
    gone = bench.create(old)
    run = bench.carry(Kind("k", (bench.step("one"),)))
    assert run is not None
    assert (run.id, run.state, run.note) == (gone, "parked", "this version of shardwright has no step two")
    assert number != gone


def test_a_run_of_a_newer_protocol_is_left_to_newer_workers(bench: Bench) -> None:
    """It stays in the queue, untouched."""
    kind = Kind("k", (bench.step("one"),))
    number = bench.create(kind)
    with bench.connect() as connection:
        connection.execute("UPDATE shardwright.run SET protocol = 2 WHERE id = %s", [number])
    assert (bench.carry(kind), bench.run(number).state) == (None, "queued")


def test_no_state_follows_another_but_by_an_arrow(bench: Bench) -> None:
    """Held to by the database itself, whoever writes."""
    number = bench.create(Kind("k", (bench.step("one"),)))
    with bench.connect() as connection:
        with pytest.raises(psycopg.errors.CheckViolation, match=f"run {number} is queued, and can't become parked"):
            connection.execute("UPDATE shardwright.run SET state = 'parked' WHERE id = %s", [number])
        arrows = connection.execute("SELECT before, after, reason FROM shardwright.run_arrow").fetchall()
    ends = {"finished", "cancelled", "interrupted"}
    assert {before for before, _, _ in arrows}.isdisjoint(ends)
    assert all(reason for *_, reason in arrows)


@pytest.mark.parametrize("rest", ["waiting", "paused", "parked", "queued"])
def test_a_wish_to_cancel_that_nobody_has_heard_is_not_lost(bench: Bench, rest: str) -> None:
    """It comes while the run comes to rest, or while its worker lets it go: the run goes back all the same."""

    def leave() -> None:
        assert bench.hands is not None
        bench.hands.wish, bench.hands.is_leaving = ("pause" if rest == "paused" else None), rest == "queued"
        with bench.board() as board:
            board.cancel(1)
        if rest == "parked":
            raise ValueError("no such tenant")

    kind = Kind("k", (bench.step("one"), bench.step("two", do=leave), bench.step("three", approval="sure?")))
    bench.create(kind)
    bench.carry(kind)
    run = bench.carry(kind) or bench.run(1)
    assert (run.state, run.wish) == ("cancelled", None)
    assert bench.log[-2:] == ["undo two", "undo one"]


def test_who_wished_to_cancel_is_heard_whatever_is_wished_later(bench: Bench) -> None:
    """A pause does not take a cancel's place."""
    number = bench.create(Kind("k", (bench.step("one"),)))
    with bench.board() as board:
        board.admit(PLACES)
        board.cancel(number)
        board.pause(number)
    assert bench.run(number).wish == "cancel"


def test_turning_back_can_be_said_twice(bench: Bench) -> None:
    """The answer to the first may have been lost on its way."""
    kind = Kind("k", (bench.step("one"),))
    bench.create(kind)
    with bench.board() as board:
        admitted = board.admit(PLACES)
        assert admitted is not None
        assert [board.turn_back(*admitted), board.turn_back(*admitted)] == [True, True]


def test_taking_can_be_said_twice_by_one_and_not_by_two(bench: Bench) -> None:
    """For the same reason; nor by a worker of another shard set."""
    bench.create(Kind("k", (bench.step("one"),)))
    with bench.board() as board, bench.connect() as connection:
        admitted = board.admit(PLACES)
        assert admitted is not None
        assert not Board(connection, "another").take(*admitted, "stranger")
        assert [board.take(*admitted, name) for name in ("me", "me", "you")] == [True, True, False]


def test_nobody_keeps_a_run_alive_that_it_has_lost_sight_of(bench: Bench) -> None:
    """Its worker beats, but for what it has in hand: the run is taken over."""
    number = bench.create(Kind("k", (bench.step("one"),)))
    with bench.board() as board:
        admitted = board.admit(PLACES)
        assert admitted is not None
        assert board.take(*admitted, "me")
        assert [beat.run for beat in board.beat("me", [admitted])] == [number]
        before = bench.run(number).silent
        assert board.beat("me", []) == []
        assert (bench.run(number).silent or 0.0) > (before or 0.0)


def test_a_control_database_that_a_step_can_not_reach_is_no_failure(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step is done again; and so is taking it back."""
    monkeypatch.setattr("shardwright.runs.walk._PAUSE", 0.01)
    faults: list[Exception] = [errors.ControlUnavailable(url="u", reason="it is starting up")] * 2

    def fail(context: StepContext) -> None:
        bench.log.append("try")
        if faults:
            raise faults.pop()

    def stop(context: StepContext) -> None:
        faults.append(psycopg.OperationalError("connection refused"))
        assert bench.hands is not None
        bench.hands.wish = "cancel"
        context.raise_if_stopped()

    kind = Kind("k", (Step("one", fail, fail), Step("two", stop)))
    bench.create(kind)
    run = bench.carry(kind)
    assert run is not None
    assert (run.state, bench.log) == ("cancelled", ["try"] * 3 + ["try"] * 2)


@pytest.mark.parametrize("value", [float("nan"), "a\0b", "\ud800", object()])
def test_a_result_that_can_not_be_kept_parks_the_run(bench: Bench, value: object) -> None:
    """It does not look like a control database that is away, for which one would wait."""
    kind = Kind("k", (bench.step("one", do=lambda: {"value": value}),))
    bench.create(kind)
    run = bench.carry(kind)
    assert run is not None
    assert run.state == "parked"


def test_deaths_are_counted_since_the_last_step_that_was_done(bench: Bench) -> None:
    """A long run may lose many workers, as long as it gets on."""
    kind = Kind("k", (bench.step("one"), bench.step("two")))
    bench.create(kind)
    with bench.board() as board:
        for step in ("one", "two"):
            admitted = board.admit(PLACES)
            assert admitted is not None
            board.take(*admitted, "mortal")
            board.write_step(*admitted, step, "done")
            board.take_over(0.0, most=1, discard=lambda *_: None)
    assert (bench.run(1).state, bench.run(1).takeovers) == ("queued", 1)
