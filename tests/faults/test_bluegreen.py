"""Blue-green changes and faults: whatever dies, and wherever, nothing is lost, and the change has an end."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from changes import Changing
from kills import kill
from kit import create_database, database_to_be, drop_databases
from moves import at
from shardwright.embedded import Cluster
from shardwright.testing.places import cluster_in_memory

SERVERS = ("blue", "green", "control")


class Frail(Changing):
    """An arena whose blue shards, green shards and control database are on a server each, which may be killed."""

    servers: dict[str, Cluster]

    def crash(self, where: str) -> None:
        """kill -9 of the server; it is back in a second."""
        kill(self.servers[where])
        threading.Thread(target=self._come_back, args=(where,)).start()

    def _come_back(self, where: str) -> None:
        time.sleep(1.0)
        self.servers[where].start()

    def end_sessions(self, where: str) -> None:
        """The sessions of the change there are gone, those that hold a fence's lock among them."""
        names = {"blue": self.blue, "green": self.green, "control": {"control": ""}}[where]
        for name in filter(self.is_there, names):
            self.ask(
                name,
                """SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name LIKE 'shardwright %'
                     AND pid <> pg_backend_pid()""",
            )

    def go(self, run: int, *phases: str) -> None:
        """The run is carried until it is in one of these phases, whatever has become of its carrier."""
        for _ in range(6):
            with self.board() as board:
                found = board.run(run)
                assert found is not None
                if found.state in ("parked", "paused"):
                    board.resume(run)
            if found.state == "running":
                self.take_over(run)
            status = self.carry(run, lambda found: found.change.phase in phases and not found.orders)
            if status.change.phase in phases and not status.orders:
                return
            print(self.story(run))  # noqa: T201 where a later step fails
        raise AssertionError(self.story(run))

    def end_it(self, run: int, end: str) -> None:
        """All are switched and blue let go, or it is taken back; then all is there, once, and nothing left."""
        fleet = self.project.fleet()
        if end == "finish":
            if fleet.bluegreen_status().change.phase == "in_step":
                fleet.switch_bluegreen()
                self.go(run, "switched")
            self.go_on(2)
            self.require_one_side()
            self.ask_for("finish", run)
        elif fleet.bluegreen_status().change.phase not in ("returning", "undone"):
            self.ask_for("undo", run)
        self.go(run, "done" if end == "finish" else "undone")
        self.require_the_end(at_green=end == "finish")

    def require_the_end(self, *, at_green: bool) -> None:
        """All is there, once, and nothing of the change left."""
        self.go_on(2)
        self.require_all(at_green=at_green)
        self.require_nothing_left()
        self.require_proven()

    def ask_for(self, end: str, run: int) -> None:
        """What an operator does; nobody carries it yet."""
        if end == "undo":
            with self.board() as board:
                board.cancel(run)
        else:
            self.ask(
                "control", "INSERT INTO shardwright.bluegreen_order (run, kind, by) VALUES (%s, 'finish', 'x')", run
            )


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Cluster]]:
    """A server for each."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(cluster_in_memory()) for name in SERVERS}


MakeFrail = Callable[..., Frail]


@pytest.fixture
def make_frail(tmp_path: Path, servers: dict[str, Cluster]) -> Iterator[MakeFrail]:
    """Makes frail arenas, two blue shards and a green one of another shape, with writers at work."""
    with ExitStack() as stack:

        def make() -> Frail:
            for server in servers.values():
                server.start()
                stack.callback(server.start)
            blue = {f"blue_{number}": create_database(servers["blue"]) for number in range(2)}
            green = {"green_0": database_to_be(servers["green"])}
            control = create_database(servers["control"])
            for where, urls in (("blue", blue.values()), ("green", green.values()), ("control", [control])):
                stack.callback(drop_databases, servers[where], [*urls])
                stack.callback(servers[where].start)
            arena = Frail(tmp_path, control, blue, green, shaped=True)
            stack.callback(arena.end)
            arena.servers = servers
            arena.fill(tenants=3)
            arena.write(routers=1, ignorant=1)
            return arena

        yield make


# --- points and faults ------------------------------------------------------------------------------

THERE = [
    "before steps.make_empty 1",
    "after everyone.register 2",
    "after everyone.install 1",
    "before Copy.copy 1",
    "after Copy._note 4",
    "before drain.forget_drained 1",
    "before Group.compare 1",
    "before Changes.write_phase 1",
]
SWITCH = [
    "after Group.bring 1",
    "after fence.lock 1",
    "before fence.close_for_writes 1",
    "after fence.close_for_writes 1",
    "after Changes.switch 1",
    "before Group.place 2",
    "after Group.place 2",
    "after fence.open_for_writes 1",
    "after fence.unlock 1",
    "before Changes.note_switch 1",
    "before Changes.adopt 1",
    "after Changes.adopt 1",
]
EVERYBODY = [
    "before Switching.switch_everybody 1",
    "after Switching._close 2",
    "before Changes.switch_everybody 1",
    "after Changes.switch_everybody 1",
    "after Switching._decide_everybody 1",
    "before Changes.write_phase 2",
]
HOME = [
    "after Changes.switch_everybody 1",
    "before Changes.switch 1",
    "after Changes.switch 1",
    "after fence.open_for_writes 2",
    "before steps._empty 1",
    "after capture.remove 1",
    "after capture.forget 2",
    "before create.take_back 1",
]
CLEAN = [
    "before steps._retire 1",
    "after capture.remove 1",
    "after capture.forget 1",
    "after capture.forget 3",
    "before Changes.write_phase 2",
]
DECIDED = ("after Changes.switch 1", "after Changes.switch_everybody 1")
FAULTS: dict[str, Callable[[Frail], None]] = {
    **{f"{name} is killed": lambda arena, name=name: arena.crash(name) for name in SERVERS},  # type: ignore[misc]
    **{f"sessions at {name} end": lambda arena, name=name: arena.end_sessions(name) for name in SERVERS},  # type: ignore[misc]
}
SAMPLE = {
    ("control is killed", "after fence.close_for_writes 1"),
    ("sessions at blue end", "after Switching._close 2"),
}


def cases(points: list[str]) -> list[Any]:
    """Every fault at every point; all but the sample are for `make faults`."""
    return [
        pytest.param(
            fault, point, "undo" if number % 2 else "finish",
            marks=() if (fault, point) in SAMPLE and points is not HOME else pytest.mark.faults,
        )
        for number, (fault, point) in enumerate((fault, point) for fault in FAULTS for point in points)
    ]  # fmt: skip


@pytest.mark.parametrize(("fault", "point", "end"), cases(THERE))
def test_a_fault_while_green_is_filled(make_frail: MakeFrail, fault: str, point: str, end: str) -> None:
    """Green comes into step by itself, or once the run is resumed; then it is finished, or undone."""
    arena = make_frail()
    run = arena.start()
    with at(point, lambda: FAULTS[fault](arena)) as was:
        arena.go(run, "in_step")
    assert was.is_set(), arena.story(run)
    arena.end_it(run, end)


@pytest.mark.parametrize(("fault", "point", "end"), cases([*SWITCH, *EVERYBODY]))
def test_a_fault_while_tenants_are_switched(make_frail: MakeFrail, fault: str, point: str, end: str) -> None:
    """It is waited for, and they go on; nobody is left shut out of both sides."""
    arena = make_frail()
    run = arena.begin()
    if "adopt" in point:
        arena.make_tenant("blue_0", new := "00000000-0000-0000-0000-0000000000aa")
        arena.tenants.append(new)
    arena.project.fleet().switch_bluegreen()
    with at(point, lambda: FAULTS[fault](arena)) as was:
        arena.go(run, "switched")
    assert was.is_set(), arena.story(run)
    arena.go_on(2)
    arena.require_one_side()
    arena.end_it(run, end)


@pytest.mark.faults
@pytest.mark.parametrize(("fault", "point", "end"), cases(HOME))
def test_a_fault_on_the_way_home(make_frail: MakeFrail, fault: str, point: str, end: str) -> None:
    """All are at blue in the end, with what was written on either side; undone half switched, or switched."""
    arena = make_frail()
    run = arena.begin()
    arena.switch(None if end == "undo" or "everybody" in point else arena.tenants[:2])
    arena.go_on(2)
    arena.ask_for("undo", run)
    with at(point, lambda: FAULTS[fault](arena)) as was:
        arena.go(run, "undone")
    assert was.is_set(), arena.story(run)
    arena.require_the_end(at_green=False)


@pytest.mark.faults
@pytest.mark.parametrize(("fault", "point", "end"), cases(CLEAN))
def test_a_fault_while_blue_is_let_go(make_frail: MakeFrail, fault: str, point: str, end: str) -> None:
    """Nothing of the change is left in the end, and nothing lost."""
    del end
    arena = make_frail()
    run = arena.begin()
    arena.switch()
    arena.ask_for("finish", run)
    with at(point, lambda: FAULTS[fault](arena)) as was:
        arena.go(run, "done")
    assert was.is_set(), arena.story(run)
    arena.require_the_end(at_green=True)


# --- the carrier itself -------------------------------------------------------------------------------


def killed(arena: Frail, run: int, point: str) -> None:
    """Its carrier has died at that point, and somebody has noticed."""
    carrier = arena.carrier(run, dies=point)
    assert carrier.wait(120) == -signal.SIGKILL, arena.log(carrier)
    arena.take_over(run)


@pytest.mark.faults
@pytest.mark.parametrize("point", THERE)
def test_the_carrier_is_killed_while_green_is_filled(make_frail: MakeFrail, point: str) -> None:
    """Another takes the run over, and brings it to its end."""
    arena = make_frail()
    run = arena.start()
    killed(arena, run, point)
    arena.go(run, "in_step")
    arena.end_it(run, "undo" if THERE.index(point) % 2 else "finish")


@pytest.mark.parametrize(
    "point",
    [pytest.param(p, marks=() if p in DECIDED else pytest.mark.faults) for p in (*SWITCH, *EVERYBODY)],
)
def test_the_carrier_is_killed_while_tenants_are_switched(make_frail: MakeFrail, point: str) -> None:
    """Between the decision and what follows from it, too: the next one does what was decided, and proves it."""
    arena = make_frail()
    run = arena.begin()
    if "adopt" in point:
        arena.make_tenant("blue_0", new := "00000000-0000-0000-0000-0000000000aa")
        arena.tenants.append(new)
    arena.project.fleet().switch_bluegreen()
    killed(arena, run, point)
    arena.go(run, "switched")
    arena.go_on(2)
    arena.require_one_side()
    arena.end_it(run, "undo" if SWITCH.count(point) else "finish")


@pytest.mark.faults
@pytest.mark.parametrize("point", [*HOME, *CLEAN])
def test_the_carrier_is_killed_at_the_end(make_frail: MakeFrail, point: str) -> None:
    """On the way home, and while blue is let go."""
    arena = make_frail()
    run = arena.begin()
    arena.switch()
    arena.go_on(2)
    end = "undo" if point in HOME else "finish"
    arena.ask_for(end, run)
    killed(arena, run, point)
    arena.go(run, "undone" if end == "undo" else "done")
    arena.require_the_end(at_green=end == "finish")
