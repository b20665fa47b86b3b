"""The checks together: silent where nothing is wrong, none stopped by another, all of them told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from shardwright import errors
from shardwright.config import FleetConfig
from shardwright.dsn import DatabaseUrl
from shardwright.move.preflight import check as check_list
from shardwright.move.preflight.check import CHECKS, preflight
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground, open_ground
from two_shards import Shards

NO_CHECKS = {"check", "declare", "estimate", "finding", "ground", "probe", "references", "said", "__init__"}


def test_nothing_is_wrong(shards: Shards) -> None:
    """Where nothing stands in a tenant's way every check is silent, but for what each move needs to know."""
    with shards.ground() as ground:
        assert [(each.severity, each.check) for each in preflight(ground)] == [("note", "disk")]


def test_a_mover_without_special_rights_is_enough(shards: Shards) -> None:
    """The owner of the tables with three grants: no superuser."""
    shards.mover(*shards.enough)
    with shards.ground() as ground:
        assert [each for each in preflight(ground) if each.severity != "note"] == []


def test_every_file_with_a_check_is_in_the_list() -> None:
    """Nobody writes a check that is never made; each is named as its file is."""
    files = {file.stem for file in Path(str(check_list.__file__)).parent.glob("*.py")} - NO_CHECKS
    assert sorted(each.name.replace("-", "_") for each in CHECKS) == sorted(files)


def test_nothing_is_changed(shards: Shards) -> None:
    """A preflight leaves both shards as they were: no object, no row, no lock."""
    traces = """SELECT (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_proc), (SELECT count(*) FROM tasks),
                       (SELECT last_value FROM tasks_id_seq), (SELECT count(*) FROM pg_namespace)"""
    before = [shards.sql(shard, traces) for shard in shards.urls]
    with shards.ground() as ground:
        preflight(ground)
        held = ground.source_side.one(sql.SQL("SELECT count(*) FROM pg_locks WHERE locktype IN ('advisory', 'tuple')"))
        assert held == (0,)
    assert [shards.sql(shard, traces) for shard in shards.urls] == before


def test_a_hostile_tenant_id_and_hostile_names(shards: Shards) -> None:
    """Quotes, percent signs and placeholders in ids and names are what they are."""
    shards.both(
        """CREATE TABLE "100%s ""x"" $1" ("o%s" text PRIMARY KEY, "p%" text UNIQUE REFERENCES plans); """
        """CREATE TABLE "%(y)s" ("i%" text PRIMARY KEY, "t%s" text NOT NULL REFERENCES "100%s ""x"" $1", "n%" int)"""
    )
    shards.sql("source", """INSERT INTO "100%s ""x"" $1" VALUES ('a''b%s$1', 'free')""")
    shards.sql("source", """INSERT INTO "%(y)s" VALUES ('1', 'a''b%s$1', 1)""")
    shards.tenants = r"""root = '100%s "x" $1'
key = "t%s"
ignored = ["orgs", "users", "tasks", "comments", "audit"]
shared = ["plans"]"""
    with shards.ground("a'b%s$1") as ground:
        assert [each.check for each in preflight(ground)] == ["disk"]
        assert {each.table.name.name for each in ground.tables} == {'100%s "x" $1', "%(y)s"}


def test_errors_come_first(shards: Shards) -> None:
    """What stops the move is read first; within a severity the checks keep their order."""
    shards.both("ALTER TABLE comments SET UNLOGGED; ALTER TABLE comments DROP CONSTRAINT comments_pkey")
    shards.sql("target", "CREATE TABLE more (id int); ALTER TABLE users ADD COLUMN nick text")
    with shards.ground() as ground:
        severities = [each.severity for each in preflight(ground)]
    assert severities == sorted(severities, key=("error", "warning", "note").index)
    assert set(severities) == {"error", "warning", "note"}


def test_a_check_that_fails_is_an_error_and_the_others_go_on(shards: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be looked at is not taken for well; what was found before counts."""

    @check("error", "note", cure="")
    def broken(ground: Ground) -> Iterator[Finding]:
        """Looks at what is not there."""
        yield broken.note("so far")
        ground.source_side.ask(sql.SQL("SELECT 1 FROM nothing"))

    monkeypatch.setattr(check_list, "CHECKS", (broken, *CHECKS[-1:]))
    with shards.ground() as ground:
        found = preflight(ground)
    assert [(each.severity, each.check) for each in found] == [
        ("error", "broken"),
        ("note", "broken"),
        ("note", "disk"),
    ]
    assert found[0].fact == 'this could not be looked at: relation "nothing" does not exist'


def test_a_lost_connection_ends_it(shards: Shards) -> None:
    """One error and not thirty; never an all-clear."""
    with shards.ground() as ground:
        pid = ground.on_target.info.backend_pid
        shards.sql("target", f"SELECT pg_terminate_backend({pid}, 5000)")
        (finding,) = preflight(ground)
    assert finding.severity == "error"
    assert "could not be looked at" in finding.fact


def test_a_decisive_error_ends_it(shards: Shards) -> None:
    """A move onto itself: nothing else is worth saying."""
    with shards.ground(target="source") as ground:
        assert [each.check for each in preflight(ground)] == ["same-database"]


def test_what_is_allowed_becomes_a_warning(shards: Shards) -> None:
    """By its own word, and no other."""
    shards.both("ALTER TABLE tasks ADD COLUMN image oid")
    with shards.ground() as ground:
        assert [each.severity for each in preflight(ground, allow=["sequences"])] == ["error", "note"]
        assert [each.severity for each in preflight(ground, allow=["large-objects"])] == ["warning", "note"]


def test_a_fleet_without_tenants_is_told_so(shards: Shards) -> None:
    """There is nothing to move."""
    fleet = shards.fleet()
    bare = FleetConfig(fleet.config.model_copy(update={"tenants": None}), fleet.control, fleet.shards)
    with pytest.raises(errors.NoTenants), open_ground(bare, "1", *fleet.shards):
        pass


def test_a_shard_that_does_not_answer(shards: Shards) -> None:
    """The caller is told by the driver's error, before anything was looked at."""
    shards.urls["target"] = DatabaseUrl.parse(shards.urls["target"]).with_database("gone").conninfo
    with pytest.raises(psycopg.OperationalError, match="does not exist"), shards.ground():
        pass


def test_a_finding_as_json() -> None:
    """Every field has its name."""
    assert Finding("error", "keys", "fact", "cure", "shard_1", "word").as_dict() == {
        "severity": "error",
        "check": "keys",
        "fact": "fact",
        "cure": "cure",
        "shard": "shard_1",
        "allow": "word",
    }
