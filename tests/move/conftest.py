"""Two servers with a tenant that can be moved from the one to the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moves import Arena, MakeArena


@pytest.fixture
def make_arena(
    tmp_path: Path, make_database: Callable[[], str], make_frail_database: Callable[[], str]
) -> Iterator[MakeArena]:
    """Makes arenas: the control database and the tenant's shard on one server, the other shard on the second."""
    made: list[Arena] = []

    def make(*, rows: int = 300, schema: str = "", **limits: Any) -> Arena:
        shards = {"home": make_database(), "there": make_frail_database()}
        arena = Arena(tmp_path, make_database(), shards, **limits)
        made.append(arena)
        arena.fill(rows=rows, more=schema)
        return arena

    yield make
    for arena in made:
        arena.end()
