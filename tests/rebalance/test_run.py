"""A rebalance as it runs: under traffic, over changes of the fleet, back and to its end."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

from kit import until
from points import at
from rebalances import ONE_BY_ONE, MakeEstate
from shardwright import errors
from shardwright.bluegreen.store import Changes
from shardwright.rebalance.carriers import Carriers
from shardwright.rebalance.rounds import Rounds


def test_a_skewed_fleet_is_balanced_under_traffic_and_nothing_is_lost(make_estate: MakeEstate) -> None:
    """Every tenant is where the plan has it, every acknowledged write is there once, and the sources are clean."""
    estate = make_estate()
    estate.write()
    proposal = estate.plan()
    assert proposal.plan.before.imbalance > 1
    run = estate.start()
    found = estate.carry(run)
    assert (found.run.state, found.rebalance.phase, found.exit_code) == ("waiting", "moved", 0), estate.story(run)
    planned = {line.tenant: line.target for line in proposal.lines}
    places = {tenant: estate.placement(tenant) for tenant in planned}
    assert places == planned
    estate.go_on()
    found = estate.project.fleet().finish_rebalance()
    assert (found.run.state, found.rebalance.phase, found.exit_code) == ("finished", "done", 0), estate.story(run)
    assert {line.state for line in found.lines} == {"kept"}
    estate.require_all()


def test_an_undo_takes_everybody_home_with_what_was_written_since(make_estate: MakeEstate) -> None:
    """After the switch of all of them; nothing of any move is left, and a new rebalance can begin."""
    estate = make_estate()
    before = estate.places
    estate.write()
    run = estate.start()
    estate.carry(run)
    assert estate.places != before
    estate.go_on()
    found = estate.project.fleet().undo_rebalance()
    assert (found.run.state, found.rebalance.phase, found.exit_code) == ("cancelled", "undone", 0), estate.story(run)
    assert {line.state for line in found.lines} == {"returned"}
    assert estate.places == before
    estate.require_all()
    assert estate.plan().lines


def test_a_cancelled_rebalance_begins_nothing_more_and_leaves_what_is_switched(make_estate: MakeEstate) -> None:
    """What is under way stays where it is, what was moved stays moved and can still be taken back."""
    estate = make_estate(extra=ONE_BY_ONE)
    before = estate.places
    estate.write()
    run = estate.start()
    with at("after start.start_move 2", lambda: estate.project.fleet().ask_cancel_rebalance()) as was:
        found = estate.carry(run)
    assert was.is_set(), estate.story(run)
    assert (found.run.state, found.rebalance.phase) == ("waiting", "moved"), estate.story(run)
    assert [line.state for line in found.lines] == ["moved", "returned"] + ["dropped"] * (len(found.lines) - 2)
    moved = found.lines[0]
    assert estate.places == {**before, estate.name_of(moved.tenant): moved.target}
    estate.project.fleet().undo_rebalance()
    assert estate.places == before
    estate.require_all()


def test_who_waits_for_his_turn_is_not_begun_by_a_rebalance_that_is_paused(make_estate: MakeEstate) -> None:
    """What is under way comes to its switch first; resumed, it goes on."""
    estate = make_estate(extra=ONE_BY_ONE)
    run = estate.start()
    with at("after start.start_move 1", lambda: estate.project.fleet().pause(run)):
        found = estate.carry(run)
    assert found.run.state == "paused", estate.story(run)
    assert [line.state for line in found.lines][:2] == ["moved", "planned"]
    estate.project.fleet().resume(run)
    found = estate.carry(run)
    assert {line.state for line in found.lines} == {"moved"}, estate.story(run)


# --- what has changed meanwhile -------------------------------------------------------------------


@pytest.mark.faults
def test_a_tenant_that_was_moved_by_hand_is_planned_around(make_estate: MakeEstate) -> None:
    """Before its turn came: the rest is planned anew, and it stays where the operator has put it."""
    estate = make_estate(extra=ONE_BY_ONE)
    estate.write()
    run = estate.start()
    last = estate.lines(run)[-1]
    (there,) = {"shard_0", "shard_1", "shard_2"} - {last.source, last.target}

    def by_hand() -> None:
        estate.project.fleet().move(last.tenant, there)
        estate.project.fleet().finish_move(last.tenant)

    with at("after start.start_move 1", by_hand) as was:
        found = estate.carry(run)
    assert was.is_set()
    assert found.rebalance.phase == "moved", estate.story(run)
    assert any("planned anew" in text and f"is on {there}" in text for text in estate.messages(run)), estate.story(run)
    assert next(line.state for line in found.lines if line.number == last.number) == "dropped"
    estate.project.fleet().finish_rebalance()
    estate.require_all()


def test_a_shard_that_has_filled_up_meanwhile_gets_nobody(make_estate: MakeEstate) -> None:
    """The disk is looked at by the true sizes before every round: what is left goes elsewhere, or stays."""
    estate = make_estate(extra=ONE_BY_ONE)
    estate.limit_disk(room=20_000_000)
    run = estate.start()
    assert len(estate.lines(run)) > 1

    def fill_up() -> None:
        estate.ask(
            "shard_1", "CREATE TABLE ballast AS SELECT repeat(md5(g::text), 40) FROM generate_series(1, 20000) AS g"
        )

    with at("after start.start_move 1", fill_up):
        found = estate.carry(run)
    assert any("high-water" in text for text in estate.messages(run)), estate.story(run)
    assert [line.state for line in found.lines] == ["moved"] + ["dropped"] * (len(found.lines) - 1)


@pytest.mark.faults
def test_a_tenant_that_the_preflight_refuses_is_named_and_the_others_go(make_estate: MakeEstate) -> None:
    """The run ends with 1, the tenant stays, and is not planned again."""
    estate = make_estate(extra=ONE_BY_ONE)
    estate.write()
    run = estate.start()
    first = estate.lines(run)[0]
    estate.ask(first.target, "INSERT INTO org VALUES (%s, 1, 'free')", first.tenant)  # somebody of that id is there
    found = estate.carry(run)
    (refused,) = found.amiss
    assert (refused.tenant, refused.state, found.exit_code) == (first.tenant, "refused", 1), estate.story(run)
    assert "can't be moved" in (refused.note or "")
    assert found.counts["moved"]
    assert [line.number for line in found.lines if line.tenant == first.tenant] == [first.number]
    estate.ask(first.target, "DELETE FROM org WHERE id = %s", first.tenant)
    found = estate.project.fleet().finish_rebalance()
    assert (found.rebalance.phase, found.exit_code) == ("done", 1), estate.story(run)
    assert found.counts["kept"] == len(found.moves) - 1, estate.story(run)
    estate.require_all()


@pytest.mark.faults
def test_a_move_that_fails_is_named_and_the_others_go(make_estate: MakeEstate) -> None:
    """It is parked with its reason, its tenant works on where it is; an undo takes it back with the others."""
    estate = make_estate(extra=ONE_BY_ONE)
    before = estate.places
    estate.write()
    run = estate.start()

    def break_it() -> None:
        raise ValueError("the test breaks it")

    with at("before compare.compare 1", break_it) as was:
        found = estate.carry(run)
    assert was.is_set()
    (failed,) = found.amiss
    assert (failed.state, found.exit_code) == ("failed", 1), estate.story(run)
    assert "the test breaks it" in (failed.note or "")
    assert found.counts["moved"]
    found = estate.project.fleet().undo_rebalance()
    assert (found.rebalance.phase, found.exit_code) == ("undone", 0), estate.story(run)
    assert estate.places == before
    estate.require_all()


# --- windows --------------------------------------------------------------------------------------


def test_moves_are_begun_within_windows_only(make_estate: MakeEstate) -> None:
    """Outside of them the rebalance waits and says until when; what is under way is not kept waiting."""
    estate = make_estate(extra=f'{ONE_BY_ONE}\nwindows = ["daily 01:00-02:00"]')
    run = estate.start()
    context = estate.context(run)
    now = datetime(2026, 1, 1, 0, 59, tzinfo=UTC)
    with Carriers(context) as carriers:
        rounds = Rounds(context, carriers, lambda: now)
        assert [rounds.turn(), rounds.turn()] == [False, False]
        assert estate.messages(run) == ["the next move is begun at Thu 2026-01-01 01:00 UTC: windows"]
        assert {line.state for line in estate.lines(run)} == {"planned"}
        now += timedelta(minutes=1)
        assert not rounds.turn()
        assert [line.state for line in estate.lines(run)][:2] == ["begun", "planned"]
        now += timedelta(hours=1)
        until(lambda: rounds.turn() or estate.lines(run)[0].state == "moved", seconds=60)
        assert [line.state for line in estate.lines(run)][:2] == ["moved", "planned"]


# --- who may, and who carries ---------------------------------------------------------------------


def test_rebalances_and_changes_of_a_set_exclude_each_other(make_estate: MakeEstate) -> None:
    """One is refused as long as the other's way back is open, with what ends it."""
    estate = make_estate()
    proposal, fleet = estate.plan(), estate.project.fleet()
    run = fleet.start_rebalance(proposal)
    with pytest.raises(errors.RebalanceUnderWay, match=f"rebalance {run} is open"):
        fleet.start_rebalance(proposal)
    with pytest.raises(errors.RebalanceUnderWay):
        estate.plan()
    with estate.board() as board, pytest.raises(errors.MovesUnderWay):
        Changes(board._connection, "main").create(run, [("shard_0", "shard_1")], {})
    fleet.ask_cancel_rebalance()
    assert fleet.rebalance_status().rebalance.phase == "undone"  # nothing had begun
    assert {line.state for line in estate.lines(run)} == {"dropped"}
    assert fleet.start_rebalance(proposal) > run


def test_a_role_that_owns_the_tables_and_is_no_superuser_is_enough(make_estate: MakeEstate) -> None:
    """It measures, plans, moves and cleans with the rights that a move needs."""
    estate = make_estate({"shard_0": (60, 50, 40)})
    estate.belong_to(f"balancer_{os.getpid()}")
    estate.write()
    run = estate.start()
    found = estate.carry(run)
    assert (found.exit_code, found.counts["moved"]) == (0, 2), estate.story(run)
    estate.project.fleet().finish_rebalance()
    estate.require_all()


@pytest.mark.faults
def test_workers_carry_the_moves_where_there_are_any(make_estate: MakeEstate) -> None:
    """The rebalance leaves each move to them for a moment; one that none has taken it carries itself."""
    estate = make_estate(extra=ONE_BY_ONE)
    run = estate.start()
    with estate.worker(), estate.worker():
        until(lambda: estate.project.fleet().rebalance_status().rebalance.phase == "moved", seconds=90)
    with estate.board() as board:
        workers = {event.data.get("reason") for line in estate.lines(run) for event in board.events(line.run or 0)}
    assert "a worker has a place for it" in workers
