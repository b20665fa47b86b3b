"""The steps of a blue-green change. Each may be done again wherever it had come to, and undone until blue is let go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from shardwright import errors
from shardwright.bluegreen.follow import Conductor
from shardwright.bluegreen.grants import lacking
from shardwright.bluegreen.group import Group, NewTenants
from shardwright.bluegreen.lanes import Lane, by_shard
from shardwright.bluegreen.latecomers import write_down
from shardwright.bluegreen.sets import NAME, Sets
from shardwright.bluegreen.shard_sets import create as making
from shardwright.bluegreen.shard_sets.emptiness import make_empty
from shardwright.bluegreen.shard_sets.numbering import Room
from shardwright.bluegreen.shard_sets.sequences import numbers_from, raise_home, raise_sequences
from shardwright.bluegreen.store import Changes
from shardwright.catalog.control import open_control
from shardwright.migration.history import History
from shardwright.migration.rollout import script_location
from shardwright.move.preflight.said import script
from shardwright.move.way import asking
from shardwright.pg import databases
from shardwright.pg.faults import explain
from shardwright.pg.fingerprint import fingerprint
from shardwright.runs.fanout import FanOutLimits
from shardwright.runs.kinds import Kind, Progress, Shelf, Step, StepContext, Stopped
from shardwright.runs.stopping import StopRequest
from shardwright.runs.store import operator
from shardwright.transfer import capture, everyone
from shardwright.transfer.everyone import Tenant
from shardwright.transfer.scope import MovedTable
from shardwright.transfer.sessions import write_silently
from shardwright.transfer.shard_lock import shard_lock
from shardwright.transfer.stream import Streamed
from shardwright.transfer.throttle import Throttle, limits_now

Result = Mapping[str, Any]
_MOST_GROUPS = 8
_SHOWN = 5
T = TypeVar("T")


# --- create ---------------------------------------------------------------------------------------


def create(context: StepContext) -> Result:
    """Every green shard is there, empty, and at its revision."""
    with _sets(context) as sets:
        config = sets.fleet.config
        made = making.create(
            sets.green, sets.blue[0], History(script_location(sets.fleet)), str(context.plan["revision"]),
            run=context.run, limits=FanOutLimits.from_config(config.limits), stop=StopRequest(),
        )  # fmt: skip
        make_empty(sets.green, [image.name for image in sets.schemas.there.tables], run=context.run)
        fingerprints = {}
        for shard in sets.green:
            with asking(shard) as connection:
                fingerprints[shard.name] = fingerprint(connection).digest
    return {"made": list(made), "fingerprints": fingerprints}


def undo_create(context: StepContext) -> None:
    """The databases that the change has made are gone."""
    with _sets(context) as sets, open_control(sets.fleet.control, application_name=NAME) as control:
        making.take_back(sets.green, control, sets.fleet.shard_set, run=context.run)


# --- capture --------------------------------------------------------------------------------------


def begin_capture(context: StepContext) -> Result:
    """Every change on blue is noted; green refuses all writes but ours."""
    with _sets(context) as sets:
        sets.require_schemas()
        phase = sets.hold()
        for lanes in sets.groups:
            tenants = sets.tenants(lanes)
            for blue in (False, True):
                for name, own in by_shard(lanes, blue=blue).items():
                    _register(sets, name, own, tenants, blue=blue)
            with sets.group(lanes, context) as group:
                for name in by_shard(lanes, blue=True):
                    _take_in(sets, group, name, group.unknown(name))
    return {"phase": phase}


def _register(sets: Sets, name: str, lanes: Sequence[Lane], tenants: Sequence[Tenant], *, blue: bool) -> None:
    context, sessions = sets.context, sets.sessions[name]
    watch = sets.schemas.watch(context.run, blue=blue, lanes=[lane.number for lane in lanes])
    with shard_lock(context, sessions, sets.hold) as connection:
        capture.make_schema(connection)
        everyone.register(connection, watch, side="blue" if blue else "green", is_open=blue, runner=context.runner)
    sessions.take_over()
    with sessions.open() as connection:
        theirs = [each for each in tenants if name in (each.blue, each.green)]
        everyone.add_tenants(connection, context.run, theirs, is_blue=blue)
        everyone.install(connection, watch, context, sets.patience)


def _take_in(sets: Sets, group: Group, shard: str, tenants: Sequence[str]) -> None:
    """Tenants that came between the plan and the triggers, or while rows are copied."""
    group.add_tenants(write_down(sets, group.lanes, shard, tenants), come_late=True)


def end_capture(context: StepContext) -> None:
    """Nothing of the change is left on any shard; all tenants are at blue."""
    with _sets(context) as sets:
        _take_away(sets)
        with sets.control() as changes:
            changes.write_phase(context.run, context.runner, "undone")


def _take_away(sets: Sets) -> None:
    context = sets.context
    for done, sessions in enumerate(sets.sessions.values(), 1):
        with shard_lock(context, sessions, sets.hold) as connection:
            capture.take_away(connection, sessions, context, sets.patience)
        context.report(Progress("clean", done, len(sets.sessions), "shards"))


# --- copy and compare -----------------------------------------------------------------------------


def copy(context: StepContext) -> Result:
    """Every row of every tenant is at green, as of some moment of its blue shard."""
    began = time.monotonic()
    with _sets(context) as sets:
        sets.require_schemas()

        def act(group: Group) -> Streamed:
            with _throttle(sets, group) as throttle:
                return _knowing_all(sets, group, lambda: group.copy(streams=_streams(context), pace=throttle))

        brought = sum(_in_groups(sets, act), Streamed())
    return {"rows": brought.rows, "bytes": brought.bytes, "seconds": round(time.monotonic() - began, 3)}


def _streams(context: StepContext) -> int:
    return int(context.plan.get("streams", 2))


def _knowing_all(sets: Sets, group: Group, act: Callable[[], T]) -> T:
    """What `act` gives, done again where tenants were found that the change does not know yet."""
    while True:
        try:
            return act()
        except NewTenants as new:
            _take_in(sets, group, new.shard, new.tenants)


def undo_copy(context: StepContext) -> None:
    """No row is on green, which has taken no writes, or whose writes are all at blue again."""
    with _sets(context) as sets:
        for lanes in sets.groups:
            for name, own in by_shard(lanes, blue=False).items():
                with sets.sessions[name].open(claims=False) as connection:
                    if not capture.is_registered(connection, context.run):
                        continue
                sets.sessions[name].take_over()
                with sets.sessions[name].open() as connection:
                    _empty(connection, sets, own)


def _empty(connection: psycopg.Connection[Any], sets: Sets, lanes: Sequence[Lane]) -> None:
    if is_open := [tenant for tenant, flag in everyone.flags(connection, sets.context.run).items() if flag]:
        raise AssertionError(f"green takes writes of {is_open[0]!r}: its rows are not deleted")
    tables: dict[str, MovedTable] = {}
    for lane in lanes:
        tables.update((table.shown, table) for table in replace(lane.there, shared=True).tables)
    write_silently(connection)
    names = [table.name.identifier for table in tables.values()]
    try:
        connection.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(names)))
    except psycopg.errors.FeatureNotSupported:  # tables that are left alone refer to them
        for name in reversed(names):
            connection.execute(sql.SQL("DELETE FROM {}").format(name))
    for lane in lanes:
        connection.execute(sql.SQL("TRUNCATE {}").format(lane.there.copied))


def compare(context: StepContext) -> Result:
    """Each blue shard's rows are equal at green, at one moment while writers run. Raises RowsDiffer."""
    with _sets(context) as sets:
        sets.require_schemas()
        rooms = _raise_sequences(sets)

        def act(group: Group) -> int:
            return sum(_knowing_all(sets, group, partial(_compare, sets, group, lane)) for lane in group.lanes)

        rows = sum(_in_groups(sets, act))
    return {"rows": rows, "rooms": [room.as_dict() for room in rooms]}


def _compare(sets: Sets, group: Group, lane: Lane) -> int:
    total = len(lane.there.tables)
    found = group.compare(lane, lambda done: sets.context.report(Progress("compare", done, total, "tables")))
    if not found.is_equal:
        told = "\n".join(map(str, found.differences[:_SHOWN]))
        raise errors.RowsDiffer(run=sets.context.run, differences=told)
    return found.rows


def _raise_sequences(sets: Sets) -> tuple[Room, ...]:
    tables = [sets.schemas.green[image.name] for image in sets.schemas.there.tables]
    return raise_sequences(sets.blue, sets.green, tables, elsewhere=numbers_from(sets.schemas.there))


# --- switch, keep, clean --------------------------------------------------------------------------


def switch(context: StepContext) -> Result:
    """Every tenant is at green, as operators have ordered it; both sides are kept in step until then."""
    with _sets(context) as sets:
        sets.require_schemas()
        with sets.control() as changes:
            changes.write_phase(context.run, context.runner, "in_step")
            if context.plan.get("auto") and not changes.orders(context.run):
                changes.order(context.run, "switch", by=operator())
        context.tell("green is in step with blue")
        _tell_grants(sets)
        Conductor(sets, lambda changes: _is_switched(sets, changes), "in step").go()
        with sets.control() as changes:
            changes.write_phase(context.run, context.runner, "switched", keep=float(context.plan["keep_seconds"]))
    return {}


def _tell_grants(sets: Sets) -> None:
    """What roles would lack at green, before the first tenant is there; it is for operators to judge."""
    with asking(sets.blue[0]) as blue:
        for shard in sets.green:
            with asking(shard) as green:
                for lack in lacking(blue, green, sets.schemas.blue, sets.schemas.green):
                    sets.context.tell(f"{shard.name}: {lack}, as it may on blue; try: {script(lack.grants)}")


def _are_all(sets: Sets, changes: Changes, *, at_green: bool) -> bool:
    left = sets.blue if at_green else sets.green
    return changes.are_all(sets.context.run, [shard.name for shard in left], at_green=at_green)


def _is_switched(sets: Sets, changes: Changes) -> bool:
    """And nobody has been ordered home again."""
    is_done = all(order.kind == "finish" for order in changes.orders(sets.context.run))
    return is_done and _are_all(sets, changes, at_green=True)


def switch_back(context: StepContext) -> None:
    """Every tenant is at blue, with everything that was written since; or it is there still."""
    with _sets(context) as sets:
        with sets.control() as changes:
            for order in changes.orders(context.run):
                changes.end_order(order.id, "the change is taken back")
            if not _are_all(sets, changes, at_green=False):
                _raise_home(sets)
            changes.write_phase(context.run, context.runner, "returning")
            changes.order(context.run, "undo", by=operator())
        Conductor(sets, lambda changes: _is_home(sets, changes), "going home").go()


def _is_home(sets: Sets, changes: Changes) -> bool:
    return not changes.orders(sets.context.run) and _are_all(sets, changes, at_green=False)


def _raise_home(sets: Sets) -> None:
    back = sets.schemas.back
    if back is None:
        return
    tables = [sets.schemas.blue[image.name] for image in back.tables]
    raise_home(sets.green, sets.blue, tables, elsewhere=numbers_from(back))


def keep(context: StepContext) -> Result:
    """Blue was kept in step with green for as long as the way back was to be open, or until somebody has closed it."""
    with _sets(context) as sets:
        with sets.control() as changes:  # whoever came late, and was left behind by a death
            if not changes.orders(context.run) and not _are_all(sets, changes, at_green=True):
                changes.order(context.run, "switch", by=operator())

        def is_over(changes: Changes) -> bool:
            is_asked = any(order.kind == "finish" for order in changes.orders(context.run))
            is_over = is_asked or changes.is_past(context.run)
            return is_over and _are_all(sets, changes, at_green=True)  # but for one that came late

        Conductor(sets, is_over, "keep").go()
    return {}


def clean(context: StepContext) -> Result:
    """Nothing of the change is left on any shard. Blue only reads from before its fences fall, unless operators have
    said otherwise: whoever still goes there must not write for nothing."""
    with _sets(context) as sets:
        with sets.control() as changes:
            changes.write_phase(context.run, context.runner, "cleaning")
            leaves_writable = changes.leaves_writable(context.run)
        if not leaves_writable:
            _retire(sets)
        _take_away(sets)
        making.keep(sets.green, run=context.run)
        with sets.control() as changes:
            for order in changes.orders(context.run):
                changes.end_order(order.id)
            changes.write_phase(context.run, context.runner, "done")
    return {}


def _retire(sets: Sets) -> None:
    for shard in sets.blue:
        try:
            left = databases.make_read_only(shard.url, application_name=NAME)
        except psycopg.errors.InsufficientPrivilege as error:
            sets.context.tell(f"{shard.name} was not made read-only: {explain(error).reason}; let nobody write there")
        else:
            if left:
                sets.context.tell(f"{shard.name}: sessions that are still there: {', '.join(left[:_SHOWN])}")


# --- small words ----------------------------------------------------------------------------------


@contextmanager
def _sets(context: StepContext) -> Iterator[Sets]:
    sets = Sets(context)
    try:
        yield sets
    finally:
        sets.close()


def _in_groups(sets: Sets, act: Callable[[Group], T]) -> list[T]:
    """What `act` gives for each group, several at once; where one fails the others end at their next safe point."""
    failure: list[BaseException] = []
    speaking = threading.Lock()

    def stop_wanted() -> str | None:
        return "another group has failed" if failure else sets.context.stop_wanted()

    def spoken(tell: Callable[[Any], None]) -> Callable[[Any], None]:
        def one_at_a_time(word: Any) -> None:
            with speaking:
                tell(word)

        return one_at_a_time

    def one(lanes: tuple[Lane, ...]) -> T:
        context = replace(
            sets.context, stop_wanted=stop_wanted, tell=spoken(sets.context.tell),
            report=spoken(sets.context.report), shelf=Shelf(),
        )  # fmt: skip
        try:
            with sets.group(lanes, context) as group:
                group.take_over()
                group.settle(sets.tenants(lanes))
                return act(group)
        except Stopped:
            raise
        except BaseException as error:
            failure.append(error)
            raise

    with ThreadPoolExecutor(min(len(sets.groups), _MOST_GROUPS), thread_name_prefix="bluegreen") as pool:
        running = [pool.submit(one, lanes) for lanes in sets.groups]
    if failure:
        raise failure[0]
    return [each.result() for each in running]


@contextmanager
def _throttle(sets: Sets, group: Group) -> Iterator[Throttle]:
    """By the limits of the configuration, and what operators have said of this change since."""

    def said() -> Mapping[str, Any]:
        with sets.control() as changes:
            return changes.change(sets.context.run).throttle

    limits = partial(limits_now, sets.fleet.config.moves, said)
    with ExitStack() as stack:
        sessions = {name: stack.enter_context(group.sessions(name).open()) for name in group.shards}
        yield Throttle(group.context, limits, sessions)


KIND = Kind(
    "bluegreen",
    (
        Step("create", create, undo_create),
        Step("capture", begin_capture, end_capture),
        Step("copy", copy, undo_copy),
        Step("compare", compare),
        Step("switch", switch, switch_back),
        Step("keep", keep),
        Step("clean", clean, final=True),
    ),
)
