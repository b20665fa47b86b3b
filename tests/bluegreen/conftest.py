"""Two databases of different shape; fleets that are changed under traffic."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from changes import Changing, MakeChanging
from kit import database_to_be, drop_databases
from shardwright.embedded import Cluster
from two_shapes import TwoShapes


@pytest.fixture
def make_two(make_database: Callable[[], str]) -> Iterator[Callable[..., TwoShapes]]:
    """Makes the two databases by a script each."""
    with ExitStack() as stack:

        def connected(script: str) -> psycopg.Connection[Any]:
            connection = stack.enter_context(psycopg.connect(make_database(), autocommit=True))
            connection.execute(script.encode())
            return connection

        def make(blue: str, green: str, **fields: Any) -> TwoShapes:
            return TwoShapes(connected(blue), connected(green), **fields)

        yield make


@pytest.fixture
def make_changing(
    tmp_path: Path, make_database: Callable[[], str], cluster: Cluster, other_cluster: Cluster
) -> Iterator[MakeChanging]:
    """Makes arenas: the control database and blue on one server, green, which is not made yet, on the second."""
    numbers = itertools.count()
    with ExitStack() as stack:

        def make(blue: int = 2, green: int = 2, *, tenants: int = 4, **fields: Any) -> Changing:
            blues = {f"blue_{number}": make_database() for number in range(blue)}
            greens = {f"green_{number}": database_to_be(other_cluster) for number in range(green)}
            stack.callback(drop_databases, other_cluster, list(greens.values()))
            folder = tmp_path / f"arena-{next(numbers)}"
            folder.mkdir()
            arena = Changing(folder, make_database(), blues, greens, **fields)
            stack.callback(arena.end)
            arena.fill(tenants=tenants)
            return arena

        yield make
