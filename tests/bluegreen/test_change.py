"""A change under traffic: what was acknowledged is where its tenant is, once, wherever the change ends."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from changes import SCHEMA, MakeChanging
from kit import until
from points import at
from shardwright import errors
from shardwright.transfer import fence

# --- journeys ---------------------------------------------------------------------------------------


def test_as_many_shards_in_waves_one_tenant_home_again_then_for_good(make_changing: MakeChanging) -> None:
    """A canary, a share, the canary home, all: every acknowledged write is there, once, and each switch is proven."""
    arena = make_changing(2, 2)
    arena.write(routers=1, ignorant=1)
    arena.begin()
    canary = arena.tenants[0]
    arena.switch([canary])
    assert arena.at_green == {canary}
    arena.require_one_side()
    arena.go_on(2)
    arena.switch(share=0.25)
    assert len(arena.at_green) == 2
    arena.switch([canary], home=True)
    assert canary not in arena.at_green
    arena.go_on(2)
    arena.switch()
    arena.require_one_side()
    arena.go_on(2)
    arena.finish()
    arena.go_on(2)
    arena.require_all(at_green=True)
    arena.require_proven()
    arena.require_nothing_left()
    assert arena.refused("blue_0", "UPDATE plan SET price = 1") == "25006"  # read-only, to whoever was forgotten
    with pytest.raises(errors.GreenIsTheFleet):
        arena.project.fleet().verify_tenants()


def test_two_shards_become_three_of_another_shape_and_go_back_half_way(make_changing: MakeChanging) -> None:
    """A table split in two, a column renamed, a type changed: what green was told is at blue after the undo."""
    arena = make_changing(2, 3, shaped=True)
    arena.write(routers=1, ignorant=1)
    arena.begin()
    arena.switch(share=0.5)
    assert len(arena.at_green) == 2
    arena.require_one_side()
    arena.go_on()
    arena.require_proven()
    arena.undo()
    arena.go_on(2)
    arena.require_all(at_green=False)
    arena.require_nothing_left()
    assert not any(map(arena.is_there, arena.green))


@pytest.mark.faults
def test_three_shards_become_one_and_three_again(make_changing: MakeChanging) -> None:
    """Undone when all were at green: blue has what was written there meanwhile, and it mirrored green before."""
    arena = make_changing(3, 1)
    arena.write(routers=1, ignorant=2)
    run = arena.begin()
    arena.switch()
    arena.go_on()
    with arena.carrying(run):
        arena.require_mirrored()
    arena.undo()
    arena.require_all(at_green=False)
    arena.require_nothing_left()


@pytest.mark.faults
def test_nothing_is_lost_where_nobody_was_switched(make_changing: MakeChanging) -> None:
    """Green mirrors blue, in another shape; then the change is taken back."""
    arena = make_changing(2, 1, shaped=True)
    arena.write(routers=1, ignorant=1)
    run = arena.begin()
    arena.go_on(2)
    with arena.carrying(run):
        arena.require_mirrored()
    arena.undo()
    arena.require_all(at_green=False)
    arena.require_nothing_left()


def test_a_change_without_a_way_back(make_changing: MakeChanging) -> None:
    """From the first switch on nobody goes home, and what green notes for its proofs alone is forgotten."""
    arena = make_changing(1, 1)
    run = arena.begin(one_way=True)
    arena.switch([arena.tenants[0]])
    fleet = arena.project.fleet()
    with pytest.raises(errors.NoWayBack):
        fleet.undo_bluegreen()
    with pytest.raises(errors.NoWayBack):
        fleet.switch_bluegreen(tenants=[arena.tenants[0]], home=True)
    arena.switch()
    arena.ask("green_0", "UPDATE project SET n = 7 RETURNING n")
    names = [name for [name] in arena.ask("green_0", "SELECT relname FROM pg_class WHERE relname ~ '^changed_'")]
    assert names

    def are_forgotten() -> bool:
        return all(arena.ask("green_0", f"SELECT count(*) FROM shardwright.{name}") == [(0,)] for name in names)

    with arena.carrying(run):
        until(are_forgotten)
    arena.finish()
    arena.require_nothing_left()


def test_the_throttle_is_heard_while_green_is_filled(make_changing: MakeChanging) -> None:
    """A copy that would take a day is let go."""
    arena = make_changing(1, 1, tenants=1, more="[moves]\nbytes_per_second = 1")
    fleet, run = arena.project.fleet(), arena.start()
    with arena.carrying(run):
        until(lambda: (fleet.bluegreen_status().run.progress or {}).get("phase") == "copy")
        assert fleet.throttle_bluegreen({"bytes_per_second": None}).change.throttle == {"bytes_per_second": None}
        until(lambda: fleet.bluegreen_status().change.phase == "in_step")


@pytest.mark.faults
def test_a_green_table_that_refers_to_a_filled_one_is_no_hindrance_to_the_undo(make_changing: MakeChanging) -> None:
    """In a database that was there: no TRUNCATE is to be had; what was copied is gone, and the table is not."""
    arena = make_changing(1, 1, tenants=2)
    arena.make_green("one", SCHEMA + "CREATE TABLE badge (org_id uuid PRIMARY KEY REFERENCES org)")
    arena.begin()
    assert arena.ask("green_0", "SELECT count(*) FROM org") == [(2,)]
    arena.undo()
    assert {table for _, (table, _), _ in arena.rows("green_0")} == set()
    assert arena.ask("green_0", "SELECT count(*) FROM badge") == [(0,)]
    arena.require_nothing_left()
    arena.require_all(at_green=False)


def test_flags_that_contradict_the_directory_are_named(make_changing: MakeChanging) -> None:
    """Of a tenant, of all who are not known by name; and what a change that is over has left behind."""
    arena = make_changing(1, 1, tenants=1)
    run, fleet, tenant = arena.begin(), arena.project.fleet(), arena.tenants[0]
    assert fleet.verify_tenants().is_equal
    for flag, whose in (
        (fence.of_tenant(run, tenant), f"tenant {tenant!r} is"),
        (fence.of_everybody(run), "shared rows and new tenants are"),
    ):
        for shard, value, does in (("green_0", fence.OPEN, "takes"), ("blue_0", fence.CLOSED, "refuses")):
            before = arena.ask(shard, f"SELECT last_value FROM {flag.flag.as_string()}")[0][0]
            arena.ask(shard, f"SELECT setval('{flag.flag.as_string()}', {value})")
            (odd,) = fleet.verify_tenants().fences
            assert (odd.shard, odd.fact) == (shard, f"{whose} on blue_0, and the shard {does} their writes")
            arena.ask(shard, f"SELECT setval('{flag.flag.as_string()}', {before})")
    arena.ask("control", "UPDATE shardwright.bluegreen SET phase = 'undone'")
    left = fleet.verify_tenants().fences
    assert [each.shard for each in left] == ["blue_0", "green_0"]
    assert "is still there, and the change is over" in left[0].fact


ORDER = st.sampled_from(["canary", "share", "home", "write", "take over"])


@pytest.mark.faults
@pytest.mark.timeout(3600)
@settings(
    max_examples=15,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    sizes=st.sampled_from([(1, 1), (2, 2), (2, 3), (3, 1), (1, 3)]),
    shaped=st.booleans(),
    orders=st.lists(ORDER, max_size=6),
    end=st.sampled_from(["undo", "all undo", "finish", "finish"]),
)
def test_any_journey(
    make_changing: MakeChanging, sizes: tuple[int, int], shaped: bool, orders: list[str], end: str
) -> None:
    """In whatever waves, forth and back, and wherever it ends."""
    arena = make_changing(*sizes, shaped=shaped, tenants=6)
    arena.write()
    run = arena.begin()
    for number, order in enumerate(orders):
        if order == "share":
            arena.switch(share=0.2)
        elif order == "write":
            with arena.carrying(run):
                arena.go_on(3)
        elif order in ("canary", "home"):
            arena.switch([arena.tenants[number % 6]], home=order == "home")
        if arena.at_green == {*arena.tenants}:
            break
        arena.require_one_side()
    if end != "undo":
        arena.switch()
    arena.go_on(2)
    arena.finish() if end == "finish" else arena.undo()
    arena.require_all(at_green=end == "finish")
    arena.require_nothing_left()
    arena.end()


# --- what happens meanwhile -------------------------------------------------------------------------

INSERT = "INSERT INTO project VALUES (gen_random_uuid(), %s, 7)"


def test_tenants_that_come_meanwhile_have_one_side(make_changing: MakeChanging) -> None:
    """On blue before everybody is switched and on green afterwards; whom the directory had at blue follows."""
    arena = make_changing(2, 2)
    arena.write(routers=1, ignorant=1)
    run = arena.begin()
    early, late, placed = (str(uuid.uuid4()) for _ in range(3))
    arena.make_tenant("blue_1", early)
    assert arena.refused("green_0", "INSERT INTO org VALUES (%s, 1)", late) == "SW001"
    arena.place(placed, "blue_0")
    arena.switch()
    arena.tenants.append(early)
    assert arena.at_green == {*arena.tenants}
    assert arena.refused("blue_0", "INSERT INTO org VALUES (%s, 1)", late) == "SW001"
    arena.make_tenant("green_0", late)
    with arena.carrying(run):
        until(lambda: arena.ask("control", "SELECT 1 FROM shardwright.placement WHERE tenant = %s", late))
        until(lambda: arena.placement(placed) in arena.green)
        make = "INSERT INTO org VALUES (%s, 1)"
        until(lambda: arena.refused(arena.placement(placed), make, placed) is None)  # it is told before it is let in
        arena.ledger.rows["org", placed] = {1}
    arena.tenants += [late, placed]
    arena.undo()
    arena.require_all(at_green=False)
    arena.require_nothing_left()


def test_one_that_is_made_while_everybody_is_being_shut_out_is_not_left_behind(make_changing: MakeChanging) -> None:
    """Between the look for new tenants and the fence: seen under the lock, and switched as the others."""
    arena = make_changing(1, 1, tenants=2)
    arena.begin()
    new = str(uuid.uuid4())
    with at("before Switching._close 1", lambda: arena.make_tenant("blue_0", new)):
        arena.switch()
    arena.tenants.append(new)
    assert arena.at_green == {*arena.tenants}
    arena.finish()
    arena.require_all(at_green=True)


def test_shared_rows_have_one_side(make_changing: MakeChanging) -> None:
    """They are written on blue until everybody is switched, on green from then on, and on both they are the same."""
    arena = make_changing(2, 2, shaped=True)
    run = arena.begin()
    change = "UPDATE plan SET price = %s WHERE code = 'paid'"

    def prices() -> set[Any]:
        return {arena.ask(shard, "SELECT price FROM plan WHERE code = 'paid'")[0][0] for shard in arena.blue_and_green}

    def change_on(side: dict[str, str], price: int) -> None:
        for shard in side:
            arena.ask(shard, change, price)

    change_on(arena.blue, 20)
    assert {arena.refused(shard, change, 0) for shard in arena.green} == {"SW001"}
    with arena.carrying(run):
        until(lambda: prices() == {20})
    arena.switch()
    change_on(arena.green, 30)
    assert {arena.refused(shard, change, 0) for shard in arena.blue} == {"SW001"}
    with arena.carrying(run):
        until(lambda: prices() == {30})
    arena.undo()
    change_on(arena.blue, 40)
    assert arena.ask("blue_0", "SELECT price FROM plan WHERE code = 'paid'") == [(40,)]


def test_a_row_given_to_another_tenant_takes_along_what_hangs_on_it(make_changing: MakeChanging) -> None:
    """Both are at blue, and go to different green shards: its tasks go along, though nobody wrote them."""
    arena = make_changing(1, 2, tenants=2)
    run = arena.begin()
    giver, taker = arena.tenants
    arena.ask("blue_0", "UPDATE project SET org_id = %s WHERE org_id = %s AND n = 1", taker, giver)
    with arena.carrying(run):
        arena.require_mirrored()
    arena.switch([giver])
    back = "UPDATE project SET org_id = %s WHERE org_id = %s AND n = 1"
    assert arena.refused("blue_0", back, giver, taker) == "SW001"
    arena.switch()
    arena.require_proven()
    arena.require_all(at_green=True)
    orphans = "SELECT count(*) FROM task AS t LEFT JOIN project AS p ON p.id = project_id WHERE p.id IS NULL"
    assert [arena.ask(shard, orphans) for shard in arena.green] == [[(0,)], [(0,)]]


def test_cascades_replicas_and_truncate(make_changing: MakeChanging) -> None:
    """What a foreign key deletes, and what a replicating session writes, is noted; TRUNCATE is refused."""
    arena = make_changing(1, 1, tenants=2, shaped=True)
    run = arena.begin()
    first, second = arena.tenants
    arena.ask("blue_0", "DELETE FROM project WHERE org_id = %s AND n = 1", first)
    arena.ask("blue_0", "SET session_replication_role = replica; UPDATE log SET n = 99")
    assert [arena.refused(shard, "TRUNCATE remark") for shard in ("blue_0", "green_0")] == ["SW004", "SW004"]
    with arena.carrying(run):
        arena.require_mirrored()
    arena.switch([first])
    arena.ask("green_0", "DELETE FROM project WHERE org_id = %s", first)
    arena.ask("green_0", f"SET session_replication_role = replica; UPDATE log SET n = 98 WHERE org_id = '{first}'")
    arena.ask("green_0", "DELETE FROM face USING person WHERE id = person_id AND org_id = %s AND number = 1", first)
    arena.ask("green_0", "DELETE FROM person WHERE org_id = %s AND number = 1", first)
    assert arena.refused("blue_0", "SET session_replication_role = replica; UPDATE log SET n = 0") == "SW001"
    with arena.carrying(run):
        arena.require_mirrored()
    assert {n for owner, (table, _), n in arena.rows("blue_0") if table == "log" and owner == first} == {98}
    assert {n for owner, (table, _), n in arena.rows("green_0") if table == "log" and owner == second} == {99}


def test_whoever_looked_before_the_switch_does_not_write_after_it(make_changing: MakeChanging) -> None:
    """By an old snapshot, or by a name that it remembers not to be there: refused, on blue and then on green."""
    arena = make_changing(1, 1, tenants=2)
    run = arena.begin()
    known, new = arena.tenants[0], str(uuid.uuid4())
    log = "INSERT INTO log VALUES (%s, 'late', 7)"
    with psycopg.connect(arena.url("blue_0")) as old, psycopg.connect(arena.url("blue_0"), autocommit=True) as knowing:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT 1 FROM org")
        knowing.execute("INSERT INTO org VALUES (%s, 1)", [new])
        for _ in range(6):  # until neither statement nor trigger makes a plan anew, which asks for locks
            knowing.execute(log, [arena.tenants[1]], prepare=True)
            knowing.execute(log, [new], prepare=True)
        knowing.execute("BEGIN")
        knowing.execute(log, [arena.tenants[1]], prepare=True)  # so that it has the locks
        flag = fence.of_tenant(run, new)
        with psycopg.connect(arena.url("blue_0"), autocommit=True) as mover:  # as it adopts a tenant, and switches it
            fence.make(mover, flag, is_open=True)
            assert fence.lock(mover, flag, timedelta(seconds=1))
            fence.close_for_writes(mover, flag)
        with pytest.raises(psycopg.Error) as refused:
            knowing.execute(log, [new], prepare=True)
        assert refused.value.sqlstate == "SW001"
        knowing.execute("ROLLBACK")
        arena.ask("blue_0", f"DROP SEQUENCE {flag.flag.as_string()}; DELETE FROM log WHERE org_id = '{new}'")
        arena.switch([known])
        with pytest.raises(psycopg.Error) as refused:
            old.execute("UPDATE project SET n = 0 WHERE org_id = %s", [known])
        assert refused.value.sqlstate == "SW001"
        old.rollback()


def test_what_a_carrier_leaves_unproven_is_proven_by_the_next(make_changing: MakeChanging) -> None:
    """It died between the decision and the proof: that is made up for before anything is brought back. And of the share
    that was ordered, no tenant more is switched than before."""
    arena = make_changing(1, 1, tenants=4)
    run = arena.begin()

    def die() -> None:
        raise psycopg.OperationalError("died")

    with at("before Follower._keep 1", die) as was:
        arena.switch(share=0.5)
    assert was.is_set()
    assert len(arena.at_green) == 2
    assert "died; waits for it" in arena.story(run)
    arena.require_proven()
    arena.require_one_side()


def test_a_finish_waits_for_whoever_came_late(make_changing: MakeChanging) -> None:
    """Blue is not let go while a tenant is there."""
    arena = make_changing(1, 1, tenants=2)
    arena.begin()
    arena.switch()
    late = str(uuid.uuid4())
    arena.place(late, "blue_0")
    arena.finish()
    assert arena.placement(late) == "green_0"


def test_an_error_at_everybodys_switch_shuts_nobody_out(make_changing: MakeChanging) -> None:
    """Blue takes new tenants and shared rows again before the run is parked."""
    arena = make_changing(1, 1, tenants=1)
    arena.begin()

    def fail() -> None:
        raise errors.BadTenantId(tenant="x", why="the test says so")

    fleet = arena.project.fleet()
    run, _ = fleet.switch_bluegreen()
    with at("before Switching._decide_everybody 1", fail):
        status = arena.carry(run)
    assert status.run.state == "parked", arena.story(run)
    assert arena.refused("blue_0", "UPDATE plan SET price = 1") is None
    with arena.board() as board:
        board.resume(run)
    arena.come_to(run, "switched")
    arena.require_one_side()
    assert arena.refused("blue_0", "UPDATE plan SET price = 2") == "SW001"
