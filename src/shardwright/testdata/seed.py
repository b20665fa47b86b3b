"""`seed`: the application's seed data on every shard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shardwright import errors
from shardwright.config import Config, FleetConfig
from shardwright.migration.operation import not_tried, operation
from shardwright.runs.events import Listener
from shardwright.runs.fanout import FanOutLimits, Job, JobResult
from shardwright.runs.results import RunResult, ShardResult, Status
from shardwright.runs.stopping import StopRequest


@dataclass(frozen=True)
class SeedOptions:
    """Which shards, and how many at once."""

    shards: str | None = None
    jobs: int | None = None
    verbose: bool = False


def has_seed(config: Config) -> bool:
    """Whether there is anything to seed with: `fleet.seed`, or seeds/*.sql beside the configuration."""
    return config.fleet.seed is not None or bool(_files(config))


def seed_plan(config: Config) -> Mapping[str, Any]:
    """What would be run on each shard: a function, or SQL files in their order. Raises NoSeed."""
    if not has_seed(config):
        raise errors.NoSeed(file=str(config.file))
    function = config.fleet.seed
    return {"function": function, "files": [] if function else _files(config), "project": config.project}


def seed(fleet: FleetConfig, options: SeedOptions, *, stop: StopRequest, on_event: Listener) -> RunResult:
    """Every chosen shard has its seed data, or its result says why not; one that fails does not stop the others.

    Each shard is one transaction. Raises NoSeed, NoSuchShard and what `operation` raises.
    """
    payload = seed_plan(fleet.config)
    shards = fleet.select(options.shards)
    what = payload["function"] or ", ".join(file.name for file in payload["files"])
    with operation(fleet, "seed", stop=stop, on_event=on_event) as op:
        op.begin(target=what, plan={"seed": what}, todo=[not_tried(shard.name, None) for shard in shards], settled=())
        op.fan_out(
            [[Job(shard, "shardwright.testdata.plant:plant", payload) for shard in shards]],
            limits=FanOutLimits.from_config(fleet.config.limits, jobs=options.jobs),
            max_failures=None,
            result_of=_result_of,
            verbose=options.verbose,
        )
        return op.finish()


def _result_of(ended: JobResult) -> ShardResult:
    name = ended.job.shard.name
    if ended.attempts == 0:
        return not_tried(name, None)
    status = Status.SEEDED if ended.succeeded else Status.FAILED
    reply = ended.reply
    return ShardResult(
        name, status, seconds=ended.seconds, attempts=ended.attempts, error=reply.reason, hint=reply.hint
    )


def _files(config: Config) -> list[Any]:
    return sorted((config.project / "seeds").glob("*.sql"))
