"""Blue-green changes and faults: whatever dies, and wherever, nothing is lost, and the change has an end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from changes import Changing
from frail import Frail, database_on, running
from kit import database_to_be, drop_databases, until
from points import at
from shardwright.embedded import Cluster
from stalls import network

SERVERS = ("blue", "green", "control")


class FrailChange(Frail, Changing):
    """An arena whose blue shards, green shards and control database are on a server each, which may be killed."""

    def databases_at(self, where: str) -> Iterable[str]:
        """Which of them are on that server."""
        return {"blue": self.blue, "green": self.green, "control": ["control"]}[where]

    def settle(self) -> None:
        """Nobody writes any more, and every server is there to be asked."""
        self.await_servers()
        super().settle()

    def require_one_side(self) -> None:
        """As everywhere, once all can be asked."""
        self.await_servers()
        super().require_one_side()

    def is_carried(self, run: int) -> bool:
        """Whether somebody has it in hand."""
        with self.board() as board:
            found = board.run(run)
            return found is not None and found.state == "running"

    def end_sessions(self, where: str) -> None:
        """The sessions of the change there are gone, those that hold a fence's lock among them."""
        for name in filter(self.is_there, self.databases_at(where)):
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
    with running(SERVERS) as servers:
        yield servers


MakeFrail = Callable[..., FrailChange]


@pytest.fixture
def make_frail(tmp_path: Path, servers: dict[str, Cluster]) -> Iterator[MakeFrail]:
    """Makes frail arenas, two blue shards and a green one of another shape, with writers at work."""
    with ExitStack() as stack:

        def make(*, stalls: bool = False) -> FrailChange:
            blue = {f"blue_{number}": database_on(servers["blue"], stack) for number in range(2)}
            control = database_on(servers["control"], stack)
            servers["green"].start()
            green = {"green_0": database_to_be(servers["green"])}
            stack.callback(drop_databases, servers["green"], [*green.values()])
            stack.callback(servers["green"].start)
            arena = FrailChange(tmp_path, control, blue, green, shaped=True)
            stack.callback(arena.end)
            arena.servers = servers
            arena.fill(tenants=3)
            if stalls:
                urls = {**blue, **green, "control": control}
                arena.networks = {name: stack.enter_context(network(url)) for name, url in urls.items()}
                arena.go_through(arena.networks)
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
FAULTS: dict[str, Callable[[FrailChange], None]] = {
    **{f"{name} is killed": lambda arena, name=name: arena.crash(name) for name in SERVERS},  # type: ignore[misc]
    **{f"sessions at {name} end": lambda arena, name=name: arena.end_sessions(name) for name in SERVERS},  # type: ignore[misc]
}
SAMPLE = {("control is killed", "after fence.close_for_writes 1")}


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


def killed(arena: FrailChange, run: int, point: str) -> None:
    """Its carrier has died at that point, and somebody has noticed."""
    carrier = arena.carrier(str(run), dies=point)
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


@pytest.mark.faults
@pytest.mark.parametrize("point", [*SWITCH, *EVERYBODY])
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


# --- a carrier that sleeps, a network that stalls -----------------------------------------------------


@pytest.mark.faults
@pytest.mark.parametrize("point", [*THERE, *SWITCH, *EVERYBODY])
def test_a_carrier_that_wakes_up_after_another_has_taken_over(make_frail: MakeFrail, point: str) -> None:
    """It changes nothing any more, whether the other has switched all, or has taken everything back."""
    arena, end = make_frail(), "undo" if len(point) % 2 else "finish"
    run = arena.start() if point in THERE else arena.begin()
    if "adopt" in point:
        arena.make_tenant("blue_0", new := "00000000-0000-0000-0000-0000000000aa")
        arena.tenants.append(new)
    if point not in THERE:
        arena.project.fleet().switch_bluegreen()
    carrier = arena.carrier(str(run), stops=point)
    until(lambda: arena.is_stopped(carrier), seconds=120)
    arena.take_over(run)
    if end == "undo":
        arena.ask_for("undo", run)
    arena.go(run, "undone" if end == "undo" else "in_step" if point in THERE else "switched")
    carrier.send_signal(signal.SIGCONT)
    if end == "undo":
        assert carrier.wait(60) == 0, arena.log(carrier)
        arena.require_the_end(at_green=False)
        return
    until(lambda: carrier.poll() is not None or arena.is_carried(run))  # it may take the run again, as anybody may
    arena.go_on(2)
    arena.require_one_side()
    carrier.kill()
    carrier.wait()
    arena.end_it(run, end)


@pytest.mark.faults
@pytest.mark.parametrize("where", SERVERS)
@pytest.mark.parametrize("point", ["after Copy._note 4", *SWITCH[:-2], *EVERYBODY[1:-1]])
def test_the_network_stalls(make_frail: MakeFrail, where: str, point: str) -> None:
    """For some seconds nothing gets through to the databases of a server; afterwards it goes on."""
    arena = make_frail(stalls=True)
    if "Copy" in point:
        run, there = arena.start(), "in_step"
    else:
        run, there = arena.begin(), "switched"
        arena.project.fleet().switch_bluegreen()
    with at(point, lambda: arena.stall(where)) as was:
        arena.go(run, there)
    assert was.is_set(), arena.story(run)
    arena.end_it(run, "finish")
