"""What start() and stop() find after something was killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from shardwright.embedded import Cluster, processes
from shardwright.embedded.account import server_account
from shardwright.errors import ClusterNotStopped

MakeCluster = Callable[..., Cluster]
Python = Callable[..., "subprocess.Popen[str]"]
Query = Callable[[Cluster, str], object]
Observe = Callable[[Cluster], Callable[[], list[str]]]
Eventually = Callable[[Callable[[], object]], None]

_BUSY = "DO $$ BEGIN LOOP END LOOP; END $$"  # looks at no interrupt of a dead postmaster
_START = """
import sys
from pathlib import Path
from shardwright.embedded import Cluster
cluster = Cluster(Path(sys.argv[1]))
print("here", flush=True)
sys.stdin.readline()
cluster.start()
print(cluster.pid, cluster.is_running(), flush=True)
"""


class Load:
    """A writer that notes each acknowledged commit, and a session that is busy for ever."""

    def __init__(self, url: str) -> None:
        self.acknowledged: list[int] = []
        self.enough = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(url,)),
            threading.Thread(target=self._spin, args=(url,)),
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        for thread in self._threads:
            thread.join()

    def _write(self, url: str) -> None:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE written (number int)")
            while True:
                connection.execute("INSERT INTO written VALUES (%s)", [len(self.acknowledged)])
                self.acknowledged.append(len(self.acknowledged))
                if len(self.acknowledged) == 200:
                    self.enough.set()

    def _spin(self, url: str) -> None:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_BUSY)


def signal_server(cluster: Cluster, number: signal.Signals) -> int:
    """The postmaster's pid, after it got the signal."""
    pid = cluster.pid
    assert pid
    os.kill(pid, number)
    return pid


def test_kill_9_of_the_postmaster_under_load_loses_no_commit(
    running: Cluster, server_processes: Callable[[Path], list[str]], query: Query, eventually: Eventually
) -> None:
    """start() works at once though busy orphans hold the shared memory, and every acknowledged commit is there."""
    busy = "SELECT count(*) FROM pg_stat_activity WHERE query ^@ 'DO' AND state = 'active'"
    with Load(running.url("postgres")) as load:
        assert load.enough.wait(30)
        eventually(lambda: query(running, busy))
        dead = signal_server(running, signal.SIGKILL)
        eventually(lambda: str(dead) not in server_processes(running.directory))
        assert server_processes(running.directory)
        assert not running.is_running()
        running.start()
    assert running.pid != dead
    with psycopg.connect(running.url("postgres")) as connection:
        there = {row[0] for row in connection.execute("SELECT number FROM written")}
    assert set(load.acknowledged) <= there


def test_stop_ends_the_orphans_of_a_dead_postmaster(running: Cluster, remains: Observe) -> None:
    """stop() after kill -9 leaves no process, no socket and no shared memory either."""
    look = remains(running)
    with Load(running.url("postgres")) as load:
        assert load.enough.wait(30)
        signal_server(running, signal.SIGKILL)
        running.stop()
    assert look() == []


def test_a_server_that_does_not_answer_is_killed(running: Cluster, remains: Observe) -> None:
    """A postmaster that hears no signal gets the one it cannot ignore; nothing of it is left."""
    look = remains(running)
    signal_server(running, signal.SIGSTOP)
    running.stop(patience=0.3)
    assert look() == []


def test_start_waits_for_a_server_that_is_going_down(
    running: Cluster, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that turns new clients away is neither taken for one that runs nor killed under its old ones."""
    ask, asked = running.is_running, []

    def noted() -> bool:
        asked.append(ask())
        return asked[-1]

    monkeypatch.setattr(running, "is_running", noted)
    starter = threading.Thread(target=running.start)
    with psycopg.connect(running.url("postgres")) as client:
        old = signal_server(running, signal.SIGTERM)  # waits for its clients to leave
        eventually(lambda: not ask())
        starter.start()
        eventually(lambda: len(asked) > 3)
        assert client.execute("SELECT 1").fetchone() == (1,)
        assert running.pid == old
    starter.join()
    assert running.is_running()
    assert running.pid != old


def test_start_waits_for_a_server_that_another_started(running: Cluster, query: Query) -> None:
    """A server in recovery, whose starter is gone, is waited for and not started twice."""
    query(running, "CREATE TABLE filled AS SELECT generate_series(1, 300000)")
    signal_server(running, signal.SIGKILL)
    starters = [threading.Thread(target=Cluster(running.directory).start) for _ in range(3)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    assert query(running, "SELECT count(*) FROM filled") == 300000


def test_without_proc_processes_are_found_as_well(
    running: Cluster, remains: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no /proc (macOS), `ps` tells the same: orphans end, nothing is left."""
    if not shutil.which("ps"):
        pytest.skip("ps is not installed")
    monkeypatch.setattr(processes, "_titles_from_proc", processes._titles_from_ps)
    look = remains(running)
    with Load(running.url("postgres")) as load:
        assert load.enough.wait(30)
        signal_server(running, signal.SIGKILL)
        running.start()
    running.stop()
    assert look() == []


def test_a_server_that_cannot_be_seen_is_not_cleared_away(running: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that answers though no process is found (another container's) keeps its socket."""
    with monkeypatch.context() as blind:
        blind.setattr(processes, "_titles_from_proc", lambda _: [])
        with pytest.raises(ClusterNotStopped, match="it answers, but its processes cannot be seen"):
            running.stop()
        running.start()
    assert running.is_running()
    assert running.pid


@pytest.fixture
def stranger() -> Iterator[int]:
    """The pid of a process of the server's account that has nothing to do with PostgreSQL."""
    account = server_account()
    process = subprocess.Popen(["/bin/sleep", "600"], user=account.uid if account.switched else None)
    yield process.pid
    innocent = process.poll() is None
    process.kill()
    process.wait()
    assert innocent, "the process of a stranger was killed"


def plant(path: Path, text: str) -> None:
    """A file as the server would have written it."""
    account = server_account()
    path.write_text(text)
    path.chmod(0o600)
    os.chown(path, account.uid, account.gid)


@pytest.mark.parametrize("first", [Cluster.start, Cluster.stop])
def test_a_pid_file_whose_number_is_in_use_again(
    first: Callable[[Cluster], None], running: Cluster, stranger: int, query: Query
) -> None:
    """After a reboot the number may be anybody's: it hinders nothing, and that process is left alone."""
    pid_file = running.directory / "pgdata/postmaster.pid"
    stale = pid_file.read_text().replace(str(running.pid), str(stranger))
    running.stop()
    plant(pid_file, stale)
    running.socket_directory.mkdir(mode=0o700)
    os.chown(running.socket_directory, server_account().uid, server_account().gid)
    plant(running.socket_directory / ".s.PGSQL.5432.lock", "\n".join(stale.splitlines()[:5]))
    assert running.pid is None
    first(running)
    running.start()
    assert query(running, "SELECT 1") == 1


@pytest.mark.parametrize("content", ["", "garbage\n", "999999999\n/nowhere\n", "1\n2\n3\n4\n5\n6\nseven\n"])
def test_a_broken_pid_file(stopped: MakeCluster, content: str) -> None:
    """Whatever stands in it, it does not hinder a start."""
    cluster = stopped()
    plant(cluster.directory / "pgdata/postmaster.pid", content)
    cluster.start()
    assert cluster.is_running()


def test_two_starts_at_once_make_one_server(make_cluster: MakeCluster, python: Python) -> None:
    """Two processes that start a new cluster in the same moment both have it, and it is the same server."""
    cluster = make_cluster()
    starters = [python(_START, cluster.directory) for _ in range(2)]
    for starter in starters:
        assert starter.stdout
        assert starter.stdout.readline() == "here\n"
    for starter in starters:
        assert starter.stdin
        starter.stdin.write("\n")
        starter.stdin.flush()
    said = [starter.communicate()[0] for starter in starters]
    assert said == [f"{cluster.pid} True\n"] * 2
