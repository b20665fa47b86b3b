"""`dev up | down | reset`: the whole fleet on the developer's machine with one command."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

import psycopg

from shardwright import errors
from shardwright.catalog.control import unavailable
from shardwright.catalog.tenants import Moving, Sync
from shardwright.config import Config, FleetConfig
from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster, Layout, LocalFleet, destroy_all, state_directory, stop_all
from shardwright.embedded.resolve import control_cluster, make_control, resolve
from shardwright.migration.history import History, ScriptLocation
from shardwright.migration.rollout import MigrateOptions, migrate
from shardwright.pg import databases
from shardwright.pg.connect import connect
from shardwright.pg.faults import explain
from shardwright.runs.events import Listener, ShardFinished
from shardwright.runs.results import WELL, RunResult, ShardResult, Status
from shardwright.runs.stopping import StopRequest
from shardwright.testdata.directory import take_in
from shardwright.testdata.reset import require_disposable
from shardwright.testdata.seed import SeedOptions, has_seed, seed

DEFAULT_SHARDS = 3
DEFAULT_CLUSTERS = 1
_NAME = "shardwright dev up"


@dataclass(frozen=True)
class UpResult:
    """What `up` made: the fleet, the databases that were new, the results of migrating and seeding, the directory."""

    fleet: FleetConfig
    created: tuple[str, ...]
    migrated: RunResult
    seeded: RunResult | None
    directory: Sync | None = None

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
    changed_by: str,
    moving: Moving,
    verbose: bool = False,
) -> UpResult:
    """The fleet is there: clusters running where it is embedded, databases created, migrated, seeded, tenants known.

    Repeatable; more shards or clusters extend an embedded fleet. Raises NotDisposable for a fleet not marked
    development or test, EmbeddedError, and what `migrate` and `seed` raise.
    """
    require_disposable(config, "dev up")
    _require_history(config)
    fleet, created = _bring_up(config, shards, clusters)
    made, failed = _create_databases(fleet)
    for result in failed.values():
        on_event(ShardFinished(result))
    ready = [shard.name for shard in fleet.shards if shard.name not in failed]
    migrated = _migrate(fleet, ready, failed, verbose=verbose, stop=stop, on_event=on_event)
    well = ",".join(result.shard for result in migrated.results if result.status in WELL)
    seeded = None
    if well and has_seed(config) and not stop.is_asked:
        seeded = seed(fleet, SeedOptions(well, verbose=verbose), stop=stop, on_event=on_event)
    done = UpResult(fleet, (*created, *made), migrated, seeded)
    if done.exit_code:
        return done
    return replace(done, directory=take_in(fleet, changed_by=changed_by, moving=moving))


def down(config: Config, *, destroy: bool = False) -> list[str]:
    """The embedded clusters are stopped, with `destroy` gone with their data; the names of those there were.

    Raises UsageError for a fleet on the developer's own servers, NotDisposable with `destroy` for a fleet not marked
    development or test, EmbeddedError.
    """
    clusters = embedded_clusters(config, destroy=destroy)
    state = state_directory(config.project)
    fleet = LocalFleet.load(state)
    if fleet is not None:
        fleet.destroy() if destroy else fleet.stop()
    elif clusters:
        (destroy_all if destroy else stop_all)(clusters)
        with contextlib.suppress(OSError):  # files of somebody else
            state.rmdir() if destroy else None
    return [cluster.directory.name for cluster in clusters]


def embedded_clusters(config: Config, *, destroy: bool = False) -> list[Cluster]:
    """The clusters that `down` would stop; changes nothing. Raises what `down` raises before it begins."""
    if config.fleet.control is not None:
        raise errors.UsageError(
            reason=f"{config.file} has no embedded fleet: the servers are yours",
            help="shardwright reset   empties the shards",
        )
    if destroy:
        require_disposable(config, "dev down --destroy")
    fleet = LocalFleet.load(state_directory(config.project))
    if fleet is not None:
        return fleet.clusters
    control = control_cluster(config)
    return [control] if control is not None and control.directory.exists() else []


def plan_up(config: Config, *, shards: int | None = None, clusters: int | None = None) -> list[str]:
    """What `up` would do, in words; starts and changes nothing. Raises what `up` raises before it begins."""
    require_disposable(config, "dev up")
    _require_history(config)
    if config.is_embedded:
        layout = _wanted_layout(config, shards, clusters)
        lines = [f"start {name} with {_shards_on(layout, name)}" for name in layout.clusters]
    else:
        _refuse_numbers(config, shards, clusters)
        control = config.fleet.control
        lines = [f"create if missing: control ({control.redacted if control else 'embedded'})"]
        lines += [f"create if missing: {shard.name} ({shard.url.redacted})" for shard in config.shards]
    lines.append(f"migrate to head of {config.migrations}")
    lines += ["seed"] if has_seed(config) else []
    return lines + (["take the tenants into the directory"] if config.tenants else [])


def _require_history(config: Config) -> None:
    """Raises HistoryError before the first server is started."""
    History(ScriptLocation.from_config(config))


def _shards_on(layout: Layout, cluster: str) -> str:
    return ", ".join(shard for shard, place in layout.shards.items() if place == cluster) or "no shard"


def _wanted_layout(config: Config, shards: int | None, clusters: int | None) -> Layout:
    present = LocalFleet.load(state_directory(config.project))
    layout = present.layout if present else Layout()
    return layout.extended(
        shards=shards or len(layout.shards) or DEFAULT_SHARDS,
        clusters=clusters or len(layout.clusters) or DEFAULT_CLUSTERS,
    )


def _bring_up(config: Config, shards: int | None, clusters: int | None) -> tuple[FleetConfig, list[str]]:
    """The fleet, its clusters running; and what was made of it beside the databases that `up` makes."""
    if not config.is_embedded:
        _refuse_numbers(config, shards, clusters)
        made = ["control"] if make_control(config) else []
        return resolve(config), made
    wanted = _wanted_layout(config, shards, clusters)
    state = state_directory(config.project)
    LocalFleet.create(state, shards=len(wanted.shards), clusters=len(wanted.clusters)).start()
    return resolve(config), []


def _refuse_numbers(config: Config, shards: int | None, clusters: int | None) -> None:
    if shards or clusters:
        raise errors.UsageError(
            reason=f"--shards and --clusters are for embedded fleets; {config.file} names the shards itself",
            help="shardwright shards add NAME URL",
        )


def _create_databases(fleet: FleetConfig) -> tuple[list[str], dict[str, ShardResult]]:
    """Every database is there that can be; the names of those that were not, and results of those that are not."""
    try:
        made = ["control"] if databases.create_if_missing(fleet.control, application_name=_NAME) else []
    except psycopg.Error as error:
        if not _is_there(fleet.control):
            raise unavailable(fleet.control, error) from error
        made = []
    failed: dict[str, ShardResult] = {}
    for shard in fleet.shards:
        try:
            made += [shard.name] if databases.create_if_missing(shard.url, application_name=_NAME) else []
        except psycopg.Error as error:
            if not _is_there(shard.url):
                fault = explain(error)
                reason = f"its database can't be created: {fault.reason}"
                hint = fault.hint or "shardwright shards check"
                failed[shard.name] = ShardResult(shard.name, Status.FAILED, error=reason, hint=hint)
    return made, failed


def _is_there(url: DatabaseUrl) -> bool:
    """For roles that may use the database and not the server's maintenance database."""
    try:
        connect(url, application_name=_NAME).close()
    except psycopg.Error:
        return False
    return True


def _migrate(
    fleet: FleetConfig,
    ready: list[str],
    failed: dict[str, ShardResult],
    *,
    verbose: bool,
    stop: StopRequest,
    on_event: Listener,
) -> RunResult:
    """The result of migrating those that are ready, and with it those that are not."""
    if not fleet.shards:
        raise errors.NoShards(file=str(fleet.config.file))
    if not ready:
        return RunResult("migrate", None, None, tuple(failed.values()))
    options = MigrateOptions(shards=",".join(ready), on_failure="continue", verbose=verbose)
    result = migrate(fleet, options, stop=stop, on_event=on_event)
    return replace(result, results=(*result.results, *failed.values()))
