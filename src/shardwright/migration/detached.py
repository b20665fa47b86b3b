"""`migrate --detach`: a rollout as a durable run, for whichever worker is free."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any

import psycopg

from shardwright import errors
from shardwright.catalog.control import open_control
from shardwright.config import FleetConfig
from shardwright.migration.operation import session_of
from shardwright.migration.rollout import MigrateOptions, migrate
from shardwright.pg import activity
from shardwright.runs.events import Event, RunStarted, ShardFinished, Warned
from shardwright.runs.kinds import Kind, Progress, Step, StepContext
from shardwright.runs.results import WELL
from shardwright.runs.stopping import StopRequest

_PAUSE = 1.0


def plan_of(options: MigrateOptions) -> dict[str, Any]:
    """The options as data, for a run's plan. Raises UsageError for what can't be detached."""
    if options.atomic:
        raise errors.UsageError(
            reason="--atomic and --detach exclude one another: locks may not wait for whoever takes over",
            help="shardwright migrate --atomic",
        )
    values = {each.name: getattr(options, each.name) for each in fields(options)}
    return {"options": {name: _as_data(value) for name, value in values.items()}}


def options_of(plan: Mapping[str, Any]) -> MigrateOptions:
    """The other way; what this version does not know it leaves out."""
    known = {each.name: each for each in fields(MigrateOptions)}
    given = {name: value for name, value in plan["options"].items() if name in known}
    return MigrateOptions(**{name: _from_data(value) for name, value in given.items()})


def _as_data(value: Any) -> Any:
    return {"seconds": value.total_seconds()} if isinstance(value, timedelta) else value


def _from_data(value: Any) -> Any:
    if isinstance(value, dict):
        return timedelta(**value)
    return tuple(value) if isinstance(value, list) else value


def roll_out(context: StepContext) -> Mapping[str, Any]:
    """The rollout of the run's plan; done again after a death it finds the shards that are done up to date."""
    _end_predecessor(context.fleet, context.run)
    stop, told = _Wished(context.stop_wanted), False
    while True:
        context.raise_if_stopped()
        try:
            result = migrate(
                context.fleet, options_of(context.plan), stop=stop, on_event=_Teller(context), adopts=context.run
            )
        except errors.RolloutUnderWay as error:
            if not told:
                context.tell(f"waits: {error}")
            told = True
            time.sleep(_PAUSE)
        else:
            context.raise_if_stopped()
            if fault := result.extra.get("ledger"):
                raise psycopg.OperationalError(fault)  # the control database was away: the rest of it is still to do
            return {"exit_code": result.exit_code, "summary": result.summary, "stopped": result.stopped}


def _end_predecessor(fleet: FleetConfig, run: int) -> None:
    """A worker that was given up may still hold the shard set's lock, asleep: its session is ended."""
    with open_control(fleet.control, application_name="shardwright take-over") as control:
        activity.terminate(control, session_of("migrate", run))


class _Wished(StopRequest):
    """Asked as soon as the run's step should end."""

    def __init__(self, wanted: Callable[[], str | None]) -> None:
        super().__init__()
        self._wanted = wanted

    @property
    def reason(self) -> str | None:
        return super().reason or self._wanted()

    @property
    def told(self) -> str:
        return f"interrupted by {self.reason}"


class _Teller:
    """What happens, for whoever follows the run."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._done, self._total = 0, 0

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._done, self._total = 0, event.total
            case ShardFinished(result):
                self._done += 1
                self._context.report(Progress("rollout", self._done, self._total, "shards"))
                if result.status not in WELL:
                    self._context.tell(f"{result.shard}: {result.status.value} {result.error or ''}".strip())
            case Warned(fact, cure):
                self._context.tell(f"{fact}; try: {cure}" if cure else fact)


KIND = Kind("migrate", (Step("roll out", roll_out),))
