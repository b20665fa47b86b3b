"""Real PostgreSQL for every test: one cluster a session, databases of each test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kit import MakeProject, Project, create_database, drop_database
from shardwright.embedded import Cluster, temporary_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server that lives as long as the tests."""
    with temporary_cluster() as running:
        yield running


@pytest.fixture(scope="session")
def other_cluster() -> Iterator[Cluster]:
    """A second server, for tests that need two hosts or take one down."""
    with temporary_cluster() as running:
        yield running


@pytest.fixture
def make_database(cluster: Cluster) -> Iterator[Callable[[], str]]:
    """Makes fresh, empty databases; they are gone after the test."""
    made: list[str] = []

    def make() -> str:
        made.append(create_database(cluster))
        return made[-1]

    yield make
    for url in made:
        drop_database(cluster, url)


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
