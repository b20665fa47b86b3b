"""Blue-green changes as the rooms below need to know of them: what is open, and how far each lane is behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from shardwright import errors
from shardwright.catalog import placement
from shardwright.config import FleetConfig
from shardwright.pg.queries import load

SINCE = 8  # the file of the control schema that made these tables; whoever only reads them needs no newer one
_queries = load(__package__, "changes.sql")


@dataclass(frozen=True)
class Change:
    """A change as it stands: its run, its phase."""

    run: int
    phase: str

    @property
    def is_built(self) -> bool:
        """Whether green has every tenant's rows, and is kept in step with blue, or has taken over."""
        return self.phase in ("in_step", "switched")

    @property
    def is_open(self) -> bool:
        """Whether it is not at its end."""
        return self.phase not in ("done", "undone")


@dataclass(frozen=True)
class Lane:
    """The way from a blue shard to a green one: seconds `behind`, as it was `told` that many seconds ago."""

    blue: str
    green: str
    behind: float | None
    told: float


@dataclass(frozen=True)
class Part:
    """One tenant's part in a change: from which shard to which, and whether it was switched."""

    blue: str
    green: str
    at_green: bool


def newest_change(connection: psycopg.Connection[Any], shard_set: str) -> Change | None:
    """The set's last change, open or not."""
    row = connection.execute(_queries["newest_change"], {"shard_set": shard_set}).fetchone()
    return Change(*row) if row else None


def open_change(connection: psycopg.Connection[Any], shard_set: str) -> int | None:
    """The run of the set's change that is not at its end."""
    change = newest_change(connection, shard_set)
    return change.run if change and change.is_open else None


def require_none_open(connection: psycopg.Connection[Any], shard_set: str, action: str) -> None:
    """Raises ChangeUnderWay where the set has an open change."""
    if (run := open_change(connection, shard_set)) is not None:
        raise errors.ChangeUnderWay(action=action, run=run)


def require_written_down(connection: psycopg.Connection[Any], fleet: FleetConfig) -> None:
    """Raises GreenIsTheFleet where a change is done, and what it made the fleet stands in the file as green still.

    To go on with the old shards would be to change what nobody uses any more, and to clean away what is used.
    """
    change = newest_change(connection, fleet.shard_set) if fleet.green else None
    if change is None or change.phase != "done":
        return
    loads = placement.loads(connection, fleet.shard_set)
    if names := [shard.name for shard in fleet.green if shard.name in loads]:
        raise errors.GreenIsTheFleet(run=change.run, shards=", ".join(names), file=str(fleet.config.file))


def lanes(connection: psycopg.Connection[Any], run: int) -> list[Lane]:
    """Every lane of the change of which anything was told."""
    return [Lane(*row) for row in connection.execute(_queries["lanes"], {"run": run})]


def part_of(connection: psycopg.Connection[Any], run: int, tenant: str) -> Part | None:
    """The tenant's part in that change; None where it has none yet."""
    row = connection.execute(_queries["part_of"], {"run": run, "tenant": tenant}).fetchone()
    return Part(*row) if row else None


def tenants_under_way(connection: psycopg.Connection[Any], shard_set: str) -> set[str]:
    """The tenants that the set's open change takes along: rightly on two shards."""
    run = open_change(connection, shard_set)
    return {row[0] for row in connection.execute(_queries["tenants_in"], {"run": run})}
