"""A tenant goes to another shard: what each step promises, and what is left when it is taken back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from kit import until
from moves import QUICK, Arena, MakeArena
from points import at, instead
from shardwright import errors
from shardwright.transfer import copy

# In each step, the last of them when all is ready for the switch.
MOMENTS = [
    "before capture.register 1",
    "after capture.install 1",
    "after capture.install 2",
    "before Copy.copy 1",
    "after Copy._note 3",
    "after Copy.copy 1",
    "after compare.compare 1",
]
OF_ANOTHER = "INSERT INTO project VALUES (gen_random_uuid(), %s, 5)"


def mover_of(connection: psycopg.Connection[Any], run: int) -> psycopg.Connection[Any]:
    """The session's writes pass by every trigger of the move, as those of somebody who has disabled them."""
    connection.execute(f"SET shardwright.mover = '{run}'")
    return connection


def aside(arena: Arena, shard: str, run: int, statement: str) -> int:
    """How many rows the statement has changed on that shard, unnoticed."""
    with psycopg.connect(arena.direct[shard], autocommit=True) as connection:
        return mover_of(connection, run).execute(statement).rowcount


# --- there, and back ------------------------------------------------------------------------------


def test_cancelled_in_any_step_before_the_switch_nothing_is_left(make_arena: MakeArena) -> None:
    """No row of the tenant at the target, no trigger, no schema; and it can be moved the next time."""
    arena = make_arena()
    arena.write(routers=1, ignorant=0, acts=QUICK)  # no prepared transaction of its own is taken for one of ours
    for moment in MOMENTS:
        run = arena.start()

        def cancel(run: int = run) -> None:
            with arena.board() as board:
                board.cancel(run)

        with at(moment, cancel) as was:
            status = arena.carry(run)
        assert was.is_set(), moment
        assert (status.run.state, status.move.phase) == ("cancelled", "undone"), arena.story(run)
        assert arena.rows_of_tenant("there") == 0, moment
        arena.require_nothing_left()
    arena.require_all("home")


def test_a_move_cancelled_before_it_was_begun_is_over(make_arena: MakeArena) -> None:
    """The tenant may be moved again."""
    arena = make_arena()
    run = arena.start()
    with arena.board() as board:
        board.cancel(run)
    assert arena.project.fleet().moves() == []
    arena.move()
    arena.finish()


def test_proven_verified_and_finished(make_arena: MakeArena) -> None:
    """The certificate has both sides; a change made by hand on either is found, and nothing is deleted then."""
    arena = make_arena()
    rows = arena.rows_of_tenant("home")
    status = arena.move()
    run, fleet = status.run.id, arena.project.fleet()
    known = status.move.certificate
    assert known is not None
    assert (known["equal"], known["epoch"], known["differences"]) == (True, 2, [])
    assert known["source"] == known["target"] == known["frozen"]
    assert {each["table"]: each["rows"] for each in known["source"]}["task"] == 300
    assert known["fingerprints"][0] == known["fingerprints"][1]
    assert (status.move.write_gap or {})["gap_ms"] > 0
    assert fleet.verify_move(arena.tenant).comparison.is_equal

    assert aside(arena, "there", run, "UPDATE task SET n = -n WHERE n = 7") == 1
    found = fleet.verify_move(arena.tenant).comparison
    [row] = arena.ask("home", "SELECT id::text FROM task WHERE n = 7")
    assert not found.is_equal
    assert f"task: different: ({row[0]})" in map(str, found.differences)
    assert aside(arena, "there", run, "UPDATE task SET n = -n WHERE n = -7") == 1

    assert aside(arena, "home", run, "UPDATE badge SET n = -n WHERE n = 3") == 1
    refused = fleet.finish_move(arena.tenant)
    assert refused.run.state == "parked"
    assert "badge: the source's rows are not what they were" in (refused.run.note or "")
    assert arena.rows_of_tenant("home") == rows
    assert aside(arena, "home", run, "UPDATE badge SET n = -n WHERE n = -3") == 1
    arena.finish()
    arena.require_all("there")
    arena.require_nothing_left()
    with pytest.raises(errors.NoSuchMove):
        fleet.undo_move(arena.tenant)
    with pytest.raises(errors.BadTenantId):
        fleet.move_status("\0")


def test_the_source_is_cleaned_where_only_a_table_without_a_key_was_written_to_since(make_arena: MakeArena) -> None:
    """Such a table is left out of the comparison whole; the certificate has it as the source holds it all the same."""
    arena = make_arena(rows=20)
    with at("before certificate.make 1", lambda: arena.ask("there", _LATE, arena.tenant)) as was:
        arena.move()
    assert was.is_set()
    arena.finish()
    assert (arena.rows_of_tenant("home"), arena.ask("there", "SELECT n FROM log WHERE message = 'late'")) == (0, [(7,)])


_LATE = "INSERT INTO log VALUES (%s, 'late', 7)"


def test_what_was_written_there_comes_home(make_arena: MakeArena) -> None:
    """Undone after the switch, and again: the tenant's rows are those that were written last."""
    arena = make_arena()
    for _ in range(2):
        arena.move()
        arena.ask("there", "UPDATE task SET n = n + 1000 WHERE n < 100")
        arena.ask("there", "DELETE FROM project WHERE org_id = %s AND n = 5", arena.tenant)
        rows = arena.found("there")
        arena.undo()
        arena.require_nothing_left()
        assert arena.found("home") == rows
    assert arena.rows_of_tenant("there") == 0


# --- in the way -----------------------------------------------------------------------------------


def test_the_switch_names_who_is_in_its_way_and_waits(make_arena: MakeArena) -> None:
    """A transaction that is open for long with its process and query, a prepared one with its name."""
    arena = make_arena(rows=30)
    run = arena.start()
    with psycopg.connect(arena.direct["home"], autocommit=True) as other, arena.carrying(run) as carried:
        with psycopg.connect(arena.direct["home"]) as writer:
            until(
                lambda: arena.ask("home", "SELECT count(*) FROM pg_trigger WHERE tgname ~ '^shardwright_'")[0][0] > 30
            )
            pid = writer.info.backend_pid
            writer.execute("UPDATE task SET n = 500 WHERE n = 5")
            until(lambda: any(f"pid {pid}" in told and "SET n = 500" in told for told in arena.messages(run)))
            writer.execute("PREPARE TRANSACTION 'the one'")
            until(lambda: any("the prepared transaction 'the one'" in told for told in arena.messages(run)))
        other.execute("COMMIT PREPARED 'the one'")
        assert carried.result(60).move.phase == "switched", arena.story(run)
    assert arena.ask("there", "SELECT count(*) FROM task WHERE n = 500") == [(1,)]


def test_other_tenants_wait_no_longer_than_the_lock_timeout(make_arena: MakeArena) -> None:
    """While triggers can't be made, since a transaction of theirs is open, and while they are taken away."""
    arena = make_arena(rows=30, lock_timeout='"100ms"')
    arena.write(routers=1, ignorant=0)

    run, told = arena.start(), []

    def hold_up() -> None:
        holder = psycopg.connect(arena.direct["home"])
        holder.execute(OF_ANOTHER, [arena.bystanders["home"][1]])
        told.append(pool.submit(let_go, holder, len(arena.messages(run))))

    def let_go(holder: psycopg.Connection[Any], seen: int) -> None:
        pid = f"pid {holder.info.backend_pid} "
        try:
            until(lambda: any("waits for its lock" in each and pid in each for each in arena.messages(run)[seen:]))
        finally:
            holder.close()

    with ThreadPoolExecutor(1) as pool:
        with at("before capture.install 2", hold_up):
            assert arena.carry(run).move.phase == "switched", arena.story(run)
        with at("before capture.remove 2", hold_up):
            arena.finish()
        assert [each.result(60) for each in told] == [None, None]
    assert arena.slowest_bystander < 2
    arena.require_all("there")


def test_what_nobody_may_do_meanwhile(make_arena: MakeArena) -> None:
    """TRUNCATE, and to change whose a row is; other tenants may do what they like with theirs."""
    arena = make_arena(rows=30)
    arena.move()
    stranger = arena.bystanders["there"][0]
    arena.ask(
        "there", "INSERT INTO project VALUES (gen_random_uuid(), %s, 77), (gen_random_uuid(), %s, 78)", *[stranger] * 2
    )
    arena.ask("there", "INSERT INTO task SELECT gen_random_uuid(), 77, id FROM project WHERE n = 77")
    for statement, code in {
        "TRUNCATE task CASCADE": "SW004",
        "TRUNCATE event_late": "SW004",
        f"UPDATE project SET org_id = '{stranger}' WHERE n = 3": "SW003",
        f"UPDATE project SET org_id = '{arena.tenant}' WHERE n = 77": "SW003",
        f"UPDATE badge SET org_id = '{stranger}' WHERE n = 3": "SW003",
        f"UPDATE seat SET org_id = '{stranger}' WHERE number = -3": "SW003",
        "UPDATE task SET project_id = (SELECT id FROM project WHERE n = 77) WHERE n = 3": "SW003",
        "UPDATE task SET project_id = (SELECT id FROM project WHERE n = 3) WHERE n = 77": "SW003",
        "UPDATE node SET project_id = NULL WHERE project_id IS NOT NULL AND n = 3": "SW003",
    }.items():
        with pytest.raises(psycopg.Error) as refused:
            arena.ask("there", statement)
        assert refused.value.sqlstate == code, statement
    arena.ask("there", "UPDATE task SET project_id = (SELECT id FROM project WHERE n = 78) WHERE n = 77")
    with pytest.raises(psycopg.Error) as refused:
        arena.ask("home", "UPDATE task SET n = 1 WHERE n = 1")
    assert refused.value.sqlstate == "SW001"
    assert f'"tenant" : "{arena.tenant}", "shard" : "there", "epoch" : 2' in (refused.value.diag.message_detail or "")


# --- changes of the schema ------------------------------------------------------------------------


def test_a_schema_that_changes_stops_the_move_before_the_switch(make_arena: MakeArena) -> None:
    """It is parked with the change named; writers go on, and the undo leaves nothing."""
    arena = make_arena(rows=30)
    arena.write(routers=1, ignorant=0)
    run = arena.start()
    with at("after Copy.copy 1", lambda: arena.ask("home", "ALTER TABLE badge ADD COLUMN more text DEFAULT 'x'")):
        status = arena.carry(run)
    assert status.run.state == "parked"
    assert "badge.more" in (status.run.note or "")
    arena.go_on()
    arena.undo()
    arena.require_all("home")
    arena.require_nothing_left()


def test_a_schema_that_changes_while_the_switch_waits(make_arena: MakeArena) -> None:
    """It is noticed all the same: the tenant is not switched to a shard that lacks what it has."""
    arena = make_arena(rows=30)
    run = arena.start()
    with arena.carrying(run) as carried:
        with psycopg.connect(arena.direct["home"]) as writer:
            until(
                lambda: arena.ask("home", "SELECT count(*) FROM pg_trigger WHERE tgname ~ '^shardwright_'")[0][0] > 30
            )
            writer.execute("UPDATE task SET n = 500 WHERE n = 5")
            until(lambda: any(f"pid {writer.info.backend_pid}" in told for told in arena.messages(run)))
            arena.ask("home", "ALTER TABLE badge ADD COLUMN more text DEFAULT 'x'")
        status = carried.result(60)
    assert (status.run.state, status.move.phase) == ("parked", "moving"), arena.story(run)
    assert "badge.more" in (status.run.note or "")
    arena.ask("home", "UPDATE task SET n = 5 WHERE n = 500")
    arena.undo()
    arena.require_nothing_left()


def test_a_schema_that_has_changed_when_a_mover_died_in_the_switch(make_arena: MakeArena) -> None:
    """The flag that it had closed is opened before anything else: nobody is shut out while the run is parked."""
    arena = make_arena(rows=30)
    run = arena.start()

    def die() -> None:
        arena.ask("home", "ALTER TABLE badge ADD COLUMN more text")
        raise psycopg.OperationalError("the mover has died, and another goes on")

    with at("after fence.close_for_writes 1", die):
        status = arena.carry(run)
    assert (status.run.state, status.move.phase) == ("parked", "moving"), arena.story(run)
    assert "badge.more" in (status.run.note or "")
    arena.ask("home", "UPDATE task SET n = -5 WHERE n = 5")
    arena.undo()
    arena.require_nothing_left()


@pytest.mark.parametrize(
    ("by", "meanwhile"),
    [("place", "UPDATE task SET n = n"), ("place", "VACUUM FULL task"), ("hash", "UPDATE task SET n = n")],
)
def test_a_copy_that_fails_goes_on_with_the_shares_it_had(
    make_arena: MakeArena, monkeypatch: pytest.MonkeyPatch, by: str, meanwhile: str
) -> None:
    """Though it would make twice as many of that table by now, and its rows lie elsewhere: none is missing, and none
    is there already. A table that was rewritten is copied anew where its rows were shared out by where they lay."""
    if by == "hash":
        monkeypatch.setattr(copy, "_heap", lambda *_: (None, 0))
    monkeypatch.setattr(copy, "_SMALL", 10)
    monkeypatch.setattr(copy, "_SHARE_ROWS", 60)
    arena = make_arena(rows=200)
    arena.write(routers=1, ignorant=0, acts=QUICK)
    noted: list[copy.Part] = []
    note = copy.Copy._note

    def fail_once(self: copy.Copy, target: Any, part: copy.Part, brought: Any) -> None:
        note(self, target, part, brought)
        if part.table.name.name == "task" and part.share:
            noted.append(part)
            if len(noted) == 3:
                monkeypatch.setattr(copy, "_SHARE_ROWS", 30)
                raise psycopg.OperationalError("the line is cut")

    begin = copy.Copy.copy

    def copy_again(self: copy.Copy) -> Any:
        if noted:
            arena.ask("home", meanwhile)
        return begin(self)

    monkeypatch.setattr(copy.Copy, "_note", fail_once)
    monkeypatch.setattr(copy.Copy, "copy", copy_again)
    arena.move()
    shares = [part.share for part in noted if part.share]
    assert {each.blocks is None for each in shares} == {by == "hash"}
    assert [each.count for each in shares[:3]] == [4] * 3
    assert (shares[-1].count > 4) == (by == "place" and "VACUUM" in meanwhile)
    assert set(shares[-1].siblings) <= set(shares)
    arena.finish()
    arena.require_all("there")


# --- several, and slower --------------------------------------------------------------------------


def test_moves_that_cross_each_other_and_go_beside_each_other(make_arena: MakeArena) -> None:
    """Each tenant is where it was to go, and all is taken away with the last."""
    arena = make_arena(rows=60)
    arena.write(routers=2, ignorant=0)
    others = [(arena.bystanders["home"][1], "there"), (arena.bystanders["there"][1], "home")]
    with ThreadPoolExecutor(3) as pool:
        moves = [pool.submit(arena.project.fleet().move, tenant, to, keep=timedelta(0)) for tenant, to in others]
        arena.move()
        ended = [each.result(100) for each in moves]
    assert [each.move.phase for each in ended] == ["kept", "kept"]
    assert [arena.placement(tenant) for tenant, _ in others] == ["there", "home"]
    arena.finish()
    arena.require_all("there")
    arena.require_nothing_left()


def test_the_throttle_is_heard_while_the_copy_runs(make_arena: MakeArena) -> None:
    """One that would take a day is let go; and however long a part takes, its snapshot lasts as long."""
    arena = make_arena()
    run = arena.start(bytes_per_second=1)
    fleet = arena.project.fleet()

    def in_a_hurry(original: Callable[..., Any]) -> Callable[..., Any]:
        def at_one_moment(copying: Any, reader: Any, *others: Any) -> Any:
            reader.execute("SET idle_in_transaction_session_timeout = '300ms'")
            return original(copying, reader, *others)

        return at_one_moment

    with instead("Copy._at_one_moment", in_a_hurry), arena.carrying(run) as carried:
        until(lambda: (fleet.move_status(arena.tenant).run.progress or {}).get("phase") == "copy")
        assert not carried.done()
        fleet.throttle_move(arena.tenant, {"bytes_per_second": None})
        status = carried.result(60)
    assert status.move.phase == "switched", arena.story(run)
    assert {step.name: step.attempts for step in status.steps}["copy"] == 1, arena.story(run)


def test_a_comparison_waits_for_the_slower_side(make_arena: MakeArena) -> None:
    """However much longer one shard takes for a table than the other."""
    arena = make_arena(rows=30)
    run = arena.start()
    busy = """SELECT count(*) FROM pg_stat_activity
              WHERE pid = %s AND (state = 'active' OR state_change > now() - interval '400 ms')"""

    def in_a_hurry(original: Callable[..., Any]) -> Callable[..., Any]:
        def compare(source: Any, target: Any, *others: Any, **options: Any) -> Any:
            source.execute("SET idle_in_transaction_session_timeout = '200ms'")
            pid = source.info.backend_pid
            with ThreadPoolExecutor(1) as pool, arena.project.holding("there", "LOCK TABLE task") as holder:
                comparing = pool.submit(original, source, target, *others, **options)
                until(lambda: not arena.ask("home", busy, pid)[0][0])
                holder.rollback()
                return comparing.result(30)

        return compare

    with instead("compare.compare", in_a_hurry):
        status = arena.carry(run)
    assert status.move.phase == "switched", arena.story(run)
    assert {step.name: step.attempts for step in status.steps}["compare"] == 1, arena.story(run)


def test_the_write_gap_in_the_data_is_the_tenants(make_arena: MakeArena) -> None:
    """Rows of another tenant whose parents were deleted before them have no part in it."""
    arena = make_arena(rows=30)
    stranger = arena.bystanders["there"][0]
    arena.ask("there", "INSERT INTO project VALUES (gen_random_uuid(), %s, 77)", stranger)
    arena.ask("there", "INSERT INTO task SELECT gen_random_uuid(), 77, id FROM project WHERE n = 77")

    def write() -> None:
        arena.ask("there", "DELETE FROM project WHERE n = 77")
        arena.ask("home", "UPDATE project SET n = n WHERE org_id = %s", arena.tenant)

    with (
        at("after Switch._settle 1", write),
        at("after Switch._go 1", lambda: arena.ask("there", "UPDATE project SET n = n WHERE n = 3")),
    ):
        status = arena.move()
    assert (status.move.write_gap or {})["data_ms"] > 0
