"""Faults that a blue-green change could have, put into it one by one: an order of events finds each, and finds nothing
in the change as it is."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from changes import Changing, MakeChanging
from kit import until
from points import at, instead
from shardwright.transfer import fence
from shardwright.transfer.drain import captured, drain, snapshot

# --- orders of events; each gives what was wrong --------------------------------------------------


def mirrored(arena: Changing, run: int) -> list[str]:
    """Whether both sides have the same, once what is on the way has come."""
    with arena.carrying(run):
        try:
            arena.require_mirrored()
        except AssertionError as error:
            return [str(error)]
    return []


def a_row_written_on_both_sides_of_a_switch(arena: Changing) -> list[str]:
    """On blue while the lock is waited for, and on green right after it."""
    run, tenant = arena.begin(), arena.tenants[0]
    change = f"UPDATE project SET n = %s WHERE org_id = '{tenant}'"
    with (
        at("before fence.lock 1", lambda: arena.ask("blue_0", change, 50)),
        at("after Switch._go 1", lambda: arena.ask("green_0", change, 60)),
    ):
        arena.switch([tenant])
    wrong = mirrored(arena, run)
    found = {n for owner, (table, _), n in arena.rows("green_0") if table == "project" and owner == tenant}
    return wrong + ([f"green has {found}"] if found != {60} else [])


def a_death_right_after_the_decision(arena: Changing) -> list[str]:
    """Somebody else goes on with it."""
    run, tenant = arena.begin(), arena.tenants[0]
    deaths: list[Any] = []

    def die() -> None:
        if not deaths and arena.placement(tenant) == "green_0":
            deaths.append(tenant)
            raise psycopg.OperationalError("died")

    arena.project.fleet().switch_bluegreen(tenants=[tenant])
    with every("Group.place", die):
        arena.carry(run, lambda found: bool(deaths) and not found.orders)
    assert deaths
    try:
        arena.require_one_side()
    except AssertionError as error:
        return [str(error)]
    return []


def writes_of_tenants_of_two_lanes(arena: Changing) -> list[str]:
    run = arena.begin()
    arena.ask("blue_0", "UPDATE task SET n = n + 1000")
    return mirrored(arena, run)


def rows_that_were_there_before_their_tenant(arena: Changing) -> list[str]:
    """As a replicating session may write them: noted, looked at, and nobody's."""
    run, new = arena.begin(), str(uuid.uuid4())
    arena.ask("blue_0", f"SET session_replication_role = replica; INSERT INTO log VALUES ('{new}', 'early', 1)")
    with arena.carrying(run):
        until(lambda: arena.noted("blue_0") == 0)
        arena.ask("blue_0", "INSERT INTO org VALUES (%s, 1)", new)
        until(lambda: arena.ask("green_0", "SELECT 1 FROM org WHERE id = %s", new))
    return mirrored(arena, run)


def a_decision_for_everybody_that_fails(arena: Changing) -> list[str]:
    """With somebody who writes a shared row on either side at that moment, and after it."""
    arena.begin()
    took: list[str] = []
    fleet = arena.project.fleet()

    def write() -> None:
        change = "UPDATE plan SET price = price + 1"
        took.extend(shard for shard in ("green_0", "blue_0") if arena.refused(shard, change) is None)

    def fail() -> None:
        write()
        raise psycopg.OperationalError("the control database is away")

    with at("before Changes.switch_everybody 1", fail):
        run, order = fleet.switch_bluegreen()
        arena.carry(run, lambda _: bool(took) or fleet.bluegreen_order_ended(order))
    return [f"{took} took writes before anything was decided"] if took else []


def a_project_given_to_another_tenant(arena: Changing) -> list[str]:
    run = arena.begin()
    giver, taker = arena.tenants[:2]
    arena.ask("blue_0", "UPDATE project SET org_id = %s WHERE org_id = %s AND n = 1", taker, giver)
    return mirrored(arena, run)


def a_session_that_remembers_no_flag(arena: Changing) -> list[str]:
    run, new = arena.begin(), str(uuid.uuid4())
    log = "INSERT INTO log VALUES (%s, 'late', 7)"
    with psycopg.connect(arena.url("blue_0"), autocommit=True) as session:
        session.execute("INSERT INTO org VALUES (%s, 1)", [new])
        for _ in range(6):  # until neither statement nor trigger makes a plan anew, which asks for locks
            session.execute(log, [arena.tenants[1]], prepare=True)
            session.execute(log, [new], prepare=True)
        session.execute("BEGIN")
        session.execute(log, [arena.tenants[1]], prepare=True)  # so that it has the locks
        with psycopg.connect(arena.url("blue_0"), autocommit=True) as mover:
            flag = fence.of_tenant(run, new)
            fence.make(mover, flag, is_open=True)
            assert fence.lock(mover, flag, timedelta(seconds=1))
            fence.close_for_writes(mover, flag)
        with suppress(psycopg.errors.Error):
            session.execute(log, [new], prepare=True)
            session.execute("COMMIT")
            return ["it has written behind a closed fence"]
    return []


# --- mutants --------------------------------------------------------------------------------------

Mutant = AbstractContextManager[None]
Scene = Callable[[Changing], list[str]]


def nothing(name: str) -> Mutant:
    """The function does nothing."""
    return instead(name, lambda _: lambda *_, **__: None)


@contextmanager
def every(name: str, act: Callable[[], object]) -> Iterator[None]:
    """`act` is done before each call."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def reached(*arguments: Any, **options: Any) -> Any:
            act()
            return original(*arguments, **options)

        return reached

    with instead(name, make):
        yield


def a_target_opened_before_it_knows_the_tenant() -> Mutant:
    return nothing("Group.place")


def a_run_that_is_taken_over_as_it_is() -> Mutant:
    return nothing("Group.settle")


def a_queue_forgotten_after_one_receiver() -> Mutant:
    def make(_: Callable[..., Any]) -> Callable[..., Any]:
        def bring(group: Any, shard: str) -> int:
            ways, reader = group.ways_from(shard), group._reader(shard)
            with snapshot(reader) as taken:
                if not captured(reader, ways[0][1]).total:
                    return 0
                there, scope = ways[0]
                keys = drain(reader, group.writer(there), scope, scope.tables).keys
            group._forget(reader, shard, taken)
            return keys

        return bring

    return instead("Group.bring", make)


def an_adoption_without_the_rows() -> Mutant:
    return instead("everyone.note_all", lambda _: lambda _: sql.SQL("SELECT 1"))


def everybody_let_in_before_it_is_decided() -> Mutant:
    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def decide(switching: Any, changes: Any, *, to_green: bool) -> None:
            group = switching.group
            for name in {lane.green if to_green else lane.blue for lane in group.lanes}:
                with group.sessions(name).open() as session:
                    fence.open_for_writes(session, fence.of_everybody(group.context.run))
            original(switching, changes, to_green=to_green)

        return decide

    return instead("Switching._decide_everybody", make)


def a_trigger_that_notes_the_given_row_alone() -> Mutant:
    return instead("everyone._log_below", lambda _: lambda *_: iter(()))


def a_flag_looked_up_once() -> Mutant:
    return instead("fence._hears_news", lambda _: lambda _: sql.SQL("true"))


MUTANTS = {
    a_target_opened_before_it_knows_the_tenant: a_row_written_on_both_sides_of_a_switch,
    a_run_that_is_taken_over_as_it_is: a_death_right_after_the_decision,
    a_queue_forgotten_after_one_receiver: writes_of_tenants_of_two_lanes,
    an_adoption_without_the_rows: rows_that_were_there_before_their_tenant,
    everybody_let_in_before_it_is_decided: a_decision_for_everybody_that_fails,
    a_trigger_that_notes_the_given_row_alone: a_project_given_to_another_tenant,
    a_flag_looked_up_once: a_session_that_remembers_no_flag,
}
SAMPLE = (everybody_let_in_before_it_is_decided,)
CASES = [
    pytest.param(mutant, scene, id=mutant.__name__, marks=() if mutant in SAMPLE else pytest.mark.faults)
    for mutant, scene in MUTANTS.items()
]


@pytest.mark.parametrize(("mutant", "scene"), CASES)
@pytest.mark.parametrize("is_mutant", [pytest.param(False, marks=pytest.mark.faults), True])
def test_a_mutant_is_caught(
    make_changing: MakeChanging,
    mutant: Callable[[], Mutant],
    scene: Callable[[Changing], list[str]],
    *,
    is_mutant: bool,
) -> None:
    """And the change as it is goes through the same."""
    lanes = (1, 2) if scene in (writes_of_tenants_of_two_lanes, a_project_given_to_another_tenant) else (1, 1)
    arena = make_changing(*lanes, tenants=2)
    with mutant() if is_mutant else nullcontext():
        wrong = scene(arena)
    assert bool(wrong) == is_mutant, wrong
