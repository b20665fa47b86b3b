"""The checks together: silent where nothing is wrong, all of them in the list, nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardwright import errors
from shardwright.bluegreen.preflight import check as check_list
from shardwright.bluegreen.preflight.check import CHECKS, preflight
from shardwright.config import FleetConfig
from shardwright.fleet import Fleet
from shardwright.move.preflight.finding import Finding
from two_sets import Sets

NO_CHECKS = {"check", "estimate", "ground", "__init__"}


def told(sets: Sets, **options: bool) -> list[tuple[str, str]]:
    """What all checks find."""
    with sets.ground(**options) as ground:
        return [(each.severity, each.check) for each in preflight(ground)]


def test_nothing_is_wrong(sets: Sets) -> None:
    """Green shards that are there, empty and at their revision: silence, but for the room that they need."""
    assert told(sets) == [("note", "disk")]


def test_nothing_is_wrong_where_green_is_not_there_yet(sets: Sets) -> None:
    """All is asked of a scratch database, which is gone afterwards; no shard was made."""
    sets.drop("green_0", "green_1")
    before = sets.sql("postgres", "SELECT datname FROM pg_database ORDER BY 1")
    assert told(sets) == [("note", "disk")]
    assert sets.sql("postgres", "SELECT datname FROM pg_database ORDER BY 1") == before


def test_nothing_is_wrong_where_two_become_one(sets: Sets) -> None:
    """A merge of shards whose ids never met."""
    sets.green, sets.lines = ("green_0",), 'placement = "least_loaded"'
    assert told(sets) == [("note", "disk")]


def test_a_green_shard_that_is_to_be_migrated_is_not_asked(sets: Sets) -> None:
    """It is on the way to its revision: fit, and what it will be is asked of a scratch database."""
    sets.drop("green_0", "green_1")
    for shard in sets.green:
        sets.sql("postgres", f"CREATE DATABASE {sets.database(shard)}")
    assert told(sets) == [("note", "disk")]
    assert sets.sql("green_0", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_every_file_with_a_check_is_in_the_list() -> None:
    """Nobody writes a check that is never made; each is named as its file is."""
    files = {file.stem for file in Path(str(check_list.__file__)).parent.glob("*.py")} - NO_CHECKS
    own = {each.name.replace("-", "_") for each in CHECKS if "bluegreen" in each.find.__module__}
    assert own == files


def test_nothing_is_changed(sets: Sets) -> None:
    """A preflight leaves every shard as it was: no object, no row, no number drawn."""
    traces = """SELECT (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_proc), (SELECT count(*) FROM tasks),
                       (SELECT last_value FROM tasks_id_seq), (SELECT count(*) FROM pg_namespace)"""
    shards = ("blue_0", "blue_1", "green_0", "green_1")
    before = [sets.sql(shard, traces) for shard in shards]
    told(sets)
    assert [sets.sql(shard, traces) for shard in shards] == before


def test_the_plan_has_it_all(sets: Sets) -> None:
    """Findings, where each tenant goes, rows, and how long it will take."""
    plan = sets.project.fleet().plan_bluegreen()
    assert plan.tenants == {"1": "green_0", "2": "green_0", "3": "green_1"}
    assert [each.check for each in plan.findings] == ["disk"]
    shown = plan.as_dict()
    assert shown["estimate"]["rows"] == shown["rows"] >= 3 * (1 + 3 + 10)  # and comments, by statistics
    fast, slow = shown["estimate"]["seconds"]
    assert 0 < fast < slow < 60
    assert 0 < shown["estimate"]["write_gap"] < 5


def test_a_plan_with_errors_is_not_begun(sets: Sets) -> None:
    """Nothing of a change is anywhere."""
    sets.sql("green_0", "INSERT INTO plans VALUES ('mine', 1)")
    fleet = sets.project.fleet()
    plan = fleet.plan_bluegreen()
    assert [each.check for each in plan.errors] == ["green-empty"], plan.errors
    with pytest.raises(errors.ChangeRefused, match="green_0 has rows already in plans"):
        fleet.start_bluegreen(plan)
    assert sets.sql("control", "SELECT count(*) FROM shardwright.bluegreen") == [(0,)]


def test_every_error_is_mended_by_its_cure(sets: Sets) -> None:
    """Many things are wrong at once; an operator runs what is printed, and the plan is sound."""
    sets.carrier()
    sets.sql("green_0", "INSERT INTO plans VALUES ('mine', 1)")
    sets.sql("green_1", "INSERT INTO plans VALUES ('free', 0); INSERT INTO orgs VALUES (7, 'seven', 'free')")
    for _ in range(4):  # what one right hides the next look shows
        found = [each for each in _plan(sets) if each.severity == "error"]
        if not found:
            break
        for each in found:
            if each.shard is None or not each.cure.split()[0].isupper():
                continue
            for statement in each.cure.split("; "):
                sets.sql(each.shard, statement)
    assert [each for each in _plan(sets) if each.severity == "error"] == []


def _plan(sets: Sets) -> list[Finding]:
    with sets.ground() as ground:
        return preflight(ground)


def test_a_check_without_its_shard_is_told(sets: Sets) -> None:
    """A blue shard that is away is named, and nothing is planned."""
    sets.drop("blue_1")
    fleet: Fleet = sets.project.fleet()
    assert isinstance(fleet.resolved, FleetConfig)
    with pytest.raises(errors.ShardsSilent, match="blue_1 can't be asked"):
        fleet.plan_bluegreen()
