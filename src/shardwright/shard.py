"""A shard as a value. Apart from the configuration, so that a worker process need not load what reads that."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from shardwright.dsn import DatabaseUrl


@dataclass(frozen=True)
class Shard:
    """One PostgreSQL database that holds many tenants."""

    name: str
    url: DatabaseUrl
    labels: Mapping[str, str]

    @property
    def host(self) -> str:
        """The server it lives on, `address:port`; connection budgets are counted per host."""
        return self.url.address


def as_people_count(name: str) -> list[int | str]:
    """A key to sort names by: shard_2 before shard_10."""
    parts = re.split("([0-9]+)", name)  # every second one is a number
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]
