"""Real clusters in a folder that the server's account can reach, and a look at what they leave behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from shardwright.embedded import Binaries, Cluster, find_binaries
from shardwright.embedded.account import server_account

MakeCluster = Callable[..., Cluster]
Eventually = Callable[[Callable[[], object]], None]
RunPython = Callable[..., "subprocess.Popen[str]"]
Remains = Callable[[], list[str]]


def _folder() -> Path:
    """A short, empty folder; not pytest's, which is closed to the account that runs root's servers."""
    memory = Path("/dev/shm")  # noqa: S108 - three times as fast, where there is room for some clusters
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2 << 30
    folder = Path(tempfile.mkdtemp(prefix="sw-", dir=memory if roomy else None)).resolve()
    folder.chmod(0o755)
    return folder


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty folder for clusters."""
    folder = _folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def pristine() -> Iterator[Path]:
    """The directory of a stopped cluster that nobody has used: a copy costs less than initdb."""
    folder = _folder()
    cluster = Cluster(folder / "pristine")
    cluster.start()
    cluster.stop()
    yield cluster.directory
    shutil.rmtree(folder)


@pytest.fixture
def make_cluster(home: Path) -> Iterator[MakeCluster]:
    """Names clusters (`main`) under `home`, nothing being there yet; destroyed after the test."""
    with contextlib.ExitStack() as after:

        def make(
            name: str = "main", settings: dict[str, str] | None = None, binaries: Binaries | None = None
        ) -> Cluster:
            cluster = Cluster(home / name, settings=settings or {}, binaries=binaries)
            after.callback(cluster.destroy)
            return cluster

        yield make


@pytest.fixture
def stopped(make_cluster: MakeCluster, pristine: Path) -> MakeCluster:
    """Makes clusters (named `main`) that were made and stopped before."""

    def make(name: str = "main", settings: dict[str, str] | None = None) -> Cluster:
        cluster = make_cluster(name, settings)
        subprocess.run(["/bin/cp", "-a", pristine, cluster.directory], check=True)
        return cluster

    return make


@pytest.fixture
def running(stopped: MakeCluster) -> Cluster:
    """A cluster that runs."""
    cluster = stopped()
    cluster.start()
    return cluster


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    """Waits until a condition holds; fails the test when it does not within 20 s."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "it never came about"
            time.sleep(0.01)

    return wait


@pytest.fixture(scope="session")
def query() -> Callable[[Cluster, str], object]:
    """The first value of a statement's answer, if it has one."""

    def ask(cluster: Cluster, statement: str) -> object:
        with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
            answer = connection.execute(statement.encode())
            row = answer.fetchone() if answer.description else None
            return row[0] if row else None

    return ask


@pytest.fixture
def python() -> Iterator[RunPython]:
    """Starts Python on a script with our import path; its output is a pipe. Killed after the test."""
    started: list[subprocess.Popen[str]] = []

    def run(script: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", script, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def remains() -> Callable[[Cluster], Remains]:
    """Called on a running cluster: a question for later, what of it is still there."""

    def observe(cluster: Cluster) -> Remains:
        pid_file = (cluster.directory / "pgdata/postmaster.pid").read_text().splitlines()
        maps = Path(f"/proc/{pid_file[0]}/maps").read_text().splitlines()
        files = {line.split()[-1] for line in maps if "/PostgreSQL." in line}
        segment = pid_file[6].split()[1]
        assert segment in _segments()

        def look() -> list[str]:
            found = [f"process {pid}" for pid in _processes_in(cluster.directory)]
            found += [f"file {path}" for path in files if Path(path).exists()]
            found += [f"segment {segment}"] if segment in _segments() else []
            found += ["socket directory"] if cluster.socket_directory.exists() else []
            return found

        return look

    return observe


def _segments() -> list[str]:
    return [line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]


def _processes_in(directory: Path) -> list[str]:
    """By their working directory: not the way the room itself looks for them."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "cwd").readlink().is_relative_to(directory):
                found.append(entry.name)
    return found


@pytest.fixture
def server_processes() -> Callable[[Path], list[str]]:
    """The processes that work in a directory."""
    return _processes_in


@pytest.fixture(scope="session")
def debian_15() -> Binaries:
    """An installed PostgreSQL 15."""
    folder = Path("/usr/lib/postgresql/15/bin")
    if not (folder / "postgres").exists():
        pytest.skip("PostgreSQL 15 is not installed here (Debian: postgresql-15)")
    return find_binaries(folder)


@pytest.fixture(scope="session")
def as_root() -> None:
    """Only for root: the servers run under another account then."""
    if not server_account().switched:
        pytest.skip("only root's servers run under another account")
