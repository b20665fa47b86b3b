"""Durable runs and kill -9: whoever dies, and whenever, every run ends, and its final step is done once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

import run_kinds
from kills import kill
from kit import AT_GATE, Project, until
from run_kinds import MOVE, POISON
from shardwright import errors
from shardwright.catalog.control import open_control
from shardwright.embedded import Cluster
from shardwright.fleet import MigrateOptions
from shardwright.runs.board import OPEN, RESTING, Board, DurableRun, Places

LIVE = 2.0  # seconds of silence
STEPS = [step.name for step in MOVE.steps]


class Arena:
    """Workers on one control database, and a database in which their runs have effects."""

    def __init__(self, project: Project, cluster: Cluster, *, at_once: int, per_host: int) -> None:
        self.project, self.cluster = project, cluster
        self.places = Places(at_once, per_host)
        self.fleet = project.fleet().resolved
        self.outside = project.shards["shard_0"]
        self.processes: list[subprocess.Popen[str]] = []
        self.tell(run_kinds.TABLES)
        with self.board():
            pass  # the schema is made

    # --- processes ----------------------------------------------------------------------------

    def worker(
        self, *, at_once: int = 2, dies: str = "", stops: str = "", run: int | None = None
    ) -> subprocess.Popen[str]:
        """A worker, or a process that carries one run in the foreground; it dies, or is stopped, at that point."""
        arguments = [str(at_once)] if run is None else ["carry", str(run)]
        log = (self.project.path / f"worker-{len(self.processes)}").open("w+")
        with log:
            process = subprocess.Popen(
                [sys.executable, run_kinds.__file__, *arguments],
                cwd=self.project.path,
                env={**os.environ, "SW_DIES": dies, "SW_STOPS": stops},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.processes.append(process)
        return process

    def log(self, process: subprocess.Popen[str]) -> str:
        """What a worker has said."""
        return (self.project.path / f"worker-{self.processes.index(process)}").read_text()

    def end(self) -> None:
        """No worker of this arena is left."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()

    # --- runs ---------------------------------------------------------------------------------

    @contextmanager
    def board(self) -> Iterator[Board]:
        with open_control(self.fleet.control, application_name="test") as connection:
            yield Board(connection, self.fleet.shard_set)

    def create(self, kind: Any = MOVE, *, hosts: Sequence[str] = (), pause: bool = False, **plan: Any) -> int:
        with self.board() as board:
            return board.create(kind, plan, hosts=hosts, pause=pause)

    def run(self, number: int) -> DurableRun:
        with self.board() as board:
            found = board.run(number)
        assert found is not None
        return found

    def wait_for(self, number: int, *states: str, seconds: float = 60.0) -> DurableRun:
        until(lambda: self.run(number).state in states, seconds=seconds)
        return self.run(number)

    def act(self, act: Callable[[Board], object]) -> None:
        with self.board() as board:
            act(board)

    def tell(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """What a statement gives in the database of the effects."""
        with psycopg.connect(self.outside, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """The same of the control database."""
        with psycopg.connect(self.project.control, autocommit=True) as connection:
            return connection.execute(statement, values or None).fetchall()

    def busy(self) -> set[int]:
        """The processes that have a run in hand."""
        query = """SELECT process FROM shardwright.worker
                   WHERE id IN (SELECT worker FROM shardwright.run WHERE state = 'running')"""
        return {row[0] for row in self.ask(query)}

    def effects(self, run: int, *what: str) -> list[str]:
        """Steps that had these effects in that run, in order."""
        rows = self.tell("SELECT step FROM effect WHERE run = %s AND what = ANY (%s) ORDER BY id", run, list(what))
        return [row[0] for row in rows]

    def require_ended_well(self, run: int) -> str:
        """All of it was done, the switch once; or none of it is left. Gives which."""
        found = self.run(run)
        with self.board() as board:
            states = {step.name: step.state for step in board.steps(run)}
        last = dict(
            self.tell(
                """SELECT DISTINCT ON (step) step, what FROM effect
                   WHERE run = %s AND what <> 'begin' ORDER BY step, id DESC""",
                run,
            )
        )
        switched = self.effects(run, "switch")
        if found.state == "finished":
            assert set(states.values()) == {"done"}, (run, states)
            assert switched == ["switch"], (run, switched)
            assert list(last) == sorted(STEPS), (run, last)
            assert "undo" not in last.values(), (run, last)
        else:
            assert found.state == "cancelled", found
            assert switched == [], (run, switched)
            assert set(states.values()) <= {"undone", "to do"}, (run, states)
            assert set(last.values()) <= {"undo"}, (run, last)
            begun = set(self.effects(run, "begin"))
            assert {name for name, state in states.items() if state == "undone"} >= begun, (run, states, begun)
        assert (found.worker, found.wish, found.waits_for) == (None, None, None), found
        return found.state

    @contextmanager
    def watched(self) -> Iterator[list[str]]:
        """While the block goes on, the places taken are counted; what was too much is in the list."""
        broken: list[str] = []
        over = threading.Event()

        def look() -> None:
            query = """SELECT coalesce(host, 'all'), count(*) FROM shardwright.run, unnest(hosts || NULL::text) AS host
                       WHERE durable AND state = 'running' GROUP BY host"""
            while not over.is_set():
                with suppress(psycopg.Error), psycopg.connect(self.project.control, autocommit=True) as control:
                    while not over.wait(0.02):
                        for host, runs in control.execute(query).fetchall():
                            limit = self.places.at_once if host == "all" else self.places.per_host
                            if runs > limit:
                                broken.append(f"{runs} runs on {host}")
                over.wait(0.1)

        watching = threading.Thread(target=look)
        watching.start()
        try:
            yield broken
        finally:
            over.set()
            watching.join()


MakeArena = Callable[..., Arena]


@pytest.fixture
def make_arena(
    tmp_path: Path, make_database: Callable[[], str], make_frail_database: Callable[[], str], other_cluster: Cluster
) -> Iterator[MakeArena]:
    """Arenas whose control database is on the server that may die."""
    made: list[Arena] = []

    def make(*, at_once: int = 8, per_host: int = 8) -> Arena:
        runs = f'[runs]\ntime_to_live = "{LIVE:.0f}s"\nat_once = {at_once}\nper_host = {per_host}'
        project = Project(tmp_path, make_frail_database(), {"shard_0": make_database()}, extra=runs)
        project.write()
        made.append(Arena(project, other_cluster, at_once=at_once, per_host=per_host))
        return made[-1]

    yield make
    for arena in made:
        arena.end()


# --- at every kind of moment ----------------------------------------------------------------------

# Where the first worker dies; a sample of them in `make test`.
POINTS = [
    "after Board.admit 1",
    "before Engine.submit 1",
    "after Engine.submit 1",
    "before Board.take 1",
    "after Board.take 1",
    "after Board.write_step 1",  # begun
    "before kinds.write 1",
    "after kinds.write 2",  # the effect is there, and not written down
    "before Board.write_step 2",
    "after Board.write_step 2",  # between two steps
    "after Board.write_step 5",  # the final step is begun
    "before kinds.write 6",
    "after kinds.write 6",  # it is done outside
    "before Board.write_step 6",
    "after Board.write_step 6",
    "before Board.write_step 8",
    "before Board.leave_running 1",
    "after Board.leave_running 1",
]
SAMPLE = {"after Engine.submit 1", "after kinds.write 6"}


@pytest.mark.parametrize(
    "point", [pytest.param(point, marks=() if point in SAMPLE else pytest.mark.faults) for point in POINTS]
)
def test_a_worker_dies_and_another_brings_the_run_to_its_end(make_arena: MakeArena, point: str) -> None:
    """Each step's effect is there, the final one once, and a new run gets the dead one's place, the only one."""
    arena = make_arena(at_once=1)
    run = arena.create()
    mortal = arena.worker(dies=point)
    assert mortal.wait(60) == -signal.SIGKILL, arena.log(mortal)
    arena.worker()
    arena.wait_for(run, "finished")
    assert arena.require_ended_well(run) == "finished"
    after = arena.create()
    arena.wait_for(after, "finished")
    arena.require_ended_well(after)


BACK = [
    "before Board.turn_back 1",
    "after Board.turn_back 1",
    "before kinds.write 4",  # undoing the second step: its effect is not there
    "after kinds.write 4",
    "after Board.write_step 4",
    "after kinds.write 5",
    "before Board.leave_running 1",
]


@pytest.mark.faults
@pytest.mark.parametrize("point", BACK)
def test_a_worker_dies_while_it_takes_a_run_back(make_arena: MakeArena, point: str) -> None:
    """The wish is not lost with it: the next one undoes what is left to undo."""
    arena = make_arena(at_once=1)
    run = arena.create(seconds=3)
    mortal = arena.worker(dies=point)
    until(lambda: arena.effects(run, "begin") == STEPS[:2])
    arena.act(lambda board: board.cancel(run))
    assert mortal.wait(60) == -signal.SIGKILL, arena.log(mortal)
    arena.worker()
    arena.wait_for(run, "cancelled")
    assert arena.require_ended_well(run) == "cancelled"


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.timeout(900)
def test_kills_at_random(make_arena: MakeArena, seed: int) -> None:
    """Three workers die and come back, the control database too; operators cancel, pause and resume meanwhile."""
    survive(make_arena(at_once=4, per_host=2), kills=40, seed=seed)


def test_some_kills_at_random(make_arena: MakeArena) -> None:
    """A sample of the long one, another each time; the seed is in the message of a failure."""
    survive(make_arena(at_once=4, per_host=2), kills=3, seed=random.SystemRandom().randrange(1 << 30))


def survive(arena: Arena, *, kills: int, seed: int) -> None:
    """Every run ends well, and at no moment are there more than there are places."""
    chance = random.Random(seed)  # noqa: S311 repeatable, not secret
    runs: list[int] = []
    at_work = 0
    alive = [arena.worker() for _ in range(3)]
    until(lambda: "takes runs" in arena.log(alive[0]))
    with arena.watched() as broken:
        for count in range(kills):
            runs += refill(arena, chance, runs)
            with suppress(AssertionError):
                until(lambda: arena.busy() & {worker.pid for worker in alive}, seconds=20)
            time.sleep(chance.uniform(0.0, 1.0))
            for _ in range(2):
                operate(arena, chance, chance.choice(runs))
            if count % 10 == 7:
                kill(arena.cluster)
                time.sleep(chance.uniform(0.0, 1.0))
                arena.cluster.start()
                continue
            busy = arena.busy()
            victim = chance.choice([each for each in range(3) if alive[each].pid in busy] or [0, 1, 2])
            at_work += alive[victim].pid in busy
            if chance.random() < 0.15:
                sleeper = alive[(victim + 1) % 3]
                sleeper.send_signal(signal.SIGSTOP)
                threading.Timer(chance.uniform(0.5, 3 * LIVE), sleeper.send_signal, [signal.SIGCONT]).start()
            alive[victim].kill()
            alive[victim].wait()
            alive[:] = [arena.worker() if ended_well(arena, worker) else worker for worker in alive]
        alive[:] = [arena.worker() if ended_well(arena, worker) else worker for worker in alive]
        ends = drain(arena, runs)
    assert broken == [], f"seed {seed}"
    assert set(ends) <= {"finished", "cancelled"}
    assert "finished" in ends, f"seed {seed}: {ends}"
    assert at_work >= kills // 4, "too few were killed at work"


def ended_well(arena: Arena, worker: subprocess.Popen[str]) -> bool:
    """Whether it has ended: killed, or told while it was starting that the control database is away."""
    code = worker.poll()
    assert code in (None, -signal.SIGKILL) or "is not available" in arena.log(worker), arena.log(worker)
    return code is not None


def refill(arena: Arena, chance: random.Random, runs: Sequence[int]) -> list[int]:
    """There are always runs to carry: some that touch two hosts, some that ask before their switch."""
    (waiting,) = arena.ask("SELECT count(*) FROM shardwright.run WHERE state IN ('queued', 'running')")[0]
    hosts = ["a", "b", "c"]
    return [
        arena.create(
            hosts=chance.sample(hosts, chance.choice([1, 2])), pause=chance.random() < 0.1, seconds=chance.random()
        )
        for _ in range(8 - waiting)
    ]


def operate(arena: Arena, chance: random.Random, run: int) -> None:
    """An operator does this or that to a run, if it can be done."""
    acts = [Board.cancel, Board.pause, Board.resume, Board.resume, Board.approve, Board.approve]
    with suppress(errors.NotNow, errors.TooLate):
        arena.act(lambda board: chance.choice(acts)(board, run))


def drain(arena: Arena, runs: Sequence[int]) -> list[str]:
    """All have ended, those that rest after an operator has let them go on; how, each."""

    def is_over() -> bool:
        with arena.board() as board:
            left = [found for run in runs if (found := board.run(run)) and found.state in OPEN]
            for found in left:
                if found.state in RESTING:
                    with suppress(errors.NotNow):
                        (board.approve if found.state == "waiting" else board.resume)(found.id)
        return not left

    until(is_over, seconds=180)
    return [arena.require_ended_well(run) for run in runs]


# --- sleepers, outages, poison ------------------------------------------------------------------


def test_a_worker_that_slept_finds_out_and_stops(make_arena: MakeArena) -> None:
    """Another has taken its run over meanwhile; awake, it changes nothing any more, and takes other runs."""
    arena = make_arena(at_once=1)
    run = arena.create(seconds=1.5)
    sleeper = arena.worker()
    until(lambda: arena.effects(run, "begin") == ["copy"])
    sleeper.send_signal(signal.SIGSTOP)
    arena.worker()
    until(lambda: len(arena.effects(run, "begin")) == 2)
    sleeper.send_signal(signal.SIGCONT)
    until(lambda: f"run {run}: let go" in arena.log(sleeper))
    arena.wait_for(run, "finished")
    assert arena.require_ended_well(run) == "finished"
    assert len({process for (process,) in arena.tell("SELECT DISTINCT process FROM effect WHERE what = 'do'")}) == 1
    assert sleeper.poll() is None


@pytest.mark.faults
@pytest.mark.parametrize("point", ["after Board._lock_queue 1", "after Board._note_arrow 2"])
def test_a_worker_that_sleeps_in_a_transaction_keeps_nobody_waiting(make_arena: MakeArena, point: str) -> None:
    """Not from the queue, and not from its own run; awake, it finds its connection gone, and goes on."""
    arena = make_arena(at_once=1)
    run = arena.create()
    sleeper = arena.worker(stops=point)
    until(lambda: "State:\tT" in Path(f"/proc/{sleeper.pid}/status").read_text())
    other = arena.worker()
    arena.wait_for(run, "finished")
    other.terminate()
    assert other.wait(20) == 0, arena.log(other)
    sleeper.send_signal(signal.SIGCONT)
    after = arena.create()
    arena.wait_for(after, "finished")
    assert [arena.require_ended_well(each) for each in (run, after)] == ["finished"] * 2


@pytest.mark.faults
def test_the_control_database_is_away_for_half_a_minute(make_arena: MakeArena) -> None:
    """What goes on goes on; afterwards nobody is taken over who is alive, and no worker has given up."""
    arena = make_arena()
    runs = [arena.create(seconds=8) for _ in range(4)]
    workers = [arena.worker() for _ in range(2)]
    until(lambda: all(arena.effects(run, "begin") for run in runs))
    kill(arena.cluster)
    time.sleep(30)
    arena.cluster.start()
    for run in runs:
        arena.wait_for(run, "finished", seconds=90)
        arena.require_ended_well(run)
        assert arena.effects(run, "do", "switch") == STEPS
        with arena.board() as board:
            assert "silent" not in str(board.events(run))
    assert [worker.poll() for worker in workers] == [None, None]


@pytest.mark.faults
def test_a_detached_rollout_outlives_its_worker_and_the_control_database(make_arena: MakeArena) -> None:
    """Every shard is migrated once, and the run is finished as if nothing had been."""
    arena = make_arena()
    project = arena.project
    project.revision("r1", AT_GATE + 'op.create_table("a", sa.Column("id", sa.Integer))')
    run = project.fleet().start_migrate(MigrateOptions())
    with project.gate("shard_0") as gate:
        dead = arena.worker()
        gate.reached()
        dead.kill()
        arena.worker()
        until(lambda: arena.run(run).takeovers == 1)
        gate.reached()
        kill(arena.cluster)
    time.sleep(3)
    arena.cluster.start()
    arena.wait_for(run, "finished", "parked")
    recorded, results = project.fleet().run(run)
    assert (recorded.state, recorded.exit_code, recorded.note) == ("finished", 0, None), arena.log(arena.processes[-1])
    assert [result.status.value for result in results] in (["migrated"], ["up_to_date"])
    assert project.versions() == {"shard_0": ["r1"]}


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_a_run_that_kills_its_workers_is_parked_and_resume_gives_it_new_tries(make_arena: MakeArena) -> None:
    """Six are dead then; other runs have gone on."""
    arena = make_arena()
    poison, well = arena.create(POISON, deaths=7), arena.create()
    for _ in range(6):
        assert arena.worker().wait(60) == -signal.SIGKILL
    arena.worker()
    parked = arena.wait_for(poison, "parked")
    assert "6 workers died over it" in (parked.note or "")
    if arena.wait_for(well, "finished", "parked").state == "parked":  # in no worker's life was there time for a step
        arena.act(lambda board: board.resume(well))
        arena.wait_for(well, "finished")
    arena.act(lambda board: board.resume(poison))
    until(lambda: arena.processes[-1].poll() is not None)
    arena.worker()
    arena.wait_for(poison, "finished")


# --- asked to end ------------------------------------------------------------------------------


def test_a_worker_that_is_asked_to_end_hands_its_runs_over(make_arena: MakeArena) -> None:
    """At their next safe point, and at once: nobody waits for its silence."""
    arena = make_arena()
    run = arena.create(seconds=1)
    first = arena.worker()
    until(lambda: arena.effects(run, "begin"))
    first.terminate()
    assert first.wait(20) == 0, arena.log(first)
    found = arena.run(run)
    assert (found.state, found.note, found.takeovers) == ("queued", "its worker ends", 0)
    with arena.board() as board:
        assert board.workers() == []
    arena.worker()
    arena.wait_for(run, "finished")
    assert arena.require_ended_well(run) == "finished"


@pytest.mark.faults
@pytest.mark.parametrize("is_away", [False, True])
def test_a_worker_that_is_asked_twice_waits_for_nothing(make_arena: MakeArena, *, is_away: bool) -> None:
    """Not for the step's safe point, and not for a control database that is away; its runs are taken over."""
    arena = make_arena()
    run = arena.create(seconds=2)
    first = arena.worker()
    until(lambda: arena.effects(run, "begin"))
    if is_away:
        kill(arena.cluster)
    first.send_signal(signal.SIGINT)
    time.sleep(0.2)
    first.send_signal(signal.SIGINT)
    assert first.wait(15) == 0, arena.log(first)
    arena.cluster.start()
    arena.worker()
    arena.wait_for(run, "finished")
    assert arena.require_ended_well(run) == "finished"


# --- in the foreground ------------------------------------------------------------------------


def test_in_the_foreground_a_run_goes_to_its_end(make_arena: MakeArena) -> None:
    """Without any worker; asked to stop it takes the run back."""
    arena = make_arena()
    first, second = arena.create(), arena.create(seconds=20)
    assert arena.worker(run=first).wait(60) == 0
    assert arena.require_ended_well(first) == "finished"
    process = arena.worker(run=second)
    until(lambda: arena.effects(second, "begin"))
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, arena.log(process)
    assert arena.require_ended_well(second) == "cancelled"


@pytest.mark.faults
def test_a_foreground_that_is_killed_leaves_its_run_to_the_workers(make_arena: MakeArena) -> None:
    """And one that waits for a run in their hands can be asked to stop: they take it back."""
    arena = make_arena()
    run = arena.create(seconds=30)
    dead = arena.worker(run=run)
    until(lambda: arena.effects(run, "begin"))
    dead.kill()
    arena.worker()
    until(lambda: len(arena.effects(run, "begin")) == 2)
    waiting = arena.worker(run=run)
    until(lambda: "carries" in arena.log(waiting))
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(60) == 0, arena.log(waiting)
    assert arena.require_ended_well(run) == "cancelled"


# --- limits -----------------------------------------------------------------------------------


@pytest.mark.faults
def test_three_workers_hold_the_limits_exactly(make_arena: MakeArena) -> None:
    """As many runs as there are places, on each host and in all, and never one more."""
    arena = make_arena(at_once=5, per_host=2)
    for _ in range(3):
        arena.worker(at_once=4)
    hosts = [("a",), ("b",), ("c",), ("a", "b"), ("b", "c"), ("a",)]
    runs = {arena.create(hosts=hosts[each % 6], seconds=0.2): hosts[each % 6] for each in range(36)}
    with arena.watched() as broken:
        ends = drain(arena, list(runs))
    assert (broken, set(ends)) == ([], {"finished"})
    spans = arena.tell("SELECT run, min(at), max(at) FROM effect GROUP BY run")
    for host in ("a", "b", "c", None):
        mine = [(begun, ended) for run, begun, ended in spans if host is None or host in runs[run]]
        most = max(sum(other[0] <= begun < other[1] for other in mine) for begun, _ in mine)
        assert most == (arena.places.at_once if host is None else arena.places.per_host), host
