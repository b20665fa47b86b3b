"""`reset`: every shard's database dropped, created, migrated and, if wanted, seeded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg

from shardwright import errors
from shardwright.config import Config, FleetConfig, Shard
from shardwright.migration.operation import not_tried, operation
from shardwright.migration.rollout import MigrateOptions, migrate
from shardwright.pg import databases
from shardwright.pg.faults import explain
from shardwright.runs.events import Listener
from shardwright.runs.results import WELL, RunResult, ShardResult, Status
from shardwright.runs.stopping import StopRequest
from shardwright.testdata.seed import SeedOptions, seed

_AT_ONCE = 4


@dataclass(frozen=True)
class ResetOptions:
    """Which shards, whether to seed them afterwards, and whether to override the environment's guard."""

    shards: str | None = None
    seed: bool = False
    force: bool = False
    jobs: int | None = None
    verbose: bool = False


def require_disposable(config: Config, action: str, *, force: bool = False) -> None:
    """Raises NotDisposable where `environment` is not development or test, unless forced."""
    if not config.is_disposable and not force:
        raise errors.NotDisposable(action=action, environment=config.fleet.environment)


def reset(fleet: FleetConfig, options: ResetOptions, *, stop: StopRequest, on_event: Listener) -> RunResult:
    """Every chosen shard is new, at the head, and seeded if wanted; all its data are gone.

    Raises NotDisposable, NoSuchShard and what `migrate` and `seed` raise.
    """
    require_disposable(fleet.config, "reset", force=options.force)
    shards = fleet.select(options.shards)
    recreated = _recreate(fleet, shards, stop=stop, on_event=on_event)
    results = {result.shard: result for result in recreated.results}
    todo = ",".join(result.shard for result in recreated.results if result.status is Status.RESET)
    last = recreated
    if todo and not stop.is_asked:
        how = MigrateOptions(shards=todo, jobs=options.jobs, on_failure="continue", verbose=options.verbose)
        last = migrate(fleet, how, stop=stop, on_event=on_event)
        _merge(results, last)
        todo = ",".join(result.shard for result in last.results if result.status in WELL)
    if todo and options.seed and not stop.is_asked:
        last = seed(fleet, SeedOptions(todo, options.jobs, options.verbose), stop=stop, on_event=on_event)
        _merge(results, last)
    return RunResult("reset", last.run, last.target, tuple(results.values()), last.stopped, signal=stop.signal)


def _merge(results: dict[str, ShardResult], later: RunResult) -> None:
    """A shard keeps `reset` as long as all goes well; the first thing that does not is its result."""
    for result in later.results:
        well = result.status in WELL
        before, status = results[result.shard], Status.RESET if well else result.status
        results[result.shard] = result.with_note(
            status=status,
            before=before.before,
            after=result.after if result.after is not None else before.after,
            seconds=before.seconds + result.seconds,
        )


def _recreate(fleet: FleetConfig, shards: Sequence[Shard], *, stop: StopRequest, on_event: Listener) -> RunResult:
    with operation(fleet, "reset", stop=stop, on_event=on_event) as op:
        names = [shard.name for shard in shards]
        op.begin(target="empty", plan={"shards": names}, todo=[not_tried(name, None) for name in names], settled=())

        def recreate(shard: Shard) -> ShardResult:
            return not_tried(shard.name, None) if stop.is_asked else _recreate_one(shard)

        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="reset") as pool:
            for result in pool.map(recreate, shards):
                op.record(result)
        return op.finish()


def _recreate_one(shard: Shard) -> ShardResult:
    started = time.monotonic()
    try:
        databases.recreate(shard.url, application_name=f"shardwright reset {shard.name}")
    except psycopg.Error as error:
        fault = explain(error)
        return ShardResult(shard.name, Status.FAILED, error=fault.reason, hint=fault.hint or None, attempts=1)
    return ShardResult(shard.name, Status.RESET, after=(), seconds=time.monotonic() - started, attempts=1)
