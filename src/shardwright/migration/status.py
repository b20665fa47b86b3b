"""`status`: where every shard's schema stands. Reads only, and does without the control database if it must."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shardwright import errors
from shardwright.catalog.control import read_control
from shardwright.config import FleetConfig
from shardwright.migration.history import History, ScriptLocation, State
from shardwright.migration.plan import ShardPlan, name_those_ahead, plan_shard, plan_shards
from shardwright.migration.versions import Reading, survey
from shardwright.runs.results import RunResult, ShardResult, Status
from shardwright.runs.store import Ledger
from shardwright.shard import Shard


def status(
    fleet: FleetConfig,
    *,
    target: str = "heads",
    shards: str | None = None,
    readings: Mapping[str, Reading] | None = None,
) -> RunResult:
    """Each shard's revision beside `target`: up_to_date, behind, ahead (the ledger knows of whom), unknown, or failed.

    It reads the shards itself unless given `readings` of all it is asked about. Raises NoSuchShard, NoMigrations,
    HistoryBroken, NoSuchRevision.
    """
    history = History(ScriptLocation.from_config(fleet.config))
    resolved = history.resolve(target)
    chosen = fleet.select(shards)
    if readings is None:
        limit = fleet.config.limits.connections_per_host
        readings = survey(chosen, history.location.version_table, connections_per_host=limit)

    def way(shard: Shard, state: State) -> ShardPlan:
        return plan_shard(history, shard, state, history.upgrade(state, target))

    todo, settled = plan_shards(history, chosen, readings, way)
    behind = [
        ShardResult(each.shard.name, Status.BEHIND, each.before, each.before, hint="shardwright migrate")
        for each in todo
    ]
    results = {result.shard: result for result in (*behind, *_name_those_ahead(fleet, settled))}
    return RunResult("status", None, ", ".join(resolved), tuple(results[shard.name] for shard in chosen))


def _name_those_ahead(fleet: FleetConfig, settled: Sequence[ShardResult]) -> Sequence[ShardResult]:
    if all(result.status is not Status.UNKNOWN for result in settled):
        return settled
    try:
        with read_control(fleet.control, application_name="shardwright status") as control:
            return name_those_ahead(Ledger(control, fleet.shard_set), settled) if control else settled
    except errors.ControlError:
        return settled  # they stay unknown
