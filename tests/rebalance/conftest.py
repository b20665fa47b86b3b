"""Fleets that are to be rebalanced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from rebalances import Estate, MakeEstate

SKEWED = {"shard_0": (300, 200, 150, 100), "shard_1": (100,)}


@pytest.fixture
def make_estate(tmp_path: Path, make_database: Callable[[], str]) -> Iterator[MakeEstate]:
    """Makes fleets of three shards on one server, the third without a tenant."""
    made: list[Estate] = []

    def make(sizes: Mapping[str, Sequence[int]] = SKEWED, *, shards: int = 3, more: str = "", **limits: Any) -> Estate:
        urls = {f"shard_{number}": make_database() for number in range(shards)}
        estate = Estate(tmp_path, make_database(), urls, **limits)
        made.append(estate)
        estate.fill(sizes, more=more)
        return estate

    yield make
    for estate in made:
        estate.end()
