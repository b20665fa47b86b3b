"""The round trip: what green refuses, what does not come back; and that nothing of it stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shardwright.bluegreen.shapes.shape_checks import LOSSY
from shardwright.config import TenantsSection
from two_shapes import TwoShapes, shape

MakeTwo = Callable[..., TwoShapes]
ORGS = "CREATE TABLE orgs (id int PRIMARY KEY); "
ROWS = "INSERT INTO orgs VALUES (1), (2); "
USERS = ORGS + """CREATE TABLE users (id int PRIMARY KEY, org_id int NOT NULL REFERENCES orgs, first text, last text);
""" + ROWS + "INSERT INTO users SELECT i, 1 + i % 2, 'f' || i, 'l' || i FROM generate_series(1, 40) AS i; "  # fmt: skip
PEOPLE = ORGS + "CREATE TABLE people (id bigint PRIMARY KEY, org_id bigint NOT NULL, name text NOT NULL); "
THERE = {"people": shape("SELECT id, org_id, first || ' ' || last AS name FROM users", users="id")}
HOME = {
    "users": shape(
        "SELECT id, org_id, split_part(name, ' ', 1) AS first, split_part(name, ' ', 2) AS last FROM people",
        people="id",
    )
}


def test_what_comes_back_as_it_was(make_two: MakeTwo) -> None:
    """No finding, rows of both tenants tried; and green is as empty as before, its triggers never fired."""
    two = make_two(
        USERS,
        PEOPLE + """CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''fired''; END';
        CREATE TRIGGER fire BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION fire()""",
        shapes=THERE, back_shapes=HOME,
    )  # fmt: skip
    tried = two.try_out(rows=10)
    assert tried.findings == ()
    assert tried.rows == {"orgs": 2, "people": 10}
    assert two.green.execute("SELECT count(*) FROM people").fetchone() == (0,)
    assert two.try_out("1").rows == {"orgs": 1, "people": 20}


def test_what_is_lost_on_the_way_home(make_two: MakeTwo) -> None:
    """By column, with the first key; also a row that does not come back, and one that blue never had."""
    two = make_two(
        USERS + """UPDATE users SET last = 'van l4' WHERE id = 4;
        CREATE TABLE bios (user_id int PRIMARY KEY REFERENCES users, text text); INSERT INTO bios VALUES (4, 'x')""",
        PEOPLE + "ALTER TABLE people ADD bio text",
        shapes={
            "people": shape(
                "SELECT u.id, org_id, first || ' ' || last AS name, text AS bio FROM users AS u"
                " LEFT JOIN bios ON user_id = id", users="id", bios="user_id",
            )
        },
        back_shapes={
            "users": shape(HOME["users"].select + " WHERE id <> 6", people="id"),
            "bios": shape("SELECT id AS user_id, coalesce(bio, '') AS text FROM people", people="id"),
        },
    )  # fmt: skip
    tried = two.try_out("1")
    assert [each.fact for each in tried.findings] == [
        "bios: 19 rows would come back that blue has not (first: 10)",
        "users.last comes back as another value in 1 of 20 rows (first at 4)",
        "users: 1 of 20 rows would not come back (first: 6)",
    ]
    assert {each.allow for each in tried.findings} == {LOSSY}
    assert {each.severity for each in tried.findings} == {"error"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE users SET last = NULL WHERE id = 4",
         'null value in column "name" of relation "people" violates not-null constraint'),
        ("UPDATE users SET last = repeat('x', 40) WHERE id = 4", "people_name_check"),
        ("UPDATE users SET first = 'f2', last = 'l2' WHERE id = 4", "people_name_key"),
    ],
)  # fmt: skip
def test_what_green_refuses(make_two: MakeTwo, change: str, reason: str) -> None:
    """With PostgreSQL's own words; and the way home is not tried then."""
    green = PEOPLE + "ALTER TABLE people ADD CHECK (length(name) < 20), ADD UNIQUE (name)"
    two = make_two(USERS + change, green, shapes=THERE, back_shapes=HOME)
    (fact,) = two.facts("1")
    assert fact.startswith("[bluegreen.tables.people] a row can't be written to people: ")
    assert reason in fact


def test_a_value_that_does_not_fit_its_type_names_the_column(make_two: MakeTwo) -> None:
    """A text that the new enum has not."""
    two = make_two(
        ORGS
        + "CREATE TABLE t (id int PRIMARY KEY, org_id int, mood text); "
        + ROWS
        + "INSERT INTO t VALUES (1, 1, 'odd')",
        ORGS + "CREATE TYPE mood AS ENUM ('ok'); CREATE TABLE t (id int PRIMARY KEY, org_id int, mood mood)",
    )
    (fact,) = two.facts()
    assert fact == (
        "[bluegreen.tables.t] a row can't be written to t: "
        'invalid input value for enum mood: "odd" (COPY t, line 1, column mood: "odd")'
    )


def test_two_rows_of_one_key(make_two: MakeTwo) -> None:
    """The key's own constraint says so."""
    two = make_two(
        USERS, PEOPLE, shapes={"people": shape(THERE["people"].select + ", generate_series(1, 2)", users="id")}
    )
    assert "people_pkey" in two.facts("1")[0]


def test_a_value_that_is_another_each_time(make_two: MakeTwo) -> None:
    """It could never be compared: now() in the next transaction, random() at once, and a green trigger's own."""
    two = make_two(
        USERS,
        PEOPLE + "ALTER TABLE people ADD at timestamptz, ADD luck float",
        shapes={"people": shape("SELECT id, org_id, 'x' AS name, now() AS at, random() AS luck FROM users",
                                users="id")},
        back_shapes=HOME | {"users": shape("SELECT id, org_id, 'f' || id AS first, 'l' || id AS last FROM people",
                                           people="id")},
    )  # fmt: skip
    facts = two.facts("1")
    assert "[bluegreen.tables.people] gives another at each time it is asked" in facts
    assert any("people.luck is not in green what blue shows, in 20 rows" in each for each in facts)


def test_a_key_that_no_feed_has(make_two: MakeTwo) -> None:
    """A change of the row would be looked for under another key."""
    two = make_two(
        USERS, PEOPLE, shapes={"people": shape("SELECT id + 1000 AS id, org_id, first AS name FROM users", users="id")}
    )
    assert two.facts("1")[0] == (
        "[bluegreen.tables.people] gives the key 1002, which no table in its from has: its changes would not be found"
    )


def test_a_reference_to_no_row(make_two: MakeTwo) -> None:
    """Green's foreign key is asked of what blue shows, beyond the sample; and of green's own tables in green."""
    two = make_two(
        USERS + "ALTER TABLE users ADD boss int, ADD role text; UPDATE users SET boss = id - 2 WHERE id > 4; "
        "UPDATE users SET role = 'a' WHERE id = 40",
        ORGS + """CREATE TABLE roles (name text PRIMARY KEY);
        CREATE TABLE users (id int PRIMARY KEY, org_id int NOT NULL REFERENCES orgs, first text, last text,
                            boss int REFERENCES users, role text REFERENCES roles)""",
        green_section=TenantsSection(root="orgs", key="org_id", shared=("roles",)),
    )  # fmt: skip
    assert two.facts("1") == ["[bluegreen.tables.users] users.role refers to no row of roles (first at 40)"]
    two.blue.execute("UPDATE users SET boss = 77, role = NULL WHERE id IN (36, 40)")
    assert two.facts("1") == ["[bluegreen.tables.users] users.boss refers to no row of users (first at 36)"]


def test_without_the_right_to_write_as_a_replica(make_two: MakeTwo) -> None:
    """Nothing is tried, and it is said what is needed."""
    two = make_two(USERS, PEOPLE, shapes=THERE)
    two.green.execute("CREATE ROLE sample_writer; GRANT ALL ON ALL TABLES IN SCHEMA public TO sample_writer")
    two.green.execute("SET ROLE sample_writer")
    try:
        (finding,) = two.try_out().findings
    finally:
        two.green.execute("RESET ROLE; DROP OWNED BY sample_writer; DROP ROLE sample_writer")
    assert "GRANT SET ON PARAMETER session_replication_role" in finding.cure


def test_split_and_merge_come_home(make_two: MakeTwo) -> None:
    """Rows that stand in two tables there are sampled together, so that a join finds both."""
    two = make_two(
        USERS + """CREATE TABLE cars (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users);
        INSERT INTO cars SELECT i, 41 - i FROM generate_series(1, 40) AS i;
        CREATE TABLE bios (user_id int PRIMARY KEY REFERENCES users, text text);
        INSERT INTO bios SELECT i, 'x' FROM generate_series(31, 40) AS i""",
        ORGS + """CREATE TABLE firsts (user_id int PRIMARY KEY, org_id int NOT NULL, first text, bio text);
        CREATE TABLE lasts (user_id int PRIMARY KEY REFERENCES firsts, last text);
        CREATE TABLE cars (id int PRIMARY KEY, user_id int NOT NULL REFERENCES firsts)""",
        shapes={
            "firsts": shape("SELECT id AS user_id, org_id, first, text AS bio FROM users"
                            " LEFT JOIN bios ON user_id = id", users="id", bios="user_id"),
            "lasts": shape("SELECT id AS user_id, last FROM users", users="id"),
        },
        back_shapes={
            "users": shape("SELECT user_id AS id, org_id, first, last FROM firsts JOIN lasts USING (user_id)",
                           firsts="user_id", lasts="user_id"),
            "bios": shape("SELECT user_id, bio AS text FROM firsts WHERE bio IS NOT NULL", firsts="user_id"),
        },
    )  # fmt: skip
    tried = two.try_out(rows=6)
    assert tried.findings == ()
    assert (tried.rows["firsts"], tried.rows["cars"]) == (12, 6)
