"""Drift: shards that are not what their revision says, found and named object by object."""

from __future__ import annotations

import itertools
import json
import threading

import psycopg
import pytest
from psycopg.errors import CannotConnectNow, ConnectionTimeout, OperationalError

from kit import MakeProject, Project
from shardwright import errors
from shardwright.catalog.ask import ask_each
from shardwright.cli.commands.check import check_lines
from shardwright.cli.words import schema_lines
from shardwright.config import parse_url
from shardwright.embedded import Cluster
from shardwright.migration import drift
from shardwright.migration.drift import SchemaReading, compare
from shardwright.monitor.check import FleetCheck
from shardwright.pg.faults import Fault
from shardwright.pg.fingerprint import Difference, Fingerprint, SchemaObject, fingerprint
from shardwright.shard import Shard

TASKS = "CREATE TABLE tasks (id integer PRIMARY KEY, title text)"
PRIORITY = "ALTER TABLE tasks ADD priority integer"


def at_r1(project: Project) -> Project:
    """Every shard is at the only revision, with the table `tasks`."""
    project.table("r1", "tasks")
    project.stamp("r1", TASKS)
    return project


def told(project: Project) -> list[str]:
    """What `check` says, line by line."""
    return [text for text, _ in check_lines(project.fleet().check())]


# --- on real databases ------------------------------------------------------------------------


def test_shards_that_are_alike_are_one_group_and_well(make_project: MakeProject) -> None:
    """One revision, one schema: exit 0, and nothing to tell but that."""
    found = at_r1(make_project(shards=2)).fleet().check()
    schemas = found.schemas
    (group,) = schemas.groups
    assert (group.revision, group.shards) == ("r1", ("shard_0", "shard_1"))
    assert (schemas.are_alike, found.exit_code, schemas.drifts) == (True, 0, ())
    assert [text for text, _ in check_lines(found)] == [
        f"✓ revision r1, schema {group.schema.short}: 2 shards (shard_0, shard_1)"
    ]


@pytest.mark.parametrize(
    ("by_hand", "line"),
    [
        (PRIORITY, "column public.tasks.priority: only here: integer"),
        ("ALTER TABLE tasks DROP title", "column public.tasks.title: missing here; elsewhere: text"),
        (
            "ALTER TABLE tasks ALTER id TYPE bigint",
            "column public.tasks.id: bigint NOT NULL here, integer NOT NULL elsewhere",
        ),
        ("CREATE TABLE notes (id integer PRIMARY KEY, body text)", "table public.notes: only here: TABLE"),
        ("CREATE SCHEMA audit", "schema audit: only here"),
    ],
)
def test_what_was_done_by_hand_on_one_shard_is_named(make_project: MakeProject, by_hand: str, line: str) -> None:
    """The odd shard and the object, with what it is on either side; a table stands for its columns."""
    project = at_r1(make_project(shards=3))
    project.sql("shard_2", by_hand)
    assert told(project)[1:] == [f"✗ shard_2: {line}"]
    assert project.fleet().check().exit_code == 1


def test_the_majority_decides_who_is_odd(make_project: MakeProject) -> None:
    """What most shards have is usual, even where it was not the revision that brought it."""
    project = at_r1(make_project(shards=3))
    for shard in ("shard_1", "shard_2"):
        project.sql(shard, PRIORITY)
    assert told(project)[1:] == ["✗ shard_0: column public.tasks.priority: missing here; elsewhere: integer"]


def test_an_even_split_names_both_sides(make_project: MakeProject) -> None:
    """With one against one nobody can say who is right."""
    project = at_r1(make_project(shards=2))
    project.sql("shard_1", PRIORITY)
    assert told(project)[1:] == [
        "✗ revision r1: shard_1 and shard_0 differ, and no schema has the most shards",
        "✗ column public.tasks.priority: integer on shard_1; missing on shard_0",
    ]


def test_several_revisions_are_skew_and_not_drift(make_project: MakeProject) -> None:
    """Shards of different revisions are told apart, and not compared with each other."""
    project = make_project(shards=3)
    project.stamp("r1", TASKS, shards=["shard_0", "shard_2"])
    project.stamp("r2", TASKS, PRIORITY, shards=["shard_1"])
    found = project.fleet().check()
    schemas = found.schemas
    assert (schemas.drifts, found.exit_code) == ((), 1)
    assert schemas.revisions == {"r1": ("shard_0", "shard_2"), "r2": ("shard_1",)}
    assert told(project)[-1].startswith("✗ 2 revisions: r1: 2 shards (shard_0, shard_2); r2: 1 (shard_1)")


def test_a_shard_out_of_reach_is_named_and_the_others_are_compared(make_project: MakeProject, dead_url: str) -> None:
    """It is listed with the reason, never left out; and not every shard is well then."""
    project = at_r1(make_project(shards=3))
    project.sql("shard_2", PRIORITY)
    project.shards["shard_9"] = dead_url
    project.write()
    found = project.fleet().check()
    schemas = found.schemas
    (unread,) = found.unread
    assert (unread.shard, unread.state, found.exit_code) == ("shard_9", None, 1)
    assert "Connection refused" in unread.fault.reason
    assert [each.odd.shards for each in schemas.drifts] == [("shard_2",)]


def test_a_shard_whose_schema_is_locked_says_so_soon(make_project: MakeProject) -> None:
    """Nobody waits long for a migration elsewhere; its revision is known all the same."""
    project = at_r1(make_project(shards=2))
    project.sql("shard_0", "CREATE INDEX by_title ON tasks (title)")
    with project.holding("shard_0", "LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE"):
        (unread,) = project.fleet().check().unread
    assert (unread.shard, unread.state) == ("shard_0", ("r1",))
    assert "lock timeout" in unread.fault.reason
    assert "shardwright check" in unread.fault.hint


def test_a_revision_that_changes_while_the_schema_is_read_is_no_drift(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schema read between a migration's two commits belongs to neither revision."""

    def migrated_meanwhile(connection: psycopg.Connection[tuple[object, ...]]) -> Fingerprint:
        connection.execute("UPDATE alembic_version SET version_num = 'r2'")
        return fingerprint(connection)

    project = at_r1(make_project(shards=1))
    monkeypatch.setattr(drift, "fingerprint", migrated_meanwhile)
    (unread,) = project.fleet().check().unread
    assert (unread.state, unread.fault.reason) == (("r2",), "its revision changed while its schema was read")


def test_only_the_shards_asked_for_are_read(make_project: MakeProject) -> None:
    """`--shards` chooses as everywhere."""
    project = at_r1(make_project(shards=3))
    project.sql("shard_2", PRIORITY)
    assert project.fleet().check(shards="shard_0,shard_1").is_well
    with pytest.raises(errors.NoSuchShard):
        project.fleet().check(shards="nobody")


def test_status_with_schema_takes_drift_for_not_well(make_project: MakeProject) -> None:
    """Every revision may be right and the exit code still be 1: a revision table does not prove a schema."""
    project = at_r1(make_project(shards=3))
    assert (project.fleet().status().exit_code, project.fleet().schema().exit_code) == (0, 0)
    project.sql("shard_2", PRIORITY)
    result = project.fleet().schema()
    assert (result.status.exit_code, result.exit_code) == (0, 1)
    assert [group["shards"] for group in result.as_dict()["groups"]] == [["shard_0", "shard_1"], ["shard_2"]]
    assert [each["status"] for each in result.as_dict()["shards"]] == ["up_to_date"] * 3


def test_the_command_line_tells_it_in_words_and_in_json(make_project: MakeProject, dead_url: str) -> None:
    """Both carry the group, the difference and the shard out of reach; the exit code is 1."""
    project = at_r1(make_project(shards=3))
    project.sql("shard_2", PRIORITY)
    project.shards["shard_9"] = dead_url
    project.write()
    words, document = project.cli("check"), project.cli("check", "--json")
    assert (words.returncode, document.returncode) == (1, 1)
    assert "✗ shard_2: column public.tasks.priority: only here: integer" in words.stdout
    assert words.stdout.splitlines()[-1] == "4 shards: 1 revision, 2 schemas, 1 not read"
    found = json.loads(document.stdout)
    assert found["differences"][0]["shards"] == ["shard_2"]
    assert found["differences"][0]["objects"] == [
        {"kind": "column", "name": "public.tasks.priority", "here": "integer", "elsewhere": None}
    ]
    assert (found["alike"], found["unread"][0]["shard"]) == (False, "shard_9")
    grouped = project.cli("status", "--schema")
    assert grouped.returncode == 1
    assert grouped.stdout.count("shard_9") == 1
    assert ": 2 shards (shard_0, shard_1); schema " in grouped.stdout


def test_reading_changes_nothing(make_project: MakeProject, cluster: Cluster) -> None:
    """No shard gets a schema of ours, and the control database is not even asked."""
    project = at_r1(make_project(shards=1))
    project.control = cluster.url("never_made")
    project.write()
    assert project.fleet().check().exit_code == 0
    assert project.sql("shard_0", "SELECT 1 FROM pg_namespace WHERE nspname = 'shardwright'") == []


# --- pure -------------------------------------------------------------------------------------


def schema(**columns: str) -> Fingerprint:
    """A schema of one table with these columns."""
    objects = tuple(SchemaObject("column", f"public.t.{name}", kind) for name, kind in sorted(columns.items()))
    return Fingerprint(repr(objects).encode().hex()[-64:], objects)


def reading(state: str, has: Fingerprint, major: int = 17) -> SchemaReading:
    """What a shard says that can be read."""
    return SchemaReading((state,), schema=has, major=major)


ONE, TWO, THREE = schema(a="text"), schema(a="integer"), schema(a="date")


def test_the_order_of_the_readings_does_not_matter() -> None:
    """Whoever answers first, the same schema is the usual one, and the names come as people count."""
    readings = {"s10": reading("r1", ONE), "s2": reading("r1", ONE), "s1": reading("r1", TWO), "s3": reading("r2", TWO)}
    found = [compare(dict(order)) for order in itertools.permutations(readings.items())]
    assert all(each == found[0] for each in found)
    assert [(group.revision, group.shards) for group in found[0].groups] == [
        ("r1", ("s2", "s10")),
        ("r1", ("s1",)),
        ("r2", ("s3",)),
    ]
    assert found[0].drifts[0].objects == (Difference("column", "public.t.a", "integer", "text"),)


def test_major_versions_are_compared_apart() -> None:
    """PostgreSQL 15 prints some objects in another way than 16 to 18: that is no drift."""
    schemas = compare({"s1": reading("r1", ONE, 15), "s2": reading("r1", TWO, 16), "s3": reading("r1", TWO, 16)})
    assert (schemas.drifts, schemas.exit_code) == ((), 0)
    assert [text.split(", schema")[0] for text, _ in schema_lines(schemas)] == [
        "✓ revision r1 on PostgreSQL 15",
        "✓ revision r1 on PostgreSQL 16",
    ]


def test_three_against_three_is_even_for_every_other_schema() -> None:
    """Where two schemas share the first place, no third is called odd either."""
    readings = {f"s{n}": reading("r1", has) for n, has in enumerate([ONE, ONE, TWO, TWO, THREE])}
    assert [(each.odd.shards, each.is_even) for each in compare(readings).drifts] == [
        (("s2", "s3"), True),
        (("s4",), True),
    ]


def test_a_large_fleet_is_told_by_its_odd_shards() -> None:
    """197 alike are a number; the three that are not are names."""
    readings = {f"s{n}": reading("r1", TWO if n in {7, 8, 100} else ONE) for n in range(200)}
    ((text, style),) = schema_lines(compare(readings))
    assert text == f"✗ revision r1, schema {ONE.short}: 197 shards; schema {TWO.short}: 3 (s7, s8, s100)"
    assert style == "red"


def test_a_shard_that_was_not_read_counts_with_its_revision() -> None:
    """Version skew shows also in a shard whose schema could not be had."""
    schemas = compare({"s1": reading("r1", ONE), "s2": SchemaReading(("r0",), Fault("locked"))})
    assert schemas.revisions == {"r0": ("s2",), "r1": ("s1",)}
    assert schemas.as_dict()["unread"] == [{"shard": "s2", "revision": "r0", "error": "locked", "hint": None}]


@pytest.mark.parametrize(
    ("here", "there", "words"),
    [
        ("a  b", "a b", "'a  b' here, 'a b' elsewhere"),
        ("x" * 200 + "1", "x" * 200 + "2", f"…{'x' * 20}1 here, …{'x' * 20}2 elsewhere"),
        ("x" * 120, "x" * 120 + " y", f"…{'x' * 20} here, …{'x' * 20} y elsewhere"),
    ],
)
def test_long_definitions_are_shown_where_they_part(here: str, there: str, words: str) -> None:
    """One line an object, and the difference is on it: also one of white space only."""
    odd, usual = schema(a=here), schema(a=there)
    schemas = compare({"s0": reading("r", usual), "s1": reading("r", usual), "s2": reading("r", odd)})
    assert list(check_lines(FleetCheck(schemas=schemas)))[1][0] == f"✗ s2: column public.t.a: {words}"


def test_a_host_is_asked_over_no_more_connections_than_its_budget() -> None:
    """However many shards live there; and as many as that at once."""
    shards = [Shard(f"s{n}", parse_url(f"postgresql://h/s{n}"), {}) for n in range(8)]
    together, lock, at_work, most = threading.Barrier(2, timeout=30), threading.Lock(), 0, 0

    def ask(shard: Shard) -> str:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        together.wait()
        with lock:
            at_work -= 1
        return shard.name

    answers = ask_each(shards, ask, connections_per_host=2)
    assert (answers, most) == ({shard.name: shard.name for shard in shards}, 2)


@pytest.mark.parametrize(
    ("error", "asked"), [(ConnectionTimeout, ["s0", "t0"]), (CannotConnectNow, ["s0", "s1", "t0"])]
)
def test_a_host_that_does_not_answer_is_asked_once(
    error: type[OperationalError], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its other shards are away for the same reason; one whose server refuses says nothing of the others."""
    monkeypatch.setattr("shardwright.catalog.ask._AT_ONCE", 1)
    places = {"s0": "silent", "s1": "silent", "t0": "well"}
    shards = [Shard(name, parse_url(f"postgresql://{host}/{name}"), {}) for name, host in places.items()]
    seen = []

    def ask(shard: Shard) -> str:
        seen.append(shard.name)
        if shard.name.startswith("s"):
            raise error("no answer")
        return "here"

    answers = ask_each(shards, ask, connections_per_host=1, failed=lambda shard, error: f"{shard.name}: {error}")
    assert answers == {"s0": "s0: no answer", "s1": "s1: no answer", "t0": "here"}
    assert seen == asked
