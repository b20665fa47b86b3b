"""`dev up | down | reset`: the whole fleet on the developer's machine with one command."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from shardwright import errors
from shardwright.config import Config, FleetConfig
from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Layout, LocalFleet, state_directory
from shardwright.embedded.resolve import resolve
from shardwright.migration.rollout import MigrateOptions, migrate
from shardwright.pg import databases
from shardwright.pg.faults import explain
from shardwright.runs.events import Listener
from shardwright.runs.results import WELL, RunResult
from shardwright.runs.stopping import StopRequest
from shardwright.testdata.reset import require_disposable
from shardwright.testdata.seed import SeedOptions, has_seed, seed

DEFAULT_SHARDS = 3
DEFAULT_CLUSTERS = 1


@dataclass(frozen=True)
class UpResult:
    """What `up` made: the fleet, the databases that were new, and the results of migrating and seeding."""

    fleet: FleetConfig
    created: tuple[str, ...]
    migrated: RunResult
    seeded: RunResult | None

    @property
    def exit_code(self) -> int:
        """The worse of the two."""
        return max(self.migrated.exit_code, self.seeded.exit_code if self.seeded else 0)


def up(
    config: Config,
    *,
    shards: int | None = None,
    clusters: int | None = None,
    stop: StopRequest,
    on_event: Listener,
    verbose: bool = False,
) -> UpResult:
    """The fleet is there: clusters running where it is embedded, databases created, migrated, seeded.

    Repeatable; more shards or clusters extend an embedded fleet. Raises NotDisposable for a fleet not marked
    development or test, EmbeddedError, and what `migrate` and `seed` raise.
    """
    require_disposable(config, "dev up")
    fleet = _bring_up(config, shards, clusters)
    created = _create_databases(fleet)
    migrated = migrate(fleet, MigrateOptions(on_failure="continue", verbose=verbose), stop=stop, on_event=on_event)
    well = ",".join(result.shard for result in migrated.results if result.status in WELL)
    seeded = None
    if well and has_seed(config) and not stop.is_asked:
        seeded = seed(fleet, SeedOptions(well, verbose=verbose), stop=stop, on_event=on_event)
    return UpResult(fleet, created, migrated, seeded)


def down(config: Config, *, destroy: bool = False) -> list[str]:
    """The embedded clusters are stopped, with `destroy` gone with their data; their names.

    Raises UsageError for a fleet on the developer's own servers, EmbeddedError.
    """
    if config.fleet.control is not None:
        raise errors.UsageError(
            reason=f"{config.file} has no embedded fleet: the servers are yours",
            help="shardwright reset   empties the shards",
        )
    fleet = LocalFleet.load(state_directory(config.project))
    if fleet is None:
        return []
    fleet.destroy() if destroy else fleet.stop()
    return [cluster.directory.name for cluster in fleet.clusters]


def plan_up(config: Config, *, shards: int | None = None, clusters: int | None = None) -> list[str]:
    """What `up` would do, in words; starts and changes nothing. Raises what `up` raises before it begins."""
    require_disposable(config, "dev up")
    if config.fleet.control is not None:
        lines = [f"create if missing: {shard.name} ({shard.url.redacted})" for shard in config.shards]
    else:
        layout = _wanted_layout(config, shards, clusters)
        lines = [f"start {name} with {_shards_on(layout, name)}" for name in layout.clusters]
    lines.append(f"migrate to head of {config.migrations}")
    return lines + (["seed"] if has_seed(config) else [])


def _shards_on(layout: Layout, cluster: str) -> str:
    return ", ".join(shard for shard, place in layout.shards.items() if place == cluster) or "no shard"


def _wanted_layout(config: Config, shards: int | None, clusters: int | None) -> Layout:
    present = LocalFleet.load(state_directory(config.project))
    layout = present.layout if present else Layout()
    return layout.extended(
        shards=shards or len(layout.shards) or DEFAULT_SHARDS,
        clusters=clusters or len(layout.clusters) or DEFAULT_CLUSTERS,
    )


def _bring_up(config: Config, shards: int | None, clusters: int | None) -> FleetConfig:
    if config.fleet.control is None:
        wanted = _wanted_layout(config, shards, clusters)
        state = state_directory(config.project)
        LocalFleet.create(state, shards=len(wanted.shards), clusters=len(wanted.clusters)).start()
    elif shards or clusters:
        raise errors.UsageError(
            reason=f"--shards and --clusters are for embedded fleets; {config.file} names the shards itself",
            help="shardwright shards add NAME URL",
        )
    return resolve(config)


def _create_databases(fleet: FleetConfig) -> tuple[str, ...]:
    """Every database is there; the names of those that were not. A shard out of reach is left to `migrate`."""
    name = "shardwright dev up"
    try:
        created = ["control"] if databases.create_if_missing(fleet.control, application_name=name) else []
    except psycopg.Error as error:
        raise errors.ControlUnavailable(url=fleet.control.redacted, reason=explain(error).reason) from error
    created += [shard.name for shard in fleet.shards if _create(shard.url, name)]
    return tuple(created)


def _create(url: DatabaseUrl, application_name: str) -> bool:
    try:
        return databases.create_if_missing(url, application_name=application_name)
    except psycopg.Error:
        return False
