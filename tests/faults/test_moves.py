"""Moves and faults: whatever dies, stops, stalls or says no, and wherever, nothing is lost, and the move has an end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from frail import Frail, database_on, running
from kit import until
from moves import QUICK, Arena
from points import at
from shardwright import errors
from shardwright.embedded import Cluster
from shardwright.runs import walk
from shardwright.transfer import fence
from stalls import network

SERVERS = ("home", "there", "control")

# --- the arena --------------------------------------------------------------------------------------


class FrailArena(Frail, Arena):
    """An arena whose three databases are on a server each, which may be killed, and behind a network that may stall."""

    def end_sessions(self, where: str, *, only_the_lock: bool = False) -> None:
        """The mover's sessions on that server, or the one that holds the fence's lock, are gone."""
        lock = f"locktype = 'advisory' AND classid = {fence.LOCK_CLASS} AND mode = 'ExclusiveLock'"
        self.ask(
            where,
            f"""SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name LIKE 'shardwright move%'
                  AND (NOT %s OR pid IN (SELECT pid FROM pg_locks WHERE {lock}))""",
            only_the_lock,
        )

    def settle(self) -> None:
        """Nobody writes any more, and every server is there to be asked."""
        self.await_servers()
        super().settle()

    def go(self, run: int) -> None:
        """The run is carried until it waits for an operator or is at its end, whatever has become of its mover."""
        for _ in range(6):
            state = self.state(run)
            if state in ("waiting", "finished", "cancelled"):
                return
            if state == "running":
                self.take_over(run)
            elif state in ("parked", "paused"):
                with self.board() as board:
                    board.resume(run)
            self.carry(run)
            print(self.story(run))  # noqa: T201 where a later step fails
        raise AssertionError(self.story(run))

    def state(self, run: int) -> str:
        """The run's."""
        with self.board() as board:
            found = board.run(run)
            assert found is not None
            return found.state

    def ask_for(self, end: str, run: int) -> None:
        """What an operator does."""
        with self.board() as board:
            (board.cancel if end == "undo" else board.approve)(run)


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Cluster]]:
    """A server for each database."""
    with running(SERVERS) as servers:
        yield servers


MakeFrail = Callable[..., FrailArena]


@pytest.fixture
def make_frail(tmp_path: Path, servers: dict[str, Cluster]) -> Iterator[MakeFrail]:
    """Makes frail arenas, with writers at work."""
    with ExitStack() as stack:

        def make(*, stalls: bool = False, more: str = "") -> FrailArena:
            urls = {name: database_on(server, stack) for name, server in servers.items()}
            arena = FrailArena(tmp_path, urls["control"], {name: urls[name] for name in ("home", "there")})
            stack.callback(arena.end)
            arena.servers = servers
            arena.fill(rows=100, more=more)
            if stalls:
                arena.networks = {name: stack.enter_context(network(url)) for name, url in urls.items()}
                arena.project.control = arena.networks["control"].url
                arena.project.shards = {name: arena.networks[name].url for name in arena.direct}
                arena.project.write()
            arena.write(routers=2, ignorant=1, bystanders=1, acts=QUICK)  # none that is in the way of a switch for long
            return arena

        yield make


# --- points and faults ------------------------------------------------------------------------------

# On the way there; the switch's own, in which most can go wrong, come last.
EARLY = [
    "before capture.register 1",
    "after capture.register 2",
    "after capture.install 1",
    "before Copy.copy 1",
    "after Copy._note 4",
    "before drain.forget_drained 1",
    "before compare.compare 1",
    "after Switch._settle 1",
]
SWITCH = [
    "after fence.lock 1",
    "before fence.close_for_writes 1",
    "after fence.close_for_writes 1",
    "after Moves.switch 1",
    "after fence.open_for_writes 1",
    "after fence.unlock 1",
]
LATE = ["before certificate.make 1", "after Moves.note_certificate 1"]
THERE = EARLY + SWITCH + LATE
# On the way back after the switch, and at the clean end.
BACK = [
    "after Moves.give_up 1",
    "before compare.compare 1",
    "after fence.lock 1",
    "after fence.close_for_writes 1",
    "after Moves.switch_back 1",
    "after fence.open_for_writes 1",
    "before clear.clear 1",
    "before clear._remove_dangling 1",
    "after capture.remove 1",
    "after capture.forget 2",
]
FINISH = [
    "before certificate.require 1",
    "after Moves.write_phase 1",
    "before clear._remove_dangling 1",
    "after clear.clear 1",
    "after capture.forget 1",
    "after capture.forget 2",
    "after Moves.write_phase 2",
]


def no(error: type[psycopg.Error]) -> Callable[[FrailArena], None]:
    """The statement is refused."""

    def refuse(arena: FrailArena) -> None:
        raise error("refused by the test")

    return refuse


FAULTS: dict[str, Callable[[FrailArena], None]] = {
    "the source is killed": lambda arena: arena.crash("home"),
    "the target is killed": lambda arena: arena.crash("there"),
    "the control database is killed": lambda arena: arena.crash("control"),
    "its sessions at the source are ended": lambda arena: arena.end_sessions("home"),
    "its sessions at the target are ended": lambda arena: arena.end_sessions("there"),
    "its sessions at the control database are ended": lambda arena: arena.end_sessions("control"),
    "the session with the lock is ended": lambda arena: arena.end_sessions("home", only_the_lock=True),
    "a statement takes too long": no(psycopg.errors.QueryCanceled),
    "a lock is not had in time": no(psycopg.errors.LockNotAvailable),
}
SAMPLE = {
    ("the control database is killed", "after fence.close_for_writes 1"),
    ("the session with the lock is ended", "before fence.close_for_writes 1"),
}


def cases(points: list[str]) -> list[Any]:
    """Every fault at every point; all but the sample are for `make faults`."""
    return [
        pytest.param(
            fault, point, end := "undo" if number % 2 else "finish",
            marks=() if points is THERE and (fault, point) in SAMPLE else pytest.mark.faults,
            id=f"{fault} {point}, {end}",
        )
        for number, (fault, point) in enumerate((fault, point) for fault in FAULTS for point in points)
    ]  # fmt: skip


@pytest.mark.parametrize(("fault", "point", "end"), cases(THERE))
def test_a_fault_on_the_way_there(make_frail: MakeFrail, fault: str, point: str, end: str) -> None:
    """The run goes on by itself, or once it is resumed; then it is finished, or undone."""
    arena = make_frail()
    run = arena.start()
    with at(point, lambda: FAULTS[fault](arena)) as was:
        arena.carry(run)
    assert was.is_set(), arena.story(run)
    require_an_end(arena, run, end)


@pytest.mark.faults
@pytest.mark.parametrize(("fault", "point", "end"), cases(THERE))
def test_a_fault_before_which_the_operator_gives_up(make_frail: MakeFrail, fault: str, point: str, end: str) -> None:
    """Undone from wherever it stands after the fault."""
    arena = make_frail()
    run = arena.start()

    def strike() -> None:
        with arena.board() as board:
            board.cancel(run)
        FAULTS[fault](arena)

    with at(point, strike):
        arena.carry(run)
    arena.go(run)
    assert arena.state(run) == "cancelled", arena.story(run)
    arena.go_on()
    arena.require_all("home")
    arena.require_nothing_left()


@pytest.mark.faults
@pytest.mark.parametrize(("fault", "point", "end"), cases(BACK))
def test_a_fault_on_the_way_back(make_frail: MakeFrail, fault: str, point: str, end: str) -> None:
    """The tenant is at home in the end, with all that was written on either shard."""
    arena = make_frail()
    run = arena.move().run.id
    arena.go_on()
    arena.ask_for("undo", run)
    with at(point, lambda: FAULTS[fault](arena)) as was:
        arena.carry(run)
    assert was.is_set(), arena.story(run)
    arena.go(run)
    arena.go_on()
    arena.require_all("home")
    arena.require_nothing_left()


@pytest.mark.faults
@pytest.mark.parametrize(("fault", "point", "end"), cases(FINISH))
def test_a_fault_while_the_source_is_cleaned(make_frail: MakeFrail, fault: str, point: str, end: str) -> None:
    """It is clean in the end, and what is on the way is not lost."""
    arena = make_frail()
    run = arena.move().run.id
    arena.go_on()
    arena.ask_for("finish", run)
    with at(point, lambda: FAULTS[fault](arena)) as was:
        arena.carry(run)
    assert was.is_set(), arena.story(run)
    arena.go(run)
    arena.require_all("there")
    arena.require_nothing_left()


def require_an_end(arena: FrailArena, run: int, end: str) -> None:
    """The run comes to the switch, whatever it needs for that; and then to that end, with nothing lost."""
    arena.go(run)
    assert arena.state(run) == "waiting", arena.story(run)
    arena.go_on()
    arena.ask_for(end, run)
    arena.go(run)
    arena.require_all("home" if end == "undo" else "there")
    arena.require_nothing_left()


@pytest.mark.parametrize(
    ("where", "point"), [("home", "after fence.close_for_writes 1"), ("there", "after Moves.switch 1")]
)
def test_a_server_that_dies_in_the_switch_parks_nothing(
    make_frail: MakeFrail, monkeypatch: pytest.MonkeyPatch, where: str, point: str
) -> None:
    """Both flags are closed then: however long it is away, it is waited for, and the tenant's writers go on at once."""
    monkeypatch.setattr(walk, "TRIES", 2)  # the server may be back between what failed and the look at the flags
    arena = make_frail()
    run = arena.start()
    with at(point, lambda: arena.crash(where)) as was:
        status = arena.carry(run)
    assert was.is_set()
    assert (status.run.state, status.move.phase) == ("waiting", "switched"), arena.story(run)
    assert "since the tenant may be shut out" in str(arena.messages(run))
    require_an_end(arena, run, "finish")


# --- the mover itself ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "point",
    [pytest.param(p, marks=() if p == "after fence.close_for_writes 1" else pytest.mark.faults) for p in THERE],
)
def test_the_mover_is_killed(make_frail: MakeFrail, point: str) -> None:
    """Another takes the run over, and brings it to its end."""
    arena = make_frail()
    run = arena.start()
    mover = arena.mover(run, dies=point)
    assert mover.wait(60) == -signal.SIGKILL, arena.log(mover)
    arena.take_over(run)
    require_an_end(arena, run, "undo" if THERE.index(point) % 2 else "finish")


def test_who_takes_over_a_decided_switch_brings_no_row_anew(make_frail: MakeFrail) -> None:
    """Rows are taken away for a moment to be brought anew, and writers have come for them by then: they would meet
    references to rows that are not there, in place of a refusal that they know."""
    arena = make_frail()
    run = arena.start()
    mover = arena.mover(run, dies="after Moves.switch 1")
    assert mover.wait(60) == -signal.SIGKILL, arena.log(mover)
    arena.take_over(run)
    brought: list[bool] = []
    with (
        at("before drain.drain 1", lambda: None) as was,
        at("before fence.open_for_writes 1", lambda: brought.append(was.is_set())),
    ):
        arena.go(run)
    assert brought == [False]
    require_an_end(arena, run, "undo")


@pytest.mark.faults
@pytest.mark.parametrize("point", [*BACK, *FINISH])
def test_the_mover_is_killed_after_the_switch(make_frail: MakeFrail, point: str) -> None:
    """The same on the way back, and while the source is cleaned."""
    arena = make_frail()
    end = "undo" if point in BACK else "finish"
    run = arena.move().run.id
    arena.go_on()
    arena.ask_for(end, run)
    mover = arena.mover(run, dies=point)
    assert mover.wait(60) == -signal.SIGKILL, arena.log(mover)
    arena.take_over(run)
    arena.go(run)
    arena.require_all("home" if end == "undo" else "there")
    arena.require_nothing_left()


@pytest.mark.parametrize(
    "point",
    [pytest.param(p, marks=() if p == "before fence.close_for_writes 1" else pytest.mark.faults) for p in THERE],
)
def test_a_mover_that_wakes_up_after_another_has_taken_over(make_frail: MakeFrail, point: str) -> None:
    """It changes nothing any more, whether the other has moved the tenant or has taken everything back."""
    arena = make_frail()
    run = arena.start()
    mover = arena.mover(run, stops=point)
    until(lambda: arena.is_stopped(mover))
    arena.take_over(run)
    end = "undo" if THERE.index(point) % 2 else "finish"
    if end == "undo":
        arena.ask_for(end, run)
    arena.go(run)
    mover.send_signal(signal.SIGCONT)
    assert mover.wait(60) == 0, arena.log(mover)
    arena.go_on()
    if end == "finish":
        arena.ask_for(end, run)
        arena.go(run)
    arena.require_all("home" if end == "undo" else "there")
    arena.require_nothing_left()


# --- a network that stalls, a disk that is full --------------------------------------------------------


@pytest.mark.faults
@pytest.mark.parametrize("where", SERVERS)
@pytest.mark.parametrize("point", ["after Copy._note 4", *SWITCH])
def test_the_network_stalls(make_frail: MakeFrail, where: str, point: str) -> None:
    """For some seconds nothing gets through between the mover and a server; afterwards it goes on."""
    arena = make_frail(stalls=True)
    run = arena.start()
    with at(point, lambda: arena.stall(where)) as was:
        arena.carry(run)
    assert was.is_set(), arena.story(run)
    require_an_end(arena, run, "finish")


FULL = """
CREATE TABLE disk (is_full boolean);
INSERT INTO disk VALUES (false);
CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT is_full FROM public.disk) THEN RAISE 'could not extend file' USING ERRCODE = '53100'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER disk_full BEFORE INSERT ON task FOR EACH ROW EXECUTE FUNCTION disk_full();
ALTER TABLE task ENABLE ALWAYS TRIGGER disk_full;
"""


@pytest.mark.faults
@pytest.mark.parametrize("point", ["before Copy.copy 1", "after Copy.copy 1", "before Switch.go 1"])
def test_the_targets_disk_is_full(make_frail: MakeFrail, point: str) -> None:
    """The move waits for an operator, the tenant works on at home; with room again it goes on where it was."""
    arena = make_frail(more=FULL)
    arena.project.extra = arena.project.extra.replace('shared = ["plan"]', 'shared = ["plan"]\nignored = ["disk"]')
    arena.project.write()
    run = arena.start()
    with at(point, lambda: arena.ask("there", "UPDATE disk SET is_full = true")):
        status = arena.carry(run)
    assert status.run.state == "parked", arena.story(run)
    assert "could not extend file" in (status.run.note or "")
    arena.go_on()
    arena.ask("there", "UPDATE disk SET is_full = false")
    require_an_end(arena, run, "undo" if "Switch" in point else "finish")


def test_an_undo_and_a_finish_exclude_each_other(make_frail: MakeFrail) -> None:
    """Once rows are being deleted at the source there is no way back."""
    arena = make_frail()
    run = arena.move().run.id
    arena.ask_for("finish", run)
    too_late: list[Exception] = []

    def undo() -> None:
        try:
            arena.ask_for("undo", run)
        except errors.TooLate as error:
            too_late.append(error)

    with at("before clear.clear 1", undo):
        arena.carry(run)
    assert len(too_late) == 1
    arena.require_all("there")
