"""While a blue-green change is open: where new tenants go, and what would break into it is refused."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from bank import TENANTS
from greens import Change, with_green
from kit import MakeProject, Project, until
from shardwright import errors
from shardwright.catalog import changes, placement
from shardwright.catalog.control import open_control
from shardwright.catalog.store import hold_open, known_shards, record_shards, set_takes_new, takes_new
from shardwright.fleet import MoveOptions

BLUE, GREEN = ("shard_0", "shard_1"), ("green_0", "green_1")


@pytest.fixture
def project(make_project: MakeProject, make_database: Callable[[], str]) -> Project:
    """Two blue shards and two green ones, no tenant yet."""
    project = make_project(2, extra=TENANTS)
    urls = {name: make_database() for name in GREEN}
    for url in (*project.shards.values(), *urls.values()):
        with psycopg.connect(url, autocommit=True) as shard:
            shard.execute("CREATE TABLE accounts (id text PRIMARY KEY)")
    with_green(project, **urls)
    return project


def switch_new_tenants(project: Project, *, to_green: bool) -> None:
    with psycopg.connect(project.control) as control:
        set_takes_new(control, "main", BLUE, not to_green)
        set_takes_new(control, "main", GREEN, to_green)


def placed(project: Project, tenant: str, shard: str, *, is_there: bool = True) -> None:
    with psycopg.connect(project.control, autocommit=True) as control:
        placement.place(control, "main", tenant, shard, changed_by="test")
    if is_there:
        fleet = project.fleet().resolved
        url = next(each.url for each in fleet.every if each.name == shard)
        with psycopg.connect(url.conninfo, autocommit=True) as connection:
            connection.execute("INSERT INTO accounts VALUES (%s)", [tenant])


# --- new tenants ------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["least_loaded", "modulo"])
def test_new_tenants_go_to_blue_until_the_switch_and_then_to_green(policy: str, project: Project) -> None:
    """By either policy, with a shard named, planned or done: the other side is refused."""
    project.extra = project.extra.replace(TENANTS, f'{TENANTS}\nplacement = "{policy}"')
    project.write()
    fleet = project.fleet()
    for to_green, (ours, theirs) in ((False, (BLUE, GREEN)), (True, (GREEN, BLUE)), (False, (BLUE, GREEN))):
        switch_new_tenants(project, to_green=to_green)
        names = [f"{policy}-{len(fleet.tenants())}-{number}" for number in range(4)]
        assert {fleet.plan_add_tenant(name)[1] for name in names} <= set(ours)
        assert {fleet.add_tenant(name).shard for name in names} == set(ours)
        with pytest.raises(errors.ClosedToNew, match=f"'late' can't be placed: {theirs[0]} takes no new"):
            fleet.plan_add_tenant("late", shard=theirs[0])
        with pytest.raises(errors.ClosedToNew):
            fleet.add_tenant("late", shard=theirs[0])
        assert fleet.add_tenant(f"named-{len(fleet.tenants())}", shard=ours[1]).shard == ours[1]
    with psycopg.connect(project.control) as control:
        set_takes_new(control, "main", BLUE, False)
    with pytest.raises(errors.ClosedToNew, match="no shard of main takes new tenants"):
        fleet.add_tenant("nowhere")


def test_who_closes_a_shard_knows_all_that_it_was_given(project: Project) -> None:
    """A tenant being placed is waited for; one that comes later goes to a shard that is open."""
    with psycopg.connect(project.control) as placing, ThreadPoolExecutor(1) as pool:
        assert hold_open(placing, "main", "shard_0")
        closing = pool.submit(switch_new_tenants, project, to_green=True)
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
        until(lambda: project.sql("control", waits)[0][0])
        placement.place(placing, "main", "early", "shard_0", changed_by="test")
        assert not closing.done()
        placing.commit()
        closing.result()
        assert hold_open(placing, "main", "shard_0") is False
    assert project.fleet().locate("early").shard == "shard_0"
    assert project.fleet().add_tenant("later").shard in GREEN


def test_recording_the_shards_leaves_open_what_is_open(project: Project) -> None:
    """Whoever acts records the shards, before and after the switch; a shard that comes back as blue is open."""
    fleet = project.fleet().resolved
    green = dict.fromkeys(GREEN, False)
    with open_control(fleet.control, application_name="test") as control:
        assert takes_new(control, "main") == {**dict.fromkeys(BLUE, True), **green}
        set_takes_new(control, "main", ["shard_0"], False)
        set_takes_new(control, "main", ["green_0"], True)
        switched = takes_new(control, "main")
        record_shards(control, "main", fleet.shards, fleet.green)
        assert takes_new(control, "main") == switched
        record_shards(control, "main", fleet.shards)
        retired = {each.name for each in known_shards(control, "main") if each.retired_at is not None}
        assert retired == set(GREEN)
        record_shards(control, "main", fleet.shards, fleet.green)
        assert takes_new(control, "main") == switched
        record_shards(control, "main", fleet.shards[1:])
        record_shards(control, "main", fleet.shards)
        assert takes_new(control, "main")["shard_0"] is True
    project.sql("control", "TRUNCATE shardwright.shard")
    assert project.fleet().add_tenant("first").shard in BLUE
    with open_control(fleet.control, application_name="test") as control:
        assert takes_new(control, "main") == {**dict.fromkeys(BLUE, True), **green}


# --- the directory ----------------------------------------------------------------------------


def test_a_tenant_on_green_is_listed_and_located(project: Project) -> None:
    """Green shards are shards of the catalog; only what works on shards keeps to blue."""
    placed(project, "blue", "shard_0")
    placed(project, "gone", "shard_0", is_there=False)
    with psycopg.connect(project.control, autocommit=True) as control:
        placement.move_placement(control, "main", "gone", "shard_0", "green_0", expected_epoch=1, changed_by="test")
    fleet = project.fleet()
    assert (fleet.locate("gone").shard, fleet.locate("gone").epoch) == ("green_0", 2)
    assert [each.tenant for each in fleet.tenants(shard="green_0")] == ["gone"]
    assert [each.tenant for each in fleet.tenants(shard="green_1")] == []
    assert {each.tenant: each.shard for each in fleet.tenants()} == {"blue": "shard_0", "gone": "green_0"}
    assert [each.shard for each in fleet.check_shards()] == list(BLUE)
    with pytest.raises(errors.NoSuchShard):
        fleet.tenants(shard="green_2")


def test_a_sync_is_refused_while_tenants_are_on_two_shards(project: Project) -> None:
    """It would take the copies for tenants; verify leaves out those on their way, and looks at green for the rest."""
    fleet = project.fleet()
    placed(project, "moving", "shard_0")
    change = Change(project)
    change.take_along("moving")
    for attempt in (fleet.sync_tenants, fleet.plan_sync_tenants):
        with pytest.raises(errors.ChangeUnderWay, match=f"blue-green change {change.run} is open") as refused:
            attempt()
        assert "shardwright bluegreen" in refused.value.hint
    assert (fleet.verify_tenants().is_equal, fleet.verify_tenants().comparison.moving) == (True, 1)
    placed(project, "new", "green_0")
    placed(project, "lost", "green_0", is_there=False)
    found = fleet.verify_tenants().comparison
    assert ([each.tenant for each in found.missing.first], found.agreeing) == (["lost"], 1)
    change.enter("undone")
    assert fleet.sync_tenants(forget=True).forgotten == 1


def test_green_shards_that_are_not_made_yet_are_not_asked(project: Project) -> None:
    """Nobody is placed there: the directory is compared with what there is."""
    placed(project, "blue", "shard_0")
    fleet = project.fleet()
    for shard in fleet.resolved.green:
        with psycopg.connect(shard.url.conninfo, autocommit=True) as connection:
            connection.execute("DROP TABLE accounts")
    assert fleet.verify_tenants().is_equal


# --- what excludes what -----------------------------------------------------------------------


def test_no_tenant_is_moved_by_itself_while_a_change_is_open(project: Project) -> None:
    """Planned or started; and after the end of the change it is a question of the move alone."""
    placed(project, "acme", "shard_0")
    change, fleet = Change(project), project.fleet()
    with pytest.raises(errors.ChangeUnderWay, match="no tenant can be moved by itself"):
        fleet.plan_move("acme", MoveOptions(to="shard_1"))
    change.enter("done")
    plan = fleet.plan_move("acme", MoveOptions(to="shard_1"))
    assert plan.target == "shard_1"


def test_a_set_has_one_open_change_and_no_open_move_beside_it(project: Project) -> None:
    """The database sees to it, whoever is the faster of two."""
    first = Change(project)
    with pytest.raises(psycopg.errors.UniqueViolation):
        Change(project)
    insert = (
        "INSERT INTO shardwright.move (run, shard_set, tenant, source, target, epoch, phase)"
        " VALUES (%s, 'main', 'acme', 'shard_0', 'shard_1', 1, %s)"
    )
    with pytest.raises(psycopg.errors.CheckViolation, match="has an open blue-green change"):
        project.sql("control", insert, first.run, "moving")
    first.enter("undone")
    project.sql("control", insert, first.run, "switched")
    with pytest.raises(psycopg.errors.CheckViolation, match="has open moves"):
        Change(project)
    project.sql("control", "UPDATE shardwright.move SET phase = 'kept'")
    second = Change(project)
    with psycopg.connect(project.control) as control:
        assert changes.open_change(control, "main") == second.run
        assert changes.open_change(control, "other") is None
        assert changes.newest_change(control, "main") == changes.Change(second.run, "in_step")


def test_of_a_change_and_a_move_that_begin_at_once_one_does(project: Project) -> None:
    """The second waits for the first to commit, and sees it then."""
    run = Change(project).run
    project.sql("control", "UPDATE shardwright.bluegreen SET phase = 'undone'")
    move = (
        "INSERT INTO shardwright.move (run, shard_set, tenant, source, target, epoch)"
        " VALUES (%s, 'main', 'acme', 'shard_0', 'shard_1', 1)"
    )
    with psycopg.connect(project.control) as moving, ThreadPoolExecutor(1) as pool:
        moving.execute(move, [run])
        beginning = pool.submit(Change, project)
        waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        until(lambda: project.sql("control", waits)[0][0])
        moving.commit()
        with pytest.raises(psycopg.errors.CheckViolation, match="has open moves"):
            beginning.result()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE shardwright.bluegreen SET phase = 'halfway'",
        "UPDATE shardwright.bluegreen SET shard_set = 'nowhere'",
        "INSERT INTO shardwright.bluegreen_tenant (run, tenant, blue, green, epoch) VALUES (-1, 't', 'a', 'b', 1)",
        "INSERT INTO shardwright.bluegreen_tenant (run, tenant, blue, green, epoch) SELECT run, 't', 'a', 'a', 1"
        " FROM shardwright.bluegreen",
        "INSERT INTO shardwright.bluegreen_lane (run, blue, green, lag_seconds) SELECT run, 'a', 'b', -1"
        " FROM shardwright.bluegreen",
        "INSERT INTO shardwright.bluegreen_order (run, kind, by) SELECT run, 'hurry', 'me' FROM shardwright.bluegreen",
        "INSERT INTO shardwright.bluegreen_order (run, kind, by, share) SELECT run, 'switch', 'me', 1.5"
        " FROM shardwright.bluegreen",
        "INSERT INTO shardwright.bluegreen_order (run, kind, by, share, tenants) SELECT run, 'switch', 'me', 1, '{a}'"
        " FROM shardwright.bluegreen",
    ],
)
def test_the_tables_hold_their_writers_to_the_words(statement: str, project: Project) -> None:
    """No phase, lane or order that nobody could read; nothing of a change that is not there."""
    Change(project)
    with pytest.raises(psycopg.IntegrityError):
        project.sql("control", statement)


def test_a_run_cancelled_before_it_began_leaves_no_open_change(project: Project) -> None:
    """There is no step to take back then, which would say so; of one that was built the steps say it."""
    change = Change(project, phase="building")
    project.sql("control", "UPDATE shardwright.run SET state = 'waiting', waits_for = 'x' WHERE id = %s", change.run)
    project.sql("control", "UPDATE shardwright.run SET state = 'queued' WHERE id = %s", change.run)
    cancel = "UPDATE shardwright.run SET state = 'cancelled', finished_at = now() WHERE id = %s"
    project.sql("control", cancel, change.run)
    with psycopg.connect(project.control) as control:
        assert changes.newest_change(control, "main") == changes.Change(change.run, "undone")
