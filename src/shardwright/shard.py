"""A shard as a value. Apart from the configuration, so that a worker process need not load what reads that."""

from __future__ import annotations

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
