"""Two databases of different shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

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
