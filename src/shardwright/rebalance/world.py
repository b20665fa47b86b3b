"""The fleet as the planner sees it: tenants with their measured load, shards with their room; frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class TenantLoad:
    """One tenant as last measured.

    `bytes` as they weigh on disk, indexes shared out; `writes` in rows written a second; `custom` is what `[rebalance]
    load_query` says; `labels` has a value for each name in `[rebalance.labels]` that the tenant has one for;
    `is_moving`: a move of it is open, so it is not planned.
    """

    tenant: str
    shard: str
    epoch: int
    rows: int = 0
    bytes: int = 0
    writes: float = 0.0
    custom: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)
    measured_at: datetime | None = None
    is_moving: bool = False


@dataclass(frozen=True, slots=True)
class ShardState:
    """One shard as last measured.

    `bytes` of its whole database; `disk` in bytes is what its *host* has for all its shards, None where nobody said;
    `weight` is how much it is to carry beside the others, where `[rebalance.shares]` does not say; without `takes_new`
    nothing is planned onto it.
    """

    name: str
    host: str
    labels: Mapping[str, str] = field(default_factory=dict)
    bytes: int = 0
    disk: int | None = None
    weight: float = 1.0
    takes_new: bool = True


@dataclass(frozen=True, slots=True)
class World:
    """A shard set at one moment. The order of tenants and shards means nothing; `notes`: what is not known for sure."""

    shard_set: str
    at: datetime
    tenants: tuple[TenantLoad, ...]
    shards: tuple[ShardState, ...]
    notes: tuple[str, ...] = ()
