"""The fleet at one moment: its shards, its revisions, what runs, what is wrong. Reads only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg

from shardwright import errors
from shardwright.bluegreen.status import ChangeStatus, last_change_in
from shardwright.catalog.changes import SINCE
from shardwright.catalog.control import read_control, version
from shardwright.catalog.store import takes_new
from shardwright.config import FleetConfig
from shardwright.migration.history import ScriptLocation, State, newest_revisions
from shardwright.monitor.alerts import store
from shardwright.monitor.alerts.alert import Alert
from shardwright.monitor.alerts.store import AlertStore
from shardwright.monitor.skew import Skew, Work, read_work, skew
from shardwright.monitor.uneven import Uneven, uneven
from shardwright.monitor.vitals import Vitals, read_vitals
from shardwright.move.status import MoveStatus, open_moves_in
from shardwright.pg.faults import Fault
from shardwright.runs.board import Board, DurableRun, WorkerSeen
from shardwright.runs.store import Ledger, Run
from shardwright.shard import as_people_count

if TYPE_CHECKING:
    from shardwright.monitor.check import FleetCheck

_LAST = 10
_NAME = "shardwright monitor"


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that is not at its end; `quiet`: for how many seconds nothing was heard of it. `durable`: if it is one."""

    run: Run
    quiet: float
    durable: DurableRun | None = None

    def as_dict(self) -> dict[str, Any]:
        """The run as `--json` prints it."""
        durable = self.durable.as_dict() if self.durable else {}
        return {**self.run.as_dict(), **durable, "quiet_seconds": round(self.quiet, 1)}


@dataclass(frozen=True)
class Known:
    """What the control database says; `fault` where it says nothing."""

    fault: Fault | None = None
    open: tuple[OpenRun, ...] = ()
    runs: tuple[Run, ...] = ()
    workers: tuple[WorkerSeen, ...] = ()
    moves: tuple[MoveStatus, ...] = ()
    change: ChangeStatus | None = None
    closed: frozenset[str] = frozenset()  # shards that take no new tenants: they are to carry less than the others
    work: Work = field(default_factory=Work)
    alerts: tuple[Alert, ...] = ()
    over: tuple[Alert, ...] = ()


@dataclass(frozen=True)
class Picture:
    """The fleet at one moment; `number` counts the pictures of one watch from 1.

    `vitals`: of its shards and, while a change is under way, of the green ones, as people count. `heads`: of the
    history in the code; None where it can't be read. `skew`: the shards at each revision, if there are several.
    `runs`: the newest, newest first; `open`: those not at their end, oldest first. `change`: the open one.
    `checked`: the last full check. `over`: alerts that were over lately, the last first. `control_fault`: why the
    control database says nothing; then what it would have said is empty, and the rest of the picture is whole.
    """

    at: datetime
    shard_set: str
    environment: str
    vitals: tuple[Vitals, ...]
    heads: State | None = None
    skew: tuple[Skew, ...] = ()
    uneven: tuple[Uneven, ...] = ()
    runs: tuple[Run, ...] = ()
    open: tuple[OpenRun, ...] = ()
    workers: tuple[WorkerSeen, ...] = ()
    moves: tuple[MoveStatus, ...] = ()
    change: ChangeStatus | None = None
    checked: FleetCheck | None = None
    checked_at: datetime | None = None
    alerts: tuple[Alert, ...] = ()
    over: tuple[Alert, ...] = ()
    control_fault: Fault | None = None
    number: int = 1

    def shard(self, name: str) -> Vitals | None:
        """The vitals of the shard of that name; None where the fleet has none."""
        return next((each for each in self.vitals if each.shard == name), None)

    def as_dict(self) -> dict[str, Any]:
        """The picture as `--json` prints it."""
        return {
            "at": self.at.isoformat(),
            "set": self.shard_set,
            "environment": self.environment,
            "heads": list(self.heads) if self.heads is not None else None,
            "shards": [each.as_dict() for each in self.vitals],
            "skew": [each.as_dict() for each in self.skew],
            "uneven": [each.as_dict() for each in self.uneven],
            "runs": [each.as_dict() for each in self.runs],
            "open_runs": [each.as_dict() for each in self.open],
            "workers": len(self.workers),
            "moves": [each.as_dict() for each in self.moves],
            "change": self.change.as_dict() if self.change else None,
            "checked": self.checked.as_dict() if self.checked else None,
            "checked_at": self.checked_at.isoformat() if self.checked_at else None,
            "alerts": [each.as_dict() for each in self.alerts],
            "over": [each.as_dict() for each in self.over],
            "control_error": self.control_fault.reason if self.control_fault else None,
        }


def take(fleet: FleetConfig, before: Picture | None = None, *, has_control: bool = True) -> Picture:
    """The fleet as it is now. `before`: the picture before this one, for what is counted between two.

    `has_control`: whether the control database was ever made. Raises nothing for what is away: it is in the picture.
    """
    known = _ask_control(fleet) if has_control else Known()
    shards = sorted(fleet.every if known.change else fleet.shards, key=lambda shard: as_people_count(shard.name))
    vitals = read_vitals(fleet, shards, {each.shard: each for each in before.vitals} if before else None)
    return Picture(
        at=datetime.now(UTC),
        shard_set=fleet.shard_set,
        environment=fleet.config.fleet.environment,
        vitals=vitals,
        heads=_heads(fleet),
        skew=_skew(fleet, vitals, known.work),
        uneven=uneven([each for each in vitals if each.shard not in known.closed], most=fleet.config.monitor.uneven),
        runs=known.runs,
        open=known.open,
        workers=known.workers,
        moves=known.moves,
        change=known.change,
        checked=before.checked if before else None,
        checked_at=before.checked_at if before else None,
        alerts=known.alerts,
        over=known.over,
        control_fault=known.fault,
        number=before.number + 1 if before else 1,
    )


def _skew(fleet: FleetConfig, vitals: Iterable[Vitals], work: Work) -> tuple[Skew, ...]:
    revisions = {each.shard: each.revision for each in vitals if each.revision is not None}
    return skew(revisions, work, [shard.name for shard in fleet.green])


def without_details(picture: Picture) -> Picture:
    """The picture as it is kept for an hour: without what is long and told by the newest one."""
    return replace(picture, checked=None, over=())


def _ask_control(fleet: FleetConfig) -> Known:
    try:
        with read_control(fleet.control, application_name=_NAME, since=SINCE) as control:
            return _ask(control, fleet.shard_set) if control else Known()
    except errors.ControlError as error:
        return Known(fault=Fault(str(error), error.hint))


def _ask(control: psycopg.Connection[Any], shard_set: str) -> Known:
    ledger, board = Ledger(control, shard_set), Board(control, shard_set)
    still_open = [(ledger.as_it_is(run), quiet) for run, quiet in ledger.open_runs()]
    work = read_work(control, shard_set)
    firing, over = _alerts(control, shard_set)
    # Of a change that is over nothing is shown: its tenants, a line each, need not be counted with every picture.
    change = last_change_in(control, shard_set) if work.change and work.change.is_open else None
    return Known(
        open=tuple(OpenRun(run, quiet, board.run(run.id) if run.is_durable else None) for run, quiet in still_open),
        runs=tuple(ledger.as_it_is(run) for run in ledger.runs(_LAST)),
        workers=tuple(board.workers()),
        moves=tuple(open_moves_in(control, shard_set)),
        change=change if change and change.change.is_open else None,
        closed=frozenset(name for name, is_open in takes_new(control, shard_set).items() if not is_open),
        work=work,
        alerts=firing,
        over=over,
    )


def _alerts(control: psycopg.Connection[Any], shard_set: str) -> tuple[tuple[Alert, ...], tuple[Alert, ...]]:
    """Those that fire, and those that were over lately.

    None where the table is not there yet, or a role that was granted the older ones may not read it.
    """
    if version(control) < store.SINCE:
        return (), ()
    alerts = AlertStore(control, shard_set)
    try:
        return tuple(alerts.firing().values()), tuple(alerts.over())
    except psycopg.errors.InsufficientPrivilege:
        return (), ()


def _heads(fleet: FleetConfig) -> State | None:
    try:
        return newest_revisions(ScriptLocation.from_config(fleet.config))
    except errors.HistoryError:
        return None
