"""`reset`: every shard's database dropped, created, migrated and, if wanted, seeded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from shardwright import errors
from shardwright.catalog.check import identity_of
from shardwright.catalog.tenants import Moving, Sync
from shardwright.config import Config, FleetConfig
from shardwright.migration.history import History
from shardwright.migration.operation import not_tried, operation
from shardwright.migration.rollout import MigrateOptions, migrate, script_location
from shardwright.pg import databases, moving
from shardwright.pg.connect import connect
from shardwright.pg.faults import explain
from shardwright.runs.events import Listener
from shardwright.runs.results import WELL, RunResult, ShardResult, Status
from shardwright.runs.stopping import StopRequest
from shardwright.shard import Shard
from shardwright.testdata.directory import take_in
from shardwright.testdata.seed import SeedOptions, seed, seed_plan

_AT_ONCE = 4


@dataclass(frozen=True)
class ResetOptions:
    """Which shards, whether to seed them afterwards, and whether to override the environment's guard."""

    shards: str | None = None
    seed: bool = False
    force: bool = False
    jobs: int | None = None
    verbose: bool = False


def require_disposable(config: Config, action: str, *, force: bool = False, can_be_forced: bool = False) -> None:
    """Raises NotDisposable where `environment` is not development or test, unless forced."""
    if not config.is_disposable and not force:
        otherwise = "; or repeat with --force" if can_be_forced else ""
        raise errors.NotDisposable(action=action, environment=config.fleet.environment, otherwise=otherwise)


@dataclass(frozen=True)
class ResetResult(RunResult):
    """The result of `reset`, with what became of the directory: None where that was left as it is."""

    directory: Sync | None = None

    def as_dict(self) -> dict[str, Any]:
        """The result as `--json` prints it."""
        return {**super().as_dict(), "tenants": self.directory.as_dict() if self.directory else None}


def reset(
    fleet: FleetConfig,
    options: ResetOptions,
    *,
    stop: StopRequest,
    on_event: Listener,
    changed_by: str,
    moving: Moving,
) -> ResetResult:
    """Every chosen shard is new, at the head, and seeded if wanted; all its data are gone, the directory knows it.

    Whatever can be known to fail is found before the first database is dropped. Raises NotDisposable, NoSuchShard and
    what `migrate` and `seed` raise.
    """
    require_disposable(fleet.config, "reset", force=options.force, can_be_forced=True)
    shards = fleet.select(options.shards)
    History(script_location(fleet)).resolve("head")
    if options.seed:
        seed_plan(fleet.config)
    last = _recreate(fleet, shards, stop=stop, on_event=on_event)
    results = {result.shard: result for result in last.results}
    for act in (_migrate, _seed) if options.seed else (_migrate,):
        todo = [result.shard for result in last.results if result.status in WELL]
        if stop.is_asked:
            results |= {name: _unfinished(results[name], last.kind) for name in todo}
            break
        if todo:
            last = act(fleet, options, ",".join(todo), stop=stop, on_event=on_event)
            _merge(results, last)
    done = ResetResult("reset", last.run, last.target, tuple(results.values()), last.stopped, signal=stop.signal)
    if not done.succeeded:
        return done
    names = [shard.name for shard in shards]
    return replace(done, directory=take_in(fleet, new=names, changed_by=changed_by, moving=moving))


def _migrate(
    fleet: FleetConfig, options: ResetOptions, shards: str, *, stop: StopRequest, on_event: Listener
) -> RunResult:
    how = MigrateOptions(shards=shards, jobs=options.jobs, on_failure="continue", verbose=options.verbose)
    return migrate(fleet, how, stop=stop, on_event=on_event)


def _seed(
    fleet: FleetConfig, options: ResetOptions, shards: str, *, stop: StopRequest, on_event: Listener
) -> RunResult:
    return seed(fleet, SeedOptions(shards, options.jobs, options.verbose), stop=stop, on_event=on_event)


def _merge(results: dict[str, ShardResult], later: RunResult) -> None:
    """A shard keeps `reset` as long as all goes well; the first thing that does not is its result."""
    for result in later.results:
        before = results[result.shard]
        if result.status is Status.NOT_TRIED:
            results[result.shard] = _unfinished(before, _BEFORE[later.kind])
        else:
            results[result.shard] = result.with_note(
                status=Status.RESET if result.status in WELL else result.status,
                before=before.before,
                after=result.after if result.after is not None else before.after,
                seconds=before.seconds + result.seconds,
            )


_BEFORE = {"migrate": "reset", "seed": "migrate"}
_DONE_SO_FAR = {"reset": "new and empty", "migrate": "new and migrated, but not seeded"}


def _unfinished(result: ShardResult, done: str) -> ShardResult:
    """A shard that was dropped and not brought to the end is neither reset nor untouched."""
    return result.with_note(
        status=Status.FAILED,
        error=f"interrupted: its database is {_DONE_SO_FAR[done]}",
        hint=f"shardwright reset --shards {result.shard}",
    )


def _recreate(fleet: FleetConfig, shards: Sequence[Shard], *, stop: StopRequest, on_event: Listener) -> RunResult:
    with operation(fleet, "reset", stop=stop, on_event=on_event) as op:
        names = [shard.name for shard in shards]
        op.begin(target="empty", plan={"shards": names}, todo=[not_tried(name, None) for name in names], settled=())
        control = identity_of(fleet.control)

        def recreate(shard: Shard) -> ShardResult:
            if stop.is_asked:
                return not_tried(shard.name, None)
            is_control = shard.url.database == fleet.control.database and identity_of(shard.url) == control
            return _refuse_control(shard) if is_control else _recreate_one(shard)

        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="reset") as pool:
            for result in pool.map(recreate, shards):
                op.record(result)
        op.stopped = f"interrupted by {stop.reason}" if stop.is_asked else None
        return op.finish()


def _refuse_control(shard: Shard) -> ShardResult:
    """The last guard of the ledger: by another address the control database was taken for a shard."""
    error = "not dropped: it is the control database, by another address"
    return ShardResult(shard.name, Status.FAILED, error=error, hint="shardwright shards check")


def _on_the_move(shard: Shard) -> moving.Moving | None:
    """A shard that can't be asked, or is not there yet, is part of nothing."""
    with suppress(psycopg.Error), connect(shard.url, application_name=f"shardwright reset {shard.name}") as connection:
        return moving.moving(connection)
    return None


def _recreate_one(shard: Shard) -> ShardResult:
    started = time.monotonic()
    if found := _on_the_move(shard):
        return ShardResult(shard.name, Status.FAILED, error=found.fact, hint=found.command)
    try:
        databases.recreate(shard.url, application_name=f"shardwright reset {shard.name}")
    except psycopg.Error as error:
        fault = explain(error)
        return ShardResult(shard.name, Status.FAILED, error=fault.reason, hint=fault.hint or None, attempts=1)
    return ShardResult(shard.name, Status.RESET, after=(), seconds=time.monotonic() - started, attempts=1)
