"""`status`: where every shard's schema stands. Reads only, and needs no control database."""

from __future__ import annotations

from shardwright.config import FleetConfig, Shard
from shardwright.migration.history import History, State
from shardwright.migration.plan import ShardPlan, plan_shard, plan_shards
from shardwright.migration.rollout import script_location
from shardwright.migration.versions import survey
from shardwright.runs.results import RunResult, ShardResult, Status


def status(fleet: FleetConfig, *, target: str = "heads", shards: str | None = None) -> RunResult:
    """Each shard's revision beside `target`: up_to_date, behind (`to` is what it lacks), unknown, or failed.

    Raises NoSuchShard, NoMigrations, HistoryBroken, NoSuchRevision.
    """
    history = History(script_location(fleet))
    resolved = history.resolve(target)
    chosen = fleet.select(shards)
    limit = fleet.config.limits.connections_per_host
    readings = survey(chosen, history.location.version_table, connections_per_host=limit)

    def way(shard: Shard, state: State) -> ShardPlan:
        return plan_shard(history, shard, state, history.upgrade(state, target))

    todo, settled = plan_shards(history, chosen, readings, way)
    behind = [
        ShardResult(each.shard.name, Status.BEHIND, each.before, each.before, hint="shardwright migrate")
        for each in todo
    ]
    results = {result.shard: result for result in (*behind, *settled)}
    return RunResult("status", None, ", ".join(resolved), tuple(results[shard.name] for shard in chosen))
