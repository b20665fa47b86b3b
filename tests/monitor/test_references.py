"""[references]: rows that refer to what no shard has are found, wherever both live, however often it stopped."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from psycopg import sql

from kit import MakeProject, Project
from shardwright.errors import BadValue
from shardwright.monitor import references, walk
from shardwright.monitor.references import ReferenceCheck
from shardwright.runs.stopping import StopRequest

PLANS = "CREATE SCHEMA billing; CREATE TABLE billing.plans (code text PRIMARY KEY)"
INVOICES = "CREATE TABLE invoices (id int PRIMARY KEY, plan_code text)"
LINE = '[references]\n"invoices.plan_code" = "billing.plans.code"\n'


def fleet_with(make_project: MakeProject, *statements: str, shards: int = 3, line: str = LINE) -> Project:
    """Shards that have these tables, and one reference."""
    project = make_project(shards, extra=line)
    for shard in project.shards:
        project.sql(shard, "; ".join(statements or (PLANS, INVOICES)))
    return project


def checked(project: Project, **options: Any) -> ReferenceCheck:
    """What became of the one reference."""
    (found,) = project.fleet().check(parts=["references"], **options).references
    return found


def test_a_row_on_another_shard_counts_and_one_nowhere_is_dangling(make_project: MakeProject) -> None:
    """What refers to a row of any shard is well, NULL refers to nothing; the others come with shard, value and key."""
    project = fleet_with(make_project)
    project.sql("shard_2", "INSERT INTO billing.plans VALUES ('gold'), ('it''s, \\\"')")
    project.sql("shard_0", "INSERT INTO invoices VALUES (1, 'gold'), (2, NULL), (3, 'lead'), (4, 'it''s, \\\"')")
    project.sql("shard_1", "INSERT INTO invoices SELECT n, 'tin' FROM generate_series(1, 20) AS n")
    found = checked(project)
    assert (found.rows, found.dangling, found.is_well) == (24, 21, False)
    assert [(each.shard, each.value, each.row) for each in found.examples] == [
        ("shard_0", "lead", "3"),
        ("shard_1", "tin", "1"),
    ]
    done = project.cli("check", "--only", "references")
    assert done.returncode == 1
    assert (
        "✗ invoices.plan_code: 21 of 24 rows refer to no billing.plans.code: 'lead' on shard_0 (row 3)" in done.stdout
    )
    project.sql("shard_0", "INSERT INTO billing.plans VALUES ('lead'), ('tin')")
    assert checked(project).is_well
    assert "✓ invoices.plan_code: 24 rows refer to billing.plans.code" in project.cli("check").stdout


def test_nothing_is_called_dangling_while_a_shard_can_not_be_asked(make_project: MakeProject, dead_url: str) -> None:
    """The row that is referred to may be there: it is undecided, and the shard named."""
    project = fleet_with(make_project)
    project.sql("shard_0", "INSERT INTO invoices VALUES (1, 'gold'), (2, 'lead')")
    project.sql("shard_1", "INSERT INTO billing.plans VALUES ('gold')")
    project.shards["shard_9"] = dead_url
    project.write()
    found = checked(project)
    assert (found.dangling, found.undecided, list(found.unread), found.is_well) == (0, 1, ["shard_9"], False)
    assert "1 row may refer to no billing.plans.code" in project.cli("check").stdout


@pytest.mark.parametrize(
    ("tables", "line", "reason"),
    [
        ("SELECT 1", LINE, "no shard has a table invoices"),
        (INVOICES, LINE, "no shard has a table billing.plans"),
        (
            f"{PLANS}; CREATE TABLE invoices (id int)",
            LINE,
            "invoices has no column plan_code on any shard",
        ),
        (
            f"{PLANS}; CREATE TABLE invoices (plan_code uuid)",
            LINE,
            "billing.plans.code is text on shard_0 and invoices.plan_code is uuid on shard_0",
        ),
    ],
)
def test_a_line_that_can_not_be_meant_is_an_error_that_names_it(
    make_project: MakeProject, tables: str, line: str, reason: str
) -> None:
    """Exit code 78 with the key of the file; the rest of the check is made all the same."""
    project = fleet_with(make_project, tables, shards=1, line=line)
    found = project.fleet().check()
    (reference,) = found.references
    assert isinstance(reference.wrong, BadValue)
    assert reason in str(reference.wrong)
    assert 'references."invoices.plan_code"' in str(reference.wrong)
    assert (found.exit_code, len(found.schemas.groups)) == (78, 1)


def test_a_shard_that_lacks_the_column_still_has_nothing_that_dangles(make_project: MakeProject) -> None:
    """In the middle of a rollout some shards have it and others do not."""
    project = fleet_with(make_project, PLANS, shards=2)
    project.sql("shard_1", INVOICES)
    project.sql("shard_1", "INSERT INTO invoices VALUES (1, 'gold')")
    project.sql("shard_0", "INSERT INTO billing.plans VALUES ('gold')")
    assert checked(project).is_well


@pytest.mark.parametrize(
    ("source", "target", "there", "missing"),
    [
        ("bigint", "smallint", "7", "70000"),
        ("varchar(9)", "char(9)", "a", "b"),
        ("uuid", "uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6ba7b811-9dad-11d1-80b4-00c04fd430c8"),
        ("mood", "mood", "glad", "sad"),
        ("mail", "text", "a@b", "c@d"),
        ("citext", "citext", "GOLD", "lead"),
        ("numeric", "numeric", "1.00", "2"),
        ("timestamptz", "timestamptz", "2026-01-01 00:00+02", "2026-01-02 00:00+02"),
    ],
)
def test_values_of_every_kind_compare_as_their_types_do(
    make_project: MakeProject, source: str, target: str, there: str, missing: str
) -> None:
    """Also where the two columns are not of quite the same type."""
    types = (
        "CREATE EXTENSION citext; CREATE TYPE mood AS ENUM ('sad', 'glad');"
        "CREATE DOMAIN mail AS text CHECK (VALUE LIKE '%@%')"
    )
    tables = f"CREATE TABLE a (id int PRIMARY KEY, v {source}); CREATE TABLE b (v {target})"
    project = fleet_with(make_project, types, tables, shards=2, line='[references]\n"a.v" = "b.v"\n')
    project.sql("shard_1", f"INSERT INTO b VALUES ('{there.lower().rstrip()}')")
    project.sql("shard_0", f"INSERT INTO a VALUES (1, '{there}'), (2, '{missing}')")
    found = checked(project)
    assert (found.wrong, dict(found.unread), found.dangling) == (None, {}, 1)
    assert found.examples[0].row == "2"


@pytest.mark.parametrize(
    "key",
    [
        "PRIMARY KEY (a, b)",
        "PRIMARY KEY (s)",
        "PRIMARY KEY (m, a)",
        "UNIQUE (b)",
        "CHECK (true)",
    ],
)
@pytest.mark.parametrize("size", [1, 3])
def test_every_row_is_read_once_whatever_the_key(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch, key: str, size: int
) -> None:
    """Page by page: keys of several columns, of text and enums, none at all; equal values over several pages."""
    monkeypatch.setattr(walk, "PAGE", size)
    table = f"CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE TABLE invoices (a int NOT NULL, b int NOT NULL, " \
        f"s varchar(9) COLLATE \"C\" NOT NULL, m mood NOT NULL, plan_code text, {key})"  # fmt: skip
    project = fleet_with(make_project, PLANS, table, shards=1)
    project.sql(
        "shard_0",
        "INSERT INTO invoices SELECT n / 2, n, chr(97 + n) || '%', CASE n % 2 WHEN 0 THEN 'sad' ELSE 'glad' END::mood, "
        "(ARRAY['lead', 'tin', NULL])[1 + n % 3] FROM generate_series(1, 7) AS n",
    )
    found = checked(project)
    assert (found.dangling, found.wrong, dict(found.unread)) == (5, None, {})
    assert {each.value for each in found.examples} == {"lead", "tin"}


def test_partitions_and_heirs_are_read_with_their_table(make_project: MakeProject) -> None:
    """A row counts wherever below its table it is."""
    tables = (
        "CREATE TABLE invoices (id int, at int, plan_code text, PRIMARY KEY (id, at)) PARTITION BY LIST (at);"
        "CREATE TABLE invoices_1 PARTITION OF invoices FOR VALUES IN (1);"
        "CREATE TABLE billing.old () INHERITS (billing.plans); CREATE TABLE more (id int PRIMARY KEY, v text);"
        "CREATE TABLE more_1 () INHERITS (more)"
    )
    line = f'{LINE}"more.v" = "billing.plans.code"\n'
    project = fleet_with(make_project, PLANS, tables, shards=1, line=line)
    project.sql("shard_0", "INSERT INTO billing.old VALUES ('gold')")
    project.sql("shard_0", "INSERT INTO invoices VALUES (1, 1, 'gold'), (2, 1, 'lead')")
    project.sql("shard_0", "INSERT INTO more_1 VALUES (1, 'gold'), (1, 'lead')")
    found = project.fleet().check(parts=["references"]).references
    assert [(each.dangling, each.examples[0].value) for each in found] == [(1, "lead"), (1, "lead")]


def test_hostile_names_and_values_are_only_names_and_values(make_project: MakeProject) -> None:
    """Quotes, percent signs, dots and braces in schemas, tables, columns and rows."""
    schema, table, column = 'we"i.rd', "50%s {x}", "a%(b)s'; --"
    project = make_project(2)
    quoted = sql.Identifier(schema, table).as_string(), sql.Identifier(column).as_string()
    names = ['"{}"'.format(part.replace('"', '""')) for part in (schema, table, column)]
    name = ".".join(names)
    project.extra = f"[references]\n{json.dumps(name)} = {json.dumps(name)}\n"
    project.write()
    for shard in project.shards:
        with psycopg.connect(project.shards[shard], autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
            connection.execute(f"CREATE TABLE {quoted[0]} ({quoted[1]} text PRIMARY KEY)".encode())
            connection.execute(f"INSERT INTO {quoted[0]} VALUES ('{{x,\"y\"}} %s \\ ''')".encode())
    found = checked(project)
    assert (found.wrong, dict(found.unread), found.rows, found.is_well) == (None, {}, 2, True)


def test_a_user_of_the_shard_can_not_slip_an_operator_in(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names are resolved in PostgreSQL's own schema alone, whatever the role's search path is."""
    project = fleet_with(make_project, shards=1)
    trap = (
        "CREATE FUNCTION public.yes(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';"
        "CREATE FUNCTION public.no(int, int) RETURNS boolean LANGUAGE sql AS 'SELECT false';"
        "CREATE OPERATOR public.= (FUNCTION = public.yes, LEFTARG = text, RIGHTARG = text);"
        "CREATE OPERATOR public.> (FUNCTION = public.no, LEFTARG = int, RIGHTARG = int);"
        "ALTER ROLE CURRENT_USER IN DATABASE {} SET search_path = public, pg_catalog"
    )
    name = project.sql("shard_0", "SELECT quote_ident(current_database())")[0][0]
    project.sql("shard_0", trap.format(name))
    project.sql(
        "shard_0",
        "INSERT INTO billing.plans VALUES ('gold'); INSERT INTO public.invoices VALUES (1, 'lead'), (2, 'tin')",
    )
    monkeypatch.setattr(walk, "PAGE", 1)
    assert checked(project).dangling == 2


# --- stopped, and gone on with ------------------------------------------------------------------


@pytest.fixture
def long_fleet(make_project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A shard with 40 rows, of which two dangle, that takes a page of five a turn; the control database is made."""
    monkeypatch.setattr(walk, "PAGE", 5)
    monkeypatch.setattr(walk, "TURN", 0.0)
    project = fleet_with(make_project, shards=2)
    project.revision("r1")
    assert project.migrate().exit_code == 0
    project.sql("shard_1", "INSERT INTO billing.plans VALUES ('gold')")
    project.sql("shard_0", "INSERT INTO invoices SELECT n, 'gold' FROM generate_series(1, 40) AS n")
    project.sql("shard_0", "UPDATE invoices SET plan_code = 'lead' WHERE id IN (3, 38)")
    return project


def test_a_check_that_was_stopped_goes_on_where_it_was(long_fleet: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read is not read again, and what was found is not forgotten; afterwards nothing is kept."""
    pages: list[tuple[str, ...]] = []
    read, stop = walk._read_page, StopRequest()

    def reading(connection: Any, source: Any, target: Any, turn: walk.Turn, known: Any) -> None:
        pages.append(turn.place.after)
        read(connection, source, target, turn, known)
        if turn.place.after == ("20",):
            stop.ask("the test")

    monkeypatch.setattr(walk, "_read_page", reading)
    first = checked(long_fleet, stop=stop)
    assert (first.is_finished, first.rows, first.dangling) == (False, 20, 1)
    pages.clear()
    second = checked(long_fleet)
    assert (second.went_on, second.is_finished, second.rows, second.dangling) == (True, True, 40, 2)
    assert [each.row for each in second.examples] == ["3", "38"]
    assert min(int(after[0]) for after in pages if after) == 20
    assert long_fleet.sql("control", "SELECT * FROM shardwright.reference_check") == []
    third = checked(long_fleet)
    assert (third.went_on, third.rows, third.dangling) == (False, 40, 2)


def test_a_check_that_was_killed_goes_on_where_it_was(long_fleet: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the last turn whose end the control database has heard of."""

    class Killed(BaseException):
        pass

    read = walk._read_page

    def reading(connection: Any, source: Any, target: Any, turn: walk.Turn, known: Any) -> None:
        if turn.place.after == ("25",):
            raise Killed
        read(connection, source, target, turn, known)

    with monkeypatch.context() as patch:
        patch.setattr(walk, "_read_page", reading)
        with pytest.raises(Killed):
            checked(long_fleet)
    found = checked(long_fleet)
    assert (found.went_on, found.rows, found.dangling) == (True, 40, 2)


def test_a_table_with_another_key_begins_anew(long_fleet: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """How far a walk by the old key came says nothing of the new one."""
    read, stop = walk._read_page, StopRequest()

    def reading(connection: Any, source: Any, target: Any, turn: walk.Turn, known: Any) -> None:
        read(connection, source, target, turn, known)
        stop.ask("the test")

    with monkeypatch.context() as patch:
        patch.setattr(walk, "_read_page", reading)
        assert not checked(long_fleet, stop=stop).is_finished
    for shard in long_fleet.shards:
        long_fleet.sql(shard, "ALTER TABLE invoices DROP CONSTRAINT invoices_pkey, ADD PRIMARY KEY (id, plan_code)")
    found = checked(long_fleet)
    assert (found.rows, found.dangling) == (40, 2)


def test_the_control_database_is_not_needed(long_fleet: Project, dead_url: str) -> None:
    """Nothing is kept then, and everything is found all the same."""
    long_fleet.control = dead_url
    long_fleet.write()
    found = checked(long_fleet)
    assert (found.rows, found.dangling, found.is_finished) == (40, 2, True)


def test_few_values_are_kept_in_hand(make_project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows dangle, no more values are looked for at once than the bound says."""
    monkeypatch.setattr(walk, "PAGE", 100)
    monkeypatch.setattr(references, "_VALUES", 50)
    project = fleet_with(make_project, shards=2)
    for shard in project.shards:
        project.sql(shard, "INSERT INTO invoices SELECT n, 'x' || n FROM generate_series(1, 3000) AS n")
    sizes = []
    compare = walk.Column.compare

    def comparing(self: walk.Column, query: str, values: Any = ()) -> Any:
        values = list(values)
        sizes.append(len(values))
        return compare(self, query, values)

    monkeypatch.setattr(walk.Column, "compare", comparing)
    found = checked(project)
    assert (found.dangling, len(found.examples)) == (6000, references.EXAMPLES)
    assert max(sizes) <= 2 * (1000 + walk.PAGE)
