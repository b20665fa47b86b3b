"""The Python face of everything the command line does: `Fleet.from_config().migrate()`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg

from shardwright import config as configuration
from shardwright import errors
from shardwright.bluegreen import operate as changing
from shardwright.bluegreen import retire as retiring
from shardwright.bluegreen import start as greens
from shardwright.bluegreen import status as changes
from shardwright.bluegreen import steps as greening
from shardwright.bluegreen.afterwards import Rewriting, afterwards
from shardwright.bluegreen.shard_sets.archive import Archive
from shardwright.bluegreen.start import ChangeOptions, ChangePlan
from shardwright.bluegreen.status import ChangeStatus
from shardwright.bluegreen.store import ChangedTenant
from shardwright.catalog import tenants as directory
from shardwright.catalog.add import add_shard, plan_add
from shardwright.catalog.check import ShardHealth, check_control, check_shards
from shardwright.catalog.control import open_control, read_control
from shardwright.catalog.placement import Placement
from shardwright.catalog.remove import plan_remove
from shardwright.config import Config, FleetConfig
from shardwright.embedded import LocalFleet, state_directory
from shardwright.embedded.resolve import control_cluster, make_control, resolve
from shardwright.migration import detached, drift, gate, rollout, status
from shardwright.migration import lint as linting
from shardwright.migration import resume as resuming
from shardwright.migration import rollback as rollbacks
from shardwright.migration.history import History
from shardwright.migration.plan import Plan
from shardwright.migration.rehearse import Rehearsal
from shardwright.migration.render import render
from shardwright.migration.trial import require_feasible
from shardwright.monitor import check as checking
from shardwright.monitor.alerts.bell import Bell, Told
from shardwright.monitor.alerts.damping import Damping
from shardwright.monitor.alerts.receivers import line, receivers
from shardwright.monitor.check import FleetCheck
from shardwright.monitor.picture import Picture, take
from shardwright.monitor.watch import Habits, Watch
from shardwright.move import operate, verify
from shardwright.move import start as starting
from shardwright.move import status as moves
from shardwright.move import steps as moving
from shardwright.move.certificate import Certificate
from shardwright.move.start import MovePlan
from shardwright.move.status import MoveStatus
from shardwright.move.store import Move
from shardwright.move.verify import Verification
from shardwright.rebalance import load as loading
from shardwright.rebalance import operate as rebalancing
from shardwright.rebalance import shards as draining
from shardwright.rebalance import start as rebalances
from shardwright.rebalance import status as rebalanced
from shardwright.rebalance import steps as balancing
from shardwright.rebalance.load import Measurement
from shardwright.rebalance.options import RebalanceOptions
from shardwright.rebalance.read import FleetLoad, nothing_known, read_loads
from shardwright.rebalance.start import Proposal
from shardwright.rebalance.status import RebalanceStatus
from shardwright.runs.board import Board, DurableRun, Places, RunEvent, StepRecord, WorkerSeen
from shardwright.runs.eta import Eta, eta
from shardwright.runs.events import Listener, ignore
from shardwright.runs.follow import following, watching
from shardwright.runs.kinds import Kind, Shelf
from shardwright.runs.results import RunResult, ShardResult
from shardwright.runs.stopping import StopRequest
from shardwright.runs.store import Ledger, Run, operator
from shardwright.runs.workers import Worker, WorkerLimits, carry_here
from shardwright.shard import Shard
from shardwright.testdata import dev
from shardwright.testdata import reset as resets
from shardwright.testdata import seed as seeds
from shardwright.transfer.everyone import Tenant as TenantBetween
from shardwright.transfer.survey import ShardTables, survey_tables

MigrateOptions = rollout.MigrateOptions
RollbackOptions = rollbacks.RollbackOptions
ResetOptions = resets.ResetOptions
SeedOptions = seeds.SeedOptions
OnFailure = rollout.OnFailure
MoveOptions = starting.MoveOptions
KINDS: tuple[Kind, ...] = (
    detached.KIND,
    moving.KIND,
    greening.KIND,
    balancing.KIND,
)  # of durable runs, that a worker can carry


class Fleet:
    """All shards of one shard set, as shardwright.toml names them.

    Methods that act take `stop` (ask it from another thread or a signal handler to end early) and `on_event`
    (called in this thread for everything that happens). They give a RunResult with every shard's result, and raise
    ShardwrightError only where nothing could be done at all.
    """

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def from_config(cls, file: Path | str | None = None) -> Fleet:
        """The fleet of `file`, else of the nearest shardwright.toml upwards. Raises ConfigError."""
        found = configuration.find_file(Path(file) if file is not None else None)
        return cls(configuration.load(found))

    @cached_property
    def resolved(self) -> FleetConfig:
        """The fleet with every URL known; embedded clusters are started. Raises EmbeddedError."""
        return resolve(self.config)

    @property
    def _for_acting(self) -> FleetConfig:
        """The fleet, with an embedded control database made that was not there yet."""
        make_control(self.config)
        return self.resolved

    # --- schema -------------------------------------------------------------------------------

    def status(self, *, target: str = "heads", shards: str | None = None) -> RunResult:
        """Where every shard's schema stands beside `target`; reads only, one SELECT a shard."""
        return status.status(self.resolved, target=target, shards=shards)

    def schema(self, *, target: str = "heads", shards: str | None = None) -> drift.SchemaStatus:
        """`status`, and the shards grouped by what their schemas really are; reads only."""
        return drift.schema_status(self.resolved, target=target, shards=shards)

    def check(
        self,
        *,
        shards: str | None = None,
        parts: Collection[str] = checking.PARTS,
        stop: StopRequest | None = None,
    ) -> FleetCheck:
        """Everything in which the fleet is not as it should be; reads only. `parts`: some of monitor.check.PARTS.

        Schemas object by object, revisions, placements and fences, rows without their tenant, [references], what runs
        out, what is left over. What could not be read is in the answer. Raises NoSuchShard, NoShards.
        """
        return checking.check(self.resolved, shards=shards, parts=parts, stop=stop)

    def require_revision(self, revision: str, *, shards: str | None = None) -> RunResult:
        """Whether every shard has at least `revision`: `behind` for those that lack it; one SELECT a shard.

        Raises NoSuchShard, NoMigrations, HistoryBroken, NoSuchRevision.
        """
        return gate.require(self.resolved, revision, shards=shards)

    def revisions(self) -> tuple[str, ...]:
        """Every revision of the history, newest first. Raises NoMigrations, HistoryBroken."""
        return self._history().revisions

    def plan_migrate(self, options: MigrateOptions) -> Plan:
        """What `migrate` would do now; changes nothing."""
        return rollout.plan_migrate(self.resolved, self._history(), options)

    def lint_plan(self, plan: Plan, *, allow: Sequence[str] = ()) -> linting.LintReport:
        """What `migrate` would say of the SQL in `plan`; the shards are asked how large some tables are."""
        return linting.lint_plan(self.resolved, self._history(), plan.todo, allow)

    def rehearse_plan(
        self, plan: Plan, options: MigrateOptions, *, stop: StopRequest | None = None, on_event: Listener = ignore
    ) -> Rehearsal | None:
        """What `migrate` with these options would find in a rehearsal of `plan`; None where they ask for none."""
        fleet, history = self.resolved, self._history()
        return rollout.rehearse_plan(fleet, history, plan, options, stop=stop or StopRequest(), on_event=on_event)

    def lint(self, *, since: str | None = None, allow: Sequence[str] = ()) -> linting.LintReport:
        """What in the revisions after `since` (default: in each revision by itself) is a danger; needs no database.

        Raises LinterMissing, LinterUnusable, HistoryError, UsageError.
        """
        return linting.lint_history(self.config, since=since, allow=allow)

    def migrate(
        self,
        target: str = "head",
        *,
        shards: str | None = None,
        jobs: int | None = None,
        canary: int = 0,
        waves: str | None = None,
        on_failure: OnFailure = "stop",
        max_failures: int | None = None,
        timeout: timedelta | str | None = None,
        lock_timeout: timedelta | str | None = None,
        online: bool = False,
        allow: Sequence[str] = (),
        atomic: bool = False,
        atomic_timeout: timedelta | str | None = None,
        rehearse: bool = False,
        rehearse_rows: int | None = None,
        verbose: bool = False,
        stop: StopRequest | None = None,
        on_event: Listener = ignore,
    ) -> RunResult:
        """Every chosen shard is at `target`, or its result says why not. Durations as `"30min"` or timedelta.

        `allow`: rules of lint that are let pass. `rehearse`: try it on copies first, with `rehearse_rows` rows of
        each table. `atomic`: all of them or none, by two-phase commit; locks are held until all are prepared, for
        `atomic_timeout` at most (10 s). Raises RolloutUnderWay, LintFoundErrors, RehearsalFailed, NoRehearsal,
        NotAtomic, ControlUnavailable, HistoryError, UsageError; nothing has been touched then.
        """
        options = MigrateOptions(
            target=target,
            shards=shards,
            jobs=jobs,
            canary=canary,
            waves=waves,
            on_failure=on_failure,
            max_failures=max_failures,
            timeout=_duration(timeout),
            lock_timeout=_duration(lock_timeout),
            online=online,
            allow=tuple(allow),
            atomic=atomic,
            atomic_timeout=_duration(atomic_timeout),
            rehearse=rehearse,
            rehearse_rows=rehearse_rows,
            verbose=verbose,
        )
        return rollout.migrate(self._for_acting, options, stop=stop or StopRequest(), on_event=on_event)

    def plan_rollback(self, options: RollbackOptions) -> Plan:
        """What `rollback` would do now; changes nothing."""
        with self._ledger() as ledger:
            return rollbacks.plan_rollback(self.resolved, self._history(), ledger or _NoLedger(), options)[0]

    def rollback(
        self,
        *,
        run: int | None = None,
        steps: int | None = None,
        to: str | None = None,
        shards: str | None = None,
        jobs: int | None = None,
        timeout: timedelta | str | None = None,
        lock_timeout: timedelta | str | None = None,
        verbose: bool = False,
        stop: StopRequest | None = None,
        on_event: Listener = ignore,
    ) -> RunResult:
        """Every chosen shard is back at its own revision before `run` (the last rollout if nothing is named).

        Raises NothingToRollBack, NoSuchRun, and what `migrate` raises.
        """
        options = RollbackOptions(
            run=run,
            steps=steps,
            to=to,
            shards=shards,
            jobs=jobs,
            timeout=_duration(timeout),
            lock_timeout=_duration(lock_timeout),
            verbose=verbose,
        )
        return rollbacks.rollback(self._for_acting, options, stop=stop or StopRequest(), on_event=on_event)

    def sql(self, plan: Plan) -> dict[str, str]:
        """The SQL of each revision in `plan`, or a comment why it can't be shown; connects to nothing."""
        ways = render(rollout.script_location(self.resolved), plan.todo, upwards=plan.kind == "migrate")
        return {rendering.revision: rendering.sql for renderings in ways.values() for rendering in renderings}

    # --- data for development and tests -------------------------------------------------------

    def seed(
        self,
        *,
        shards: str | None = None,
        jobs: int | None = None,
        verbose: bool = False,
        stop: StopRequest | None = None,
        on_event: Listener = ignore,
    ) -> RunResult:
        """Every chosen shard has the application's seed data. Raises NoSeed, and what `migrate` raises."""
        options = SeedOptions(shards, jobs, verbose)
        return seeds.seed(self._for_acting, options, stop=stop or StopRequest(), on_event=on_event)

    def reset(
        self,
        *,
        shards: str | None = None,
        seed: bool = False,
        force: bool = False,
        jobs: int | None = None,
        verbose: bool = False,
        stop: StopRequest | None = None,
        on_event: Listener = ignore,
    ) -> resets.ResetResult:
        """Every chosen shard is new and at the head; its data are gone, and the directory knows no tenant of them.

        Raises NotDisposable unless `force`.
        """
        return resets.reset(
            self._for_acting,
            ResetOptions(shards, seed, force, jobs, verbose),
            stop=stop or StopRequest(),
            on_event=on_event,
            changed_by=operator(),
            moving=self._moving,
        )

    @property
    def has_seed(self) -> bool:
        """Whether there is anything to seed with."""
        return seeds.has_seed(self.config)

    def plan_seed(self) -> Mapping[str, Any]:
        """What `seed` would run on each shard: a function, or SQL files. Raises NoSeed."""
        return seeds.seed_plan(self.config)

    def require_disposable(self, action: str, *, force: bool = False) -> None:
        """Raises NotDisposable where the fleet is not marked development or test, unless forced."""
        resets.require_disposable(self.config, action, force=force, can_be_forced=action == "reset")

    def plan_dev_up(self, *, shards: int | None = None, clusters: int | None = None) -> list[str]:
        """What `dev_up` would do, in words; starts and changes nothing."""
        return dev.plan_up(self.config, shards=shards, clusters=clusters)

    def dev_up(
        self,
        *,
        shards: int | None = None,
        clusters: int | None = None,
        verbose: bool = False,
        stop: StopRequest | None = None,
        on_event: Listener = ignore,
    ) -> dev.UpResult:
        """The fleet runs on this machine: databases created, migrated, seeded, tenants known. Raises NotDisposable."""
        result = dev.up(
            self.config,
            shards=shards,
            clusters=clusters,
            stop=stop or StopRequest(),
            on_event=on_event,
            changed_by=operator(),
            moving=self._moving,
            verbose=verbose,
        )
        self.__dict__["resolved"] = result.fleet
        return result

    def plan_dev_down(self, *, destroy: bool = False) -> list[str]:
        """The names of the embedded clusters that `dev_down` would stop; changes nothing."""
        return [cluster.directory.name for cluster in dev.embedded_clusters(self.config, destroy=destroy)]

    def dev_down(self, *, destroy: bool = False) -> list[str]:
        """The embedded clusters are stopped, with `destroy` gone with their data; gives their names."""
        self.__dict__.pop("resolved", None)
        return dev.down(self.config, destroy=destroy)

    # --- tenants ------------------------------------------------------------------------------

    def tenants(
        self, *, shard: str | None = None, search: str | None = None, after: str | None = None, limit: int = 100
    ) -> list[Placement]:
        """The next `limit` tenants of the directory after the id `after`; of one shard, with ids that begin alike."""
        if not self._has_control:
            return []
        return directory.list_tenants(self.resolved, shard=shard, search=search, after=after, limit=limit)

    def locate(self, tenant: str) -> Placement:
        """Where the directory has `tenant`. Raises NoSuchTenant, BadTenantId."""
        if not self._has_control:
            raise errors.NoSuchTenant(tenant=tenant)
        return directory.locate(self.resolved, tenant)

    def ask_shards(self, tenant: str) -> directory.Search:
        """Where `tenant` is by the word of the shards themselves; works without the control database."""
        return directory.ask_shards(self.resolved, tenant)

    def plan_add_tenant(self, tenant: str, *, shard: str | None = None) -> tuple[str, str]:
        """The id as PostgreSQL writes it, and the shard that `add_tenant` would give it; changes nothing."""
        return directory.plan_add(self.resolved, tenant, shard=shard)

    def add_tenant(self, tenant: str, *, shard: str | None = None) -> Placement:
        """A tenant that is still to come has its shard, by `tenants.placement` unless named.

        Raises TenantExists, ShardsSilent, NoSuchShard, NoTenants, BadTenantId.
        """
        return directory.add_tenant(self._for_acting, tenant, shard=shard, changed_by=operator())

    def plan_sync_tenants(self, *, accept: bool = False, forget: bool = False) -> directory.Sync:
        """What `sync_tenants` would do; changes nothing."""
        return directory.plan_sync(self.resolved, accept=accept, forget=forget, moving=self._moving)

    def sync_tenants(self, *, accept: bool = False, forget: bool = False) -> directory.Sync:
        """The directory is what the shards say, as far as that is certain.

        `accept`: also of tenants that are elsewhere than it said. `forget`: also of those that are gone everywhere.
        """
        return directory.sync(
            self._for_acting, accept=accept, forget=forget, changed_by=operator(), moving=self._moving
        )

    def verify_tenants(self) -> Verification:
        """Whether every tenant is on exactly one shard, directory and fences agree, and no row is without its tenant.

        Changes nothing.
        """
        return checking.verification(self.resolved)

    def loads(self, *, shard: str | None = None) -> FleetLoad:
        """How heavy each tenant, of `shard` or of all, was when it was last measured; no shard is asked.

        Raises NoShards, NoSuchShard, UsageError, ControlTooOld.
        """
        return read_loads(self.resolved, shard=shard) if self._has_control else FleetLoad(nothing_known(self.resolved))

    def measure_load(self, *, shards: str | None = None) -> Measurement:
        """The control database has what each tenant of these shards has there, and writes a second.

        On the shards it only reads. A shard that could not be read is named; its last measurement stands. Raises
        NoTenants, NoSuchShard, NoShards, ControlUnavailable.
        """
        fleet = self._for_acting
        return loading.measure(fleet, None if shards is None else fleet.select(shards))

    def ensure_measured(self, max_age: timedelta | str) -> Measurement | None:
        """No measurement is older than `max_age`: shards whose is are measured; None where none was.

        Raises what `measure_load` raises.
        """
        return loading.ensure_measured(self._for_acting, _duration(max_age) or timedelta(0))

    def _moving(self, control: psycopg.Connection[Any], since: datetime) -> list[str]:
        return verify.tenants_since(control, self.resolved, since)

    # --- moves --------------------------------------------------------------------------------

    def plan_move(self, tenant: str, options: MoveOptions) -> MovePlan:
        """What a move of `tenant` would do; changes nothing. Raises NoSuchTenant, NoSuchShard, UsageError."""
        return starting.plan_move(self.resolved, tenant, options)

    def start_move(self, tenant: str, options: MoveOptions) -> int:
        """The move is in the queue, for whichever worker is free; gives its run. Raises MoveUnderWay, MoveRefused."""
        return starting.start_move(self._for_acting, self.plan_move(tenant, options))

    def move(
        self,
        tenant: str,
        to: str,
        *,
        keep: timedelta | str | None = None,
        streams: int | None = None,
        bytes_per_second: int | None = None,
        offline: bool = False,
        allow: Sequence[str] = (),
        stop: StopRequest | None = None,
        tell: Callable[[RunEvent], None] = lambda _: None,
    ) -> MoveStatus:
        """The tenant is on shard `to`, carried there by this process; the way back is open for `keep` (0: never).

        Raises NoSuchTenant, NoSuchShard, MoveUnderWay, MoveRefused; the tenant has not been touched then. Else see the
        status: a move that is parked says why, and the tenant works on where it is.
        """
        options = MoveOptions(to, _duration(keep), streams, bytes_per_second, offline, tuple(allow))
        return self.carry_move(tenant, self.start_move(tenant, options), stop=stop, tell=tell)

    def moves(self) -> list[MoveStatus]:
        """The moves that are not at their end."""
        return moves.open_moves(self.resolved) if self._has_control else []

    def move_status(self, tenant: str) -> MoveStatus:
        """The tenant's open move, else its last. Raises NoSuchMove."""
        if not self._has_control:
            raise errors.NoSuchMove(what=f"tenant {tenant!r}")
        return moves.status_of(self.resolved, tenant)

    def move_of_run(self, number: int) -> MoveStatus | None:
        """The move that the run is; None where it is none."""
        return moves.status_of_run(self.resolved, number) if self._has_control else None

    def undo_move(
        self, tenant: str, *, stop: StopRequest | None = None, tell: Callable[[RunEvent], None] = lambda _: None
    ) -> MoveStatus:
        """The tenant is back at the source, with everything that was written since; nothing of the move is left.

        Raises NoSuchMove, NotSwitched, TooLate.
        """
        return self.carry_move(tenant, self.ask_undo_move(tenant), stop=stop, tell=tell)

    def ask_undo_move(self, tenant: str) -> int:
        """`undo_move`, left to whichever worker is free; gives the run."""
        return operate.ask_undo(self._for_acting, tenant)

    def cancel_move(
        self, tenant: str, *, stop: StopRequest | None = None, tell: Callable[[RunEvent], None] = lambda _: None
    ) -> MoveStatus:
        """`undo_move` for a move that is not switched yet; refuses to take back one that is."""
        return self.carry_move(tenant, self.ask_cancel_move(tenant), stop=stop, tell=tell)

    def ask_cancel_move(self, tenant: str) -> int:
        """`cancel_move`, left to whichever worker is free; gives the run."""
        return operate.ask_cancel(self._for_acting, tenant)

    def finish_move(
        self, tenant: str, *, stop: StopRequest | None = None, tell: Callable[[RunEvent], None] = lambda _: None
    ) -> MoveStatus:
        """The source is cleaned, and the way back closed. Raises NoSuchMove, NotSwitched."""
        return self.carry_move(tenant, self.ask_finish_move(tenant), stop=stop, tell=tell)

    def ask_finish_move(self, tenant: str) -> int:
        """`finish_move`, left to whichever worker is free; gives the run."""
        return operate.ask_finish(self._for_acting, tenant)

    def verify_move(self, tenant: str) -> Certificate:
        """Both sides of a switched move compared anew; changes nothing. Raises NoSuchMove, NotSwitched."""
        return operate.verify_move(self.resolved, tenant)

    def throttle_move(self, tenant: str, limits: Mapping[str, Any]) -> Move:
        """An open move keeps to these limits from its next part on. Raises NoSuchMove."""
        return operate.set_throttle(self._for_acting, tenant, limits)

    def _carry(self, run: int, *, stop: StopRequest | None, tell: Callable[[RunEvent], None]) -> None:
        fleet, section = self.resolved, self.config.runs
        last = max((event.id for event in self.events(run)), default=0)
        limits = WorkerLimits(1, Places(section.at_once, section.per_host), section.time_to_live.total_seconds())
        shelf = Shelf()

        def events(after: int) -> list[RunEvent]:
            with shelf.lend("board", self._board) as board:
                return board.events(run, after=after)

        with closing(shelf), following(events, tell, after=last):
            carry_here(self._connect_to_act, fleet, KINDS, limits, run, stop=stop or StopRequest())

    def carry_move(
        self,
        tenant: str,
        run: int,
        *,
        stop: StopRequest | None = None,
        tell: Callable[[RunEvent], None] = lambda _: None,
    ) -> MoveStatus:
        """The tenant's move, `run`, is carried by this process until it can't go on by itself."""
        self._carry(run, stop=stop, tell=tell)
        return self.move_status(tenant)

    # --- blue-green -----------------------------------------------------------------------------

    def plan_bluegreen(
        self,
        *,
        keep: timedelta | str | None = None,
        streams: int | None = None,
        auto: bool = False,
        one_way: bool = False,
        allow: Sequence[str] = (),
    ) -> ChangePlan:
        """What a change to the shards of [bluegreen] would do, and what could make it fail; changes nothing.

        Raises MissingKey where there is no [bluegreen], ChangeUnderWay, NoTenants, ShardsSilent, GreenNotMade.
        """
        options = ChangeOptions(_duration(keep), streams, auto, one_way, tuple(allow))
        return greens.plan_change(self._for_acting, options)

    def start_bluegreen(self, plan: ChangePlan) -> int:
        """The change is in the queue; gives its run. Raises ChangeRefused, ChangeUnderWay, MovesUnderWay."""
        return greens.start_change(self._for_acting, plan)

    def bluegreen_status(self) -> ChangeStatus:
        """The open change, else the last. Raises NoSuchChange."""
        if not self._has_control:
            raise errors.NoSuchChange(what=f"shard set {self.config.fleet.set!r}")
        return changes.status(self.resolved)

    def change_of_run(self, number: int) -> ChangeStatus | None:
        """The change that the run is; None where it is none."""
        return changes.status_of_run(self.resolved, number) if self._has_control else None

    def carry_bluegreen(
        self,
        run: int,
        *,
        until: Callable[[ChangeStatus], bool] = lambda _: False,
        stop: StopRequest | None = None,
        tell: Callable[[RunEvent], None] = lambda _: None,
    ) -> ChangeStatus:
        """The change is carried by this process until it can't go on by itself, or `until` says that it is enough: then
        it is let go, for workers to go on with."""
        enough = StopRequest(within=stop)
        with watching(lambda: until(self.bluegreen_status()), enough.let_go):
            self._carry(run, stop=enough, tell=tell)
        return self.bluegreen_status()

    def throttle_bluegreen(self, limits: Mapping[str, Any]) -> ChangeStatus:
        """The open change copies no faster than these limits say, from its next part on. Raises NoSuchChange."""
        changing.set_throttle(self._for_acting, limits)
        return self.bluegreen_status()

    def switch_bluegreen(
        self, *, tenants: Sequence[str] | None = None, share: float | None = None, home: bool = False
    ) -> tuple[int, int]:
        """These tenants, this share of them, or all are to be switched to green, `home` back to blue; gives the run and
        the order's number. It is done by whoever carries the run.

        Raises NoSuchChange, NoSuchTenant, ChangeNotThere, NoWayBack, OrderUnderWay.
        """
        return changing.order_switch(self._for_acting, tenants=tenants, share=share, home=home)

    def plan_bluegreen_switches(
        self, orders: Sequence[Mapping[str, Any]], *, home: bool = False
    ) -> list[list[TenantBetween]]:
        """Whom each of these orders would switch, given one after the other; each is the arguments of a
        `switch_bluegreen`. Changes nothing. Raises NoSuchChange, NoSuchTenant, ChangeNotThere, NoWayBack."""
        if not self._has_control:
            raise errors.NoOpenChange(what=f"shard set {self.config.fleet.set!r}")
        return changing.plan_switches(self.resolved, orders, home=home)

    def bluegreen_order_ended(self, order: int) -> bool:
        """Whether an order is done."""
        return changing.is_ended(self.resolved, order)

    def undo_bluegreen(
        self, *, stop: StopRequest | None = None, tell: Callable[[RunEvent], None] = lambda _: None
    ) -> ChangeStatus:
        """Every tenant is at blue, with everything that was written since; nothing of the change is left.

        Raises NoSuchChange, ChangeNotThere, NoWayBack.
        """
        return self.carry_bluegreen(self.ask_undo_bluegreen(), stop=stop, tell=tell)

    def ask_undo_bluegreen(self) -> int:
        """`undo_bluegreen`, left to whichever worker is free; gives the run."""
        return changing.ask_undo(self._for_acting)

    def cancel_bluegreen(
        self, *, stop: StopRequest | None = None, tell: Callable[[RunEvent], None] = lambda _: None
    ) -> ChangeStatus:
        """`undo_bluegreen` for a change in which nobody was switched; refuses where somebody was.

        Raises NoSuchChange, ChangeNotThere, TenantsAtGreen.
        """
        return self.carry_bluegreen(changing.ask_cancel(self._for_acting), stop=stop, tell=tell)

    def finish_bluegreen(
        self,
        *,
        leave_writable: bool = False,
        stop: StopRequest | None = None,
        tell: Callable[[RunEvent], None] = lambda _: None,
    ) -> ChangeStatus:
        """The way back is closed, nothing of the change is left on any shard; blue shards only read from then on,
        unless `leave_writable`. Raises NoSuchChange, ChangeNotThere."""
        run = self.ask_finish_bluegreen(leave_writable=leave_writable)
        return self.carry_bluegreen(run, stop=stop, tell=tell)

    def ask_finish_bluegreen(self, *, leave_writable: bool = False) -> int:
        """`finish_bluegreen`, left to whichever worker is free; gives the run."""
        return changing.ask_finish(self._for_acting, leave_writable=leave_writable)

    def bluegreen_tenant(self, tenant: str) -> ChangedTenant:
        """One tenant of the open change, else of the last. Raises NoSuchChange, NoSuchTenant."""
        if not self._has_control:
            raise errors.NoSuchChange(what=f"shard set {self.config.fleet.set!r}")
        return changes.tenant_of(self.resolved, tenant)

    def require_archivable_bluegreen(self) -> None:
        """Raises NotArchived, EmbeddedError where the blue shards could not be archived; changes nothing."""
        retiring.require_archivable(self.resolved, self.bluegreen_status())

    def archive_bluegreen(self, folder: Path | str) -> list[Archive]:
        """`folder` has each blue shard of the finished change as a file that pg_restore takes.

        Raises NoSuchChange, ChangeNotThere, ShardsGone, NotArchived, FileInTheWay.
        """
        return retiring.archive_blue(self.resolved, self.bluegreen_status(), Path(folder))

    def drop_bluegreen(self, folder: Path | str | None) -> list[str]:
        """The databases of the blue shards of the finished change are gone; gives the shards that had one.

        `folder` has their archives; None: without any. Raises NoSuchChange, ChangeNotThere, ShardsGone, NotDropped.
        """
        return retiring.drop_blue(self.resolved, self.bluegreen_status(), None if folder is None else Path(folder))

    def after_bluegreen(self) -> Rewriting | None:
        """How shardwright.toml is to be written once the change is finished; None where that is done."""
        return afterwards(self.config) if self.config.bluegreen else None

    # --- rebalancing ----------------------------------------------------------------------------

    def plan_rebalance(self, options: RebalanceOptions | None = None, *, measure: bool = True) -> Proposal:
        """Which tenants to move where, and what that brings; moves nothing.

        Tenants whose figures are older than an hour are measured first, unless `measure` is false; the figures are
        kept. Raises NoTenants, NoSuchShard, ChangeUnderWay, RebalanceUnderWay, ShardsSilent; ExtraMissing
        without the extra `rebalance`.
        """
        fleet = self._for_acting if measure else self.resolved
        return rebalances.plan_rebalance(fleet, options or RebalanceOptions(), fresh=self._fresh(measure=measure))

    def start_rebalance(self, proposal: Proposal) -> int:
        """The planned moves are in the queue, for whichever worker is free; gives the run.

        Raises RebalanceUnderWay, ChangeUnderWay.
        """
        return rebalances.start_rebalance(self._for_acting, proposal)

    def carry_rebalance(
        self, run: int, *, stop: StopRequest | None = None, tell: Callable[[RunEvent], None] = lambda _: None
    ) -> RebalanceStatus:
        """The rebalance is carried by this process until it can't go on by itself; its moves by workers, if any take
        them, else by this process too."""
        self._carry(run, stop=stop, tell=tell)
        found = self.rebalance_of_run(run)
        assert found is not None  # noqa: S101 it was there a moment ago
        return found

    def rebalance_status(self) -> RebalanceStatus:
        """The open rebalance, else the last. Raises NoSuchRebalance."""
        if not self._has_control:
            raise errors.NoSuchRebalance(what=f"shard set {self.config.fleet.set!r}")
        return rebalanced.status(self.resolved)

    def rebalance_of_run(self, number: int) -> RebalanceStatus | None:
        """The rebalance that the run is; None where it is none."""
        return rebalanced.status_of_run(self.resolved, number) if self._has_control else None

    def cancel_rebalance(
        self, *, stop: StopRequest | None = None, tell: Callable[[RunEvent], None] = lambda _: None
    ) -> RebalanceStatus:
        """Nothing more is begun, and tenants that are not switched yet stay where they are; those that were moved stay
        moved, with their way back. Raises NoSuchRebalance, RebalanceNotThere."""
        return self.carry_rebalance(self.ask_cancel_rebalance(), stop=stop, tell=tell)

    def ask_cancel_rebalance(self) -> int:
        """`cancel_rebalance`, left to whichever worker is free; gives the run."""
        return rebalancing.ask_cancel(self._for_acting)

    def undo_rebalance(
        self, *, stop: StopRequest | None = None, tell: Callable[[RunEvent], None] = lambda _: None
    ) -> RebalanceStatus:
        """Every tenant whose source still has its rows is there again, with all that was written since, the last one
        first. Raises NoSuchRebalance, RebalanceNotThere."""
        return self.carry_rebalance(self.ask_undo_rebalance(), stop=stop, tell=tell)

    def ask_undo_rebalance(self) -> int:
        """`undo_rebalance`, left to whichever worker is free; gives the run."""
        return rebalancing.ask_undo(self._for_acting)

    def finish_rebalance(
        self, *, stop: StopRequest | None = None, tell: Callable[[RunEvent], None] = lambda _: None
    ) -> RebalanceStatus:
        """The sources are cleaned, and the ways back closed. Raises NoSuchRebalance, RebalanceNotThere."""
        return self.carry_rebalance(self.ask_finish_rebalance(), stop=stop, tell=tell)

    def ask_finish_rebalance(self) -> int:
        """`finish_rebalance`, left to whichever worker is free; gives the run."""
        return rebalancing.ask_finish(self._for_acting)

    def plan_drain(self, options: RebalanceOptions, *, measure: bool = True) -> Proposal:
        """What `drain` would move; closes and moves nothing. Raises what that raises."""
        fleet = self._for_acting if measure else self.resolved
        return draining.plan_drain(fleet, options, fresh=self._fresh(measure=measure))

    def drain(self, options: RebalanceOptions) -> tuple[Proposal, int | None]:
        """The shards of `options.empty` take no new tenants, and the moves of those they have are in the queue; gives
        the plan, and its run, None where nobody is to be moved.

        Raises ShardInUse where no other shard would take new tenants, and what `plan_rebalance` raises.
        """
        return draining.drain(self._for_acting, options)

    def undrain(self, name: str) -> None:
        """The shard takes new tenants again. Raises NoSuchShard, ChangeUnderWay, ShardInUse while it is emptied."""
        draining.undrain(self._for_acting, name)

    def _fresh(self, *, measure: bool) -> timedelta | None:
        return rebalances.FRESH if measure else None

    # --- shards and ledger --------------------------------------------------------------------

    def check_shards(self, *, shards: str | None = None) -> list[ShardHealth]:
        """Whether each shard is fit to be worked on: reachable, new enough, privileges, settings."""
        return check_shards(self.resolved, self.resolved.select(shards))

    def check_control(self) -> ShardHealth | None:
        """Whether the control database is fit to be worked with; None where it is embedded and not made yet."""
        return check_control(self.resolved) if self._has_control else None

    def plan_add_shard(self, name: str, url: str, *, labels: dict[str, str] | None = None) -> Shard:
        """The shard that `add_shard` would add; changes nothing. Raises UsageError, ConfigError."""
        self._refuse_to_replace_embedded_shards(name)
        return plan_add(self.config, name, url, labels or {}).shard

    def add_shard(self, name: str, url: str, *, labels: dict[str, str] | None = None) -> ShardHealth:
        """The configuration file, and this fleet, have one more shard; gives its health.

        Raises UsageError, ConfigError; the file is as it was then.
        """
        self._refuse_to_replace_embedded_shards(name)
        self.config = add_shard(self.config, name, url, labels or {})
        self.__dict__.pop("resolved", None)
        fleet = self.resolved
        new = next(shard for shard in fleet.shards if shard.name == name)
        # Only a database of the same name can be the same database, so only those are asked.
        others = [shard for shard in fleet.shards if shard != new and shard.url.database == new.url.database]
        return check_shards(fleet, [*others, new])[-1]

    def require_removable(self, name: str) -> None:
        """Raises what `remove_shard` would raise; changes nothing."""
        self._refuse_to_remove_embedded_shards()
        draining.require_removable(self.resolved, name)
        plan_remove(self.config, name)

    def remove_shard(self, name: str) -> None:
        """The configuration file, the catalog and this fleet have the shard no more; its database is left as it is.

        Raises ShardInUse where a tenant, a run or a way back needs it; NoSuchShard, ShardsSilent, UsageError,
        ConfigError; everything is as it was then.
        """
        self._refuse_to_remove_embedded_shards()
        self.config = draining.remove(self.config, self._for_acting, name)
        self.__dict__.pop("resolved", None)

    def _refuse_to_remove_embedded_shards(self) -> None:
        if not self.config.shards:
            raise errors.UsageError(
                reason=f"{self.config.file} names no shards: they are embedded, on this machine",
                help="shardwright dev down   stops them; --destroy takes their data away",
            )

    def _refuse_to_replace_embedded_shards(self, name: str) -> None:
        local = LocalFleet.load(state_directory(self.config.project)) if self.config.is_embedded else None
        if local is not None:
            raise errors.UsageError(
                reason=f"the fleet has {len(local.layout.shards)} embedded shards, and {name} would take their place",
                help=f"shardwright dev up --shards {len(local.layout.shards) + 1}   adds an embedded one",
            )

    def tables(self, *, shard: str | None = None) -> ShardTables:
        """How the rows of each table belong to tenants, on `shard`, else the first that answers; reads only.

        Raises NoTenants, NoShardAnswered.
        """
        return survey_tables(self.resolved, shard)

    def runs(self, *, limit: int = 20, before: int | None = None) -> list[Run]:
        """The newest runs in the ledger, newest first; with `before`, of those with a smaller number."""
        with self._ledger() as ledger:
            return [ledger.as_it_is(run) for run in ledger.runs(limit, before=before)] if ledger else []

    def run(self, number: int) -> tuple[Run, list[ShardResult]]:
        """One run and each shard's result in it. Raises NoSuchRun."""
        with self._ledger() as ledger:
            if ledger is None:
                raise errors.NoSuchRun(run=number)
            return ledger.as_it_is(ledger.run(number)), ledger.results(number)

    def plan_of(self, number: int) -> Mapping[str, Any]:
        """What the run was to do, as the ledger has it. Raises NoSuchRun."""
        with self._ledger() as ledger:
            if ledger is None:
                raise errors.NoSuchRun(run=number)
            return ledger.plan(number)

    def mark(self) -> tuple[Any, ...]:
        """Another value than before, whenever something has happened in any run; asks the control database little."""
        with self._ledger() as ledger:
            return ledger.mark() if ledger else ()

    def resume(
        self, number: int, *, stop: StopRequest | None = None, on_event: Listener = ignore
    ) -> tuple[Run, list[ShardResult]]:
        """A rollout that was left half way is at its end; a durable run that rests is in the queue again.

        Gives the run and each shard's result in it. Raises NoSuchRun, NothingToResume, NotNow, RolloutUnderWay.
        """
        if self.run(number)[0].is_durable:
            self._operate(number, Board.resume)
            return self.run(number)
        return resuming.resume(self._for_acting, number, stop=stop or StopRequest(), on_event=on_event)

    # --- watching -----------------------------------------------------------------------------

    def picture(self, before: Picture | None = None) -> Picture:
        """The fleet as it is now; reads only, one connection a shard. `before`: the picture before, for rates."""
        return take(self.resolved, before, has_control=self._has_control)

    @contextmanager
    def watch(self, *, say: Callable[[str], None] = lambda _: None) -> Iterator[Watch]:
        """A picture every so often, for as long as the block lasts, as [monitor] has it; whom [alerts] names is told.

        `say` hears what goes wrong with the watch itself, and the alerts where [alerts] names nobody.
        """
        section = self.config.monitor
        habits = Habits(section.every, section.check_every)
        with (
            self._bell(self.config.alerts.hold, say) as bell,
            Watch(self.picture, self.check, habits, judge=bell.judge, say=say) as watch,
        ):
            yield watch

    def alert(self, checked: FleetCheck | None = None, *, say: Callable[[str], None] = lambda _: None) -> Told:
        """Whom [alerts] names has heard of what is wrong now, and of what is over; for cron.

        `checked`: what a full check has just found. What another process has told is not told again.
        """
        bell = self._bell(timedelta(0), say)
        picture = bell.judge(replace(self.picture(), checked=checked, checked_at=datetime.now(UTC)))
        return Told(picture, tuple(bell.deliver()))

    def _bell(self, hold: timedelta, say: Callable[[str], None]) -> Bell:
        control = self.resolved.control if self._has_control else None
        return Bell(
            self.config, control, receivers(self.config, lambda alert: say(line(alert))), Damping(hold), say=say
        )

    # --- durable runs -------------------------------------------------------------------------

    def start_migrate(self, options: MigrateOptions) -> int:
        """A rollout with these options is in the queue, for whichever worker is free; gives its number.

        Raises NoMigrations, HistoryBroken, UsageError, ControlUnavailable.
        """
        self._history().resolve(options.target)
        with self._board(acting=True) as board:
            return board.create(detached.KIND, detached.plan_of(options), target=options.target)

    def durable_run(self, number: int) -> DurableRun | None:
        """How the durable run stands; None where that number is a rollout of a process's own."""
        with self._board() as board:
            return board.run(number)

    def steps(self, number: int) -> list[StepRecord]:
        """The steps of a durable run in their order."""
        with self._board() as board:
            return board.steps(number)

    def events(self, number: int, *, after: int = 0) -> list[RunEvent]:
        """What has happened in a durable run since the event of that number."""
        with self._board() as board:
            return board.events(number, after=after)

    def recent_events(self, number: int, *, most: int = 200) -> list[RunEvent]:
        """The newest of what has happened in a durable run, oldest first, without its progress."""
        with self._board() as board:
            return board.recent(number, most=most)

    def course(self, number: int, *, points: int = 400) -> list[tuple[datetime, Mapping[str, Any]]]:
        """How far a durable run was at moments spread over its time, oldest first."""
        with self._board() as board:
            return board.course(number, points=points)

    def eta(self, number: int) -> Eta | None:
        """How long the step under way will still take; None where too little is known."""
        with self._board() as board:
            return eta(board.samples(number))

    def workers(self) -> list[WorkerSeen]:
        """The processes that take this fleet's runs."""
        with self._board() as board:
            return board.workers()

    def cancel(self, number: int) -> DurableRun:
        """The run goes back as soon as it can. Raises NoSuchRun, NotNow, TooLate."""
        return self._operate(number, Board.cancel)

    def pause(self, number: int) -> DurableRun:
        """The run rests after what it is doing. Raises NoSuchRun, NotNow."""
        return self._operate(number, Board.pause)

    def approve(self, number: int) -> DurableRun:
        """The step that waits may begin. Raises NoSuchRun, NotNow."""
        return self._operate(number, Board.approve)

    def work(
        self, *, at_once: int = 2, stop: StopRequest | None = None, say: Callable[[str], None] = lambda _: None
    ) -> None:
        """This process takes runs, `at_once` at a time, until `stop` is asked.

        It belongs to the worker from then on: the caller ends it (`os._exit`) afterwards. Raises ControlUnavailable.
        """
        from shardwright.runs.engine import Engine  # noqa: PLC0415 the engine is slow to import

        fleet = self._for_acting

        def make_engine(name: str, execute: Callable[[int, int], None]) -> Engine:
            return Engine(fleet.control, worker=name, execute=execute, at_once=at_once, shard_set=fleet.shard_set)

        with self._connect_to_act():
            pass  # the control schema is made, and whoever can't reach it hears of it now
        section = fleet.config.runs
        limits = WorkerLimits(at_once, Places(section.at_once, section.per_host), section.time_to_live.total_seconds())
        Worker(self._connect_to_act, fleet, KINDS, limits, make_engine, say=say).work(stop or StopRequest())

    def _operate(self, number: int, act: Callable[[Board, int], object]) -> DurableRun:
        run, _ = self.run(number)
        if not run.is_durable:
            raise errors.NotDurable(run=number, process=run.process, machine=run.started_on)
        with self._board(acting=True) as board:
            act(board, number)
            found = board.run(number)
            assert found is not None  # noqa: S101 it was there a moment ago
            return found

    @contextmanager
    def _board(self, *, acting: bool = False) -> Iterator[Board]:
        if acting:
            with self._connect_to_act() as control:
                yield Board(control, self.resolved.shard_set)
            return
        if not self._has_control:
            raise errors.NoRuns
        with read_control(self.resolved.control, application_name="shardwright runs") as reading:
            if reading is None:
                raise errors.NoRuns
            yield Board(reading, self.resolved.shard_set)

    def _connect_to_act(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        return open_control(self._for_acting.control, application_name="shardwright runs")

    def require_atomic(self, plan: Plan) -> None:
        """Raises NotAtomic where what is known of `plan` says that it can't be all shards or none; changes nothing."""
        require_feasible(self.resolved, plan, render(rollout.script_location(self.resolved), plan.todo))

    def _history(self) -> History:
        return History(rollout.script_location(self.resolved))

    @property
    def _has_control(self) -> bool:
        cluster = control_cluster(self.config)
        return cluster is None or cluster.directory.exists()

    @contextmanager
    def _ledger(self) -> Iterator[Ledger | None]:
        """To read in; None where nothing was ever recorded, and so nothing was ever made to record it in."""
        if not self._has_control:
            yield None
            return
        with read_control(self.resolved.control, application_name="shardwright runs") as control:
            yield Ledger(control, self.resolved.shard_set) if control else None


class _NoLedger(Ledger):
    """What plans that look into the ledger find where there is none."""

    def __init__(self) -> None:
        """Without a connection."""

    def run(self, run: int) -> Run:
        raise errors.NoSuchRun(run=run)

    def last_rollout(self) -> Run | None:
        return None


def _duration(value: timedelta | str | None) -> timedelta | None:
    try:
        return None if value is None else configuration.parse_duration(value)
    except ValueError as error:
        raise errors.UsageError(reason=str(error)) from error
