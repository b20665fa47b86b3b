"""A fleet made by the kit, on the tests' own server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shardwright.embedded import Cluster
from shardwright.testing import TestFleet
from small_project import write_project


@pytest.fixture(scope="session")
def made(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestFleet]:
    with TestFleet(write_project(tmp_path_factory.mktemp("app")), servers=[cluster.url("postgres")]) as fleet:
        yield fleet


@pytest.fixture
def kit(made: TestFleet) -> Iterator[TestFleet]:
    """Clean before and after."""
    made.clean_all()
    yield made
    made.clean_all()
