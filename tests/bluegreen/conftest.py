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

        def make(blue: str, green: str, **fields: Any) -> TwoShapes:
            sides = [stack.enter_context(psycopg.connect(make_database(), autocommit=True)) for _ in range(2)]
            for side, script in zip(sides, (blue, green), strict=True):
                side.execute(script.encode())
            return TwoShapes(*sides, **fields)

        yield make
