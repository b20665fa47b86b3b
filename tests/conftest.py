"""Real PostgreSQL for every test: one cluster a session, databases of each test's own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kit import SECRET, MakeProject, Project, create_database, drop_databases
from nursery import Nursery, popen_of
from shardwright.embedded import Cluster, destroy_all
from shardwright.testing.places import cluster_in_memory


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--new-interpreters", action="store_true", help="no process is a copy of one (tests/nursery.py)")


@pytest.fixture(scope="session")
def nursery(pytestconfig: pytest.Config) -> Iterator[Nursery | None]:
    """What processes are copies of; None where each is a new interpreter."""
    if pytestconfig.getoption("--new-interpreters") or sys.platform != "linux":
        yield None
        return
    nursery = Nursery()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", popen_of(nursery))
        yield nursery
    nursery.close()


@pytest.fixture(autouse=True)
def _processes(request: pytest.FixtureRequest, nursery: Nursery | None) -> Iterator[None]:
    """Copies, but where a test is about new interpreters."""
    if nursery is None:
        yield
        return
    nursery.is_open = request.node.get_closest_marker("new_interpreter") is None
    yield


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server that lives as long as the tests."""
    with cluster_in_memory() as running:
        yield running


@pytest.fixture(scope="session")
def other_cluster() -> Iterator[Cluster]:
    """A second server, for tests that need two hosts or take one down."""
    with cluster_in_memory() as running:
        yield running


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where embedded fleets live during a test; not pytest's folder, which is closed to root's server account."""
    folder = Path(tempfile.mkdtemp(prefix="sw-")).resolve()
    folder.chmod(0o755)
    monkeypatch.setenv("SHARDWRIGHT_STATE", str(folder))
    yield folder
    destroy_all(Cluster(data.parent) for data in folder.glob("*/*/pgdata"))
    shutil.rmtree(folder)


@pytest.fixture
def dead_url() -> Iterator[str]:
    """The URL of a database on a port where nothing listens, with a password."""
    with socket.socket() as taken:  # bound and never listening, so that nobody else comes to listen there
        taken.bind(("127.0.0.1", 0))
        yield f"postgresql://app:{SECRET}@127.0.0.1:{taken.getsockname()[1]}/app"


@pytest.fixture
def make_database(cluster: Cluster) -> Iterator[Callable[[], str]]:
    """Makes fresh, empty databases; they are gone after the test."""
    made: list[str] = []

    def make() -> str:
        made.append(create_database(cluster))
        return made[-1]

    yield make
    if made:
        drop_databases(cluster, made)


@pytest.fixture
def database_url(make_database: Callable[[], str]) -> str:
    """One fresh, empty database."""
    return make_database()


@pytest.fixture
def make_project(tmp_path: Path, make_database: Callable[[], str]) -> MakeProject:
    """Makes a project whose fleet has as many shards as asked for, each an empty database."""

    def make(shards: int = 3, **fields: Any) -> Project:
        urls = {f"shard_{number}": make_database() for number in range(shards)}
        project = Project(tmp_path, make_database(), urls, **fields)
        project.write()
        return project

    return make


@pytest.fixture
def make_frail_database(other_cluster: Cluster) -> Iterator[Callable[[], str]]:
    """Makes databases on the second server, which a test may take down; it runs again afterwards."""
    made: list[str] = []

    def make() -> str:
        made.append(create_database(other_cluster))
        return made[-1]

    yield make
    other_cluster.start()
    drop_databases(other_cluster, made)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many revisions of each public history were rendered and how many ran online, one line each."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "history":
                terminalreporter.write_line(f"history {value}")
