"""Images on real databases: the rows of one shape as those of another, by every condition that transfers use."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from psycopg import sql

from shardwright.bluegreen.shapes.images import Feed
from shardwright.bluegreen.shapes.shape_checks import plans
from shardwright.config import TenantsSection
from shardwright.pg.tables import TableName
from shardwright.transfer.scope import Scope
from two_shapes import TwoShapes, carry, shape

MakeTwo = Callable[..., TwoShapes]
ORGS = "CREATE TABLE orgs (id int PRIMARY KEY); "
ROWS = "INSERT INTO orgs VALUES (1), (2); "


def test_a_column_renamed_a_column_new_and_one_dropped(make_two: MakeTwo) -> None:
    """Rows arrive under the new name; the new column has its default, the dropped one is left behind."""
    two = make_two(
        ORGS + "CREATE TABLE tasks (id int PRIMARY KEY, org_id int NOT NULL, title text, old text); "
        + ROWS + "INSERT INTO tasks VALUES (1, 1, 'a', 'x'), (2, 2, 'b', 'x'), (3, 1, NULL, NULL)",
        ORGS + "CREATE TABLE tasks (id int PRIMARY KEY, org_id int NOT NULL, name text NOT NULL, "
        "state text DEFAULT 'new')",
        shapes={"tasks": shape("SELECT id, org_id, coalesce(title, '?') AS name FROM tasks; ", tasks="id")},
    )  # fmt: skip
    assert carry(two, "1") == {"orgs": 1, "tasks": 2}
    assert two.green.execute("SELECT * FROM tasks ORDER BY id").fetchall() == [(1, 1, "a", "new"), (3, 1, "?", "new")]


def test_a_table_split_in_two_and_two_merged_into_one(make_two: MakeTwo) -> None:
    """Both halves have the tenant's rows; the merged one has a row for each of two."""
    two = make_two(
        ORGS + """CREATE TABLE users (id int PRIMARY KEY, org_id int NOT NULL REFERENCES orgs, name text, mail text);
        CREATE TABLE cats (id uuid PRIMARY KEY, org_id int NOT NULL, name text);
        CREATE TABLE dogs (id uuid PRIMARY KEY, org_id int NOT NULL, called varchar(9));""" + ROWS +
        """INSERT INTO users VALUES (1, 1, 'ann', 'a@x'), (2, 1, 'bob', NULL), (3, 2, 'cyd', 'c@x');
        INSERT INTO cats VALUES (gen_random_uuid(), 1, 'tom'); INSERT INTO dogs VALUES (gen_random_uuid(), 1, 'rex')""",
        ORGS + """CREATE TABLE users (id int PRIMARY KEY, org_id int NOT NULL REFERENCES orgs, name text);
        CREATE TABLE mails (user_id int PRIMARY KEY REFERENCES users, mail text NOT NULL);
        CREATE TABLE pets (id uuid PRIMARY KEY, org_id int NOT NULL, kind text NOT NULL, name text)""",
        shapes={
            "mails": shape("SELECT id AS user_id, mail FROM users WHERE mail IS NOT NULL", users="id"),
            "pets": shape(
                "SELECT id, org_id, 'cat' AS kind, name FROM cats"
                " UNION ALL SELECT id, org_id, 'dog', called FROM dogs -- both",
                cats="id", dogs="id",
            ),
        },
    )  # fmt: skip
    assert carry(two, "1") == {"orgs": 1, "users": 2, "mails": 1, "pets": 2}
    assert carry(two, "2") == {"orgs": 1, "users": 1, "mails": 1, "pets": 0}
    pets = TableName("public", "pets")
    assert two.forward().by_name[pets].feeds == tuple(
        Feed(TableName("public", each), ("id",)) for each in ("cats", "dogs")
    )
    assert [image.name for image, _ in two.forward().fed_by(TableName("public", "dogs"))] == [pets]


def test_types_change_and_need_no_shape(make_two: MakeTwo) -> None:
    """Numbers grow, text becomes an enum that blue has not, and the other way round; they hash alike on both sides."""
    two = make_two(
        ORGS + """CREATE TYPE size AS ENUM ('s', 'l');
        CREATE TABLE things (id int PRIMARY KEY, org_id int NOT NULL REFERENCES orgs, mood text, size size,
                             price numeric, name varchar(20), at timestamp, n smallint);""" + ROWS +
        """INSERT INTO things VALUES (1, 1, 'so so', 's', 1.50, 'it''s', '2020-01-01', 7), (2, 1, NULL, NULL, NULL, '',
                                      'infinity', -7)""",
        """CREATE TYPE extra AS ENUM ('a'); CREATE TYPE mood AS ENUM ('bad', 'so so');
        CREATE TABLE orgs (id bigint PRIMARY KEY);
        CREATE TABLE things (price numeric(10,1), id bigint PRIMARY KEY, org_id bigint NOT NULL REFERENCES orgs,
                             mood mood, size text, name text, at timestamptz, n int)""",
    )  # fmt: skip
    assert carry(two, "1") == {"orgs": 1, "things": 2}
    rows = two.green.execute("SELECT id, mood, size, price::text, name FROM things ORDER BY id").fetchall()
    assert rows == [(1, "so so", "s", "1.5", "it's"), (2, None, None, None, "")]


def test_a_text_that_is_too_long_is_refused_and_not_cut(make_two: MakeTwo) -> None:
    """A cast would cut it without a word."""
    two = make_two(
        ORGS
        + ROWS
        + "CREATE TABLE t (id int PRIMARY KEY, org_id int NOT NULL, a text); INSERT INTO t VALUES (1, 1, 'abc')",
        ORGS + "CREATE TABLE t (id int PRIMARY KEY, org_id int NOT NULL, a varchar(2))",
    )
    with pytest.raises(psycopg.errors.StringDataRightTruncation):
        carry(two, "1")


def test_an_indirect_table_whose_parent_is_shaped(make_two: MakeTwo) -> None:
    """A row's tenant is found through the image of its parent, and through a tree that climbs."""
    two = make_two(
        """CREATE TABLE firms (no int PRIMARY KEY); CREATE TABLE jobs (no int PRIMARY KEY, firm int NOT NULL);
        CREATE TABLE notes (id int PRIMARY KEY, job int, parent int);
        INSERT INTO firms VALUES (1), (2); INSERT INTO jobs VALUES (1, 1), (2, 2);
        INSERT INTO notes VALUES (1, 1, NULL), (2, NULL, 1), (3, 2, NULL), (4, NULL, 2)""",
        ORGS + """CREATE TABLE tasks (id int PRIMARY KEY, org_id int NOT NULL REFERENCES orgs);
        CREATE TABLE notes (id int PRIMARY KEY, task_id int REFERENCES tasks, parent int REFERENCES notes);
        CREATE TABLE marks (note_id int PRIMARY KEY REFERENCES notes)""",
        shapes={
            "orgs": shape("SELECT no AS id FROM firms", firms="no"),
            "tasks": shape("SELECT no AS id, firm AS org_id FROM jobs", jobs="no"),
            "notes": shape("SELECT id, job AS task_id, parent FROM notes", notes="id"),
            "marks": shape("SELECT id AS note_id FROM notes WHERE parent IS NOT NULL", notes="id"),
        },
    )  # fmt: skip
    assert carry(two, "1") == {"orgs": 1, "tasks": 1, "notes": 3, "marks": 2}
    assert carry(two, "2") == {"orgs": 1, "tasks": 1, "notes": 1, "marks": 0}


def test_references_of_a_type_that_blue_has_not(make_two: MakeTwo) -> None:
    """They are texts there, and compared as such; also where they lead to the tenant."""
    two = make_two(
        """CREATE TABLE orgs (id text PRIMARY KEY); CREATE TABLE t (id text PRIMARY KEY, org_id text NOT NULL);
        CREATE TABLE u (id int PRIMARY KEY, t_id text NOT NULL); INSERT INTO orgs VALUES ('A'), ('b');
        INSERT INTO t VALUES ('Q', 'A'), ('r', 'b'); INSERT INTO u VALUES (1, 'Q'), (2, 'r'), (3, 'Q')""",
        """CREATE EXTENSION citext; CREATE TABLE orgs (id citext PRIMARY KEY);
        CREATE TABLE t (id citext PRIMARY KEY, org_id citext NOT NULL REFERENCES orgs);
        CREATE TABLE u (id int PRIMARY KEY, t_id citext NOT NULL REFERENCES t)""",
    )
    assert two.facts("A", "b") == []
    assert carry(two, "A") == {"orgs": 1, "t": 1, "u": 2}


def test_hostile_names(make_two: MakeTwo) -> None:
    """Quotes, percent signs, braces, dots, spaces and reserved words are names like others, in other schemas too."""
    two = make_two(
        'CREATE SCHEMA "we.ird %s"; CREATE TABLE "we.ird %s"."or""gs {}" ("i%d" int PRIMARY KEY);'
        'CREATE TABLE "select" ("from" int PRIMARY KEY, "org %s" int NOT NULL, "Name {x}" text);'
        """INSERT INTO "we.ird %s"."or""gs {}" VALUES (1); INSERT INTO "select" VALUES (1, 1, '%s {} it''s \\')""",
        'CREATE SCHEMA "we.ird %s"; CREATE TABLE "we.ird %s"."or""gs {}" ("i%d" int PRIMARY KEY);'
        'CREATE TABLE "table" ("to" int PRIMARY KEY, "org %s" int NOT NULL, "a%b" text)',
        shapes={
            "table": shape(
                """SELECT "from" AS "to", "org %s", "Name {x}" || '%s{}' AS "a%b" FROM public."select" """,
                **{"public.select": "from"},
            )
        },
        green_section=TenantsSection(root='we.ird %s.or"gs {}', key="org %s"),
    )  # fmt: skip
    assert set(carry(two, "1").values()) == {1}
    assert two.green.execute('SELECT "a%b" FROM "table"').fetchall() == [("%s {} it's \\%s{}",)]


def test_composite_keys_and_a_partitioned_table(make_two: MakeTwo) -> None:
    """A table may be partitioned on the one side alone, or on both in another way."""
    two = make_two(
        ORGS + """CREATE TABLE a (x int, y text, org_id int, PRIMARY KEY (x, y));
        CREATE TABLE b (id int, org_id int, PRIMARY KEY (org_id, id)) PARTITION BY LIST (org_id);
        CREATE TABLE b1 PARTITION OF b DEFAULT;""" + ROWS + """
        INSERT INTO a VALUES (1, 'p', 1), (1, 'q', 1), (1, 'r', 2); INSERT INTO b VALUES (1, 1), (1, 2), (2, 1)""",
        ORGS + """CREATE TABLE a (org_id int, x int, y text, PRIMARY KEY (org_id, y, x)) PARTITION BY HASH (org_id);
        CREATE TABLE a1 PARTITION OF a FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE a2 PARTITION OF a FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        CREATE TABLE b (id int, org_id int, PRIMARY KEY (org_id, id))""",
    )  # fmt: skip
    found = two.forward()
    assert all(image.is_plain for image in found.tables)
    assert [image.feeds[0].key for image in found.tables] == [("org_id", "y", "x"), ("org_id", "id"), ("id",)]
    assert carry(two, "1") == {"orgs": 1, "a": 2, "b": 2}


def _plan(two: TwoShapes, table: str) -> str:
    """How the rows under captured keys are found, as a drain asks for them."""
    (moved,) = (each for each in Scope.of_tenant(1, "1", two.forward().giving_side_view).tables if each.shown == table)
    two.blue.execute("CREATE TEMP TABLE queue AS SELECT {} FROM {} AS r WITH NO DATA".format(
        *(each.as_string(None) for each in (moved.key_as_numbered("r"), moved.table.source))
    ).encode())  # fmt: skip
    query = sql.SQL("EXPLAIN SELECT {} FROM (SELECT DISTINCT * FROM queue) AS q JOIN {} AS r ON {} WHERE {}").format(
        moved.columns(), moved.table.source, moved.is_row("r", "q"), moved.checked()
    )
    two.blue.execute("SET enable_hashjoin = off; SET enable_mergejoin = off")
    return "\n".join(row[0] for row in two.blue.execute(query))


@pytest.mark.parametrize(
    ("select", "is_by_index"),
    [
        ("SELECT id, org_id, a || b AS c FROM t WHERE a IS NOT NULL", True),
        ("SELECT id, org_id, a AS c FROM t UNION ALL SELECT id, org_id, b FROM u", True),
        ("SELECT t.id, t.org_id, u.b AS c FROM t LEFT JOIN u USING (id)", True),
        ("SELECT DISTINCT id, org_id, a AS c FROM t", False),
        ("SELECT id, org_id, max(a) AS c FROM t GROUP BY 1, 2", False),
        ("SELECT id, org_id, a AS c FROM t ORDER BY id", False),
    ],
)
def test_a_simple_select_is_flattened(make_two: MakeTwo, select: str, is_by_index: bool) -> None:
    """So the rows under a few keys are found by the primary key; others are read whole for each drain: told."""
    two = make_two(
        ORGS + """CREATE TABLE t (id int PRIMARY KEY, org_id int NOT NULL, a text, b text);
        CREATE TABLE u (id int PRIMARY KEY, org_id int NOT NULL, b text);
        INSERT INTO t SELECT i, 1, i, i FROM generate_series(1, 5000) AS i;
        INSERT INTO u SELECT i, 1, i FROM generate_series(5001, 10000) AS i; ANALYZE""",
        ORGS + "CREATE TABLE p (id bigint PRIMARY KEY, org_id int NOT NULL, c text)",
        shapes={"p": shape(select, t="id", u="id")},
    )  # fmt: skip
    plan = _plan(two, "p")
    assert ("Index Cond" in plan) == is_by_index, plan
    told = any("is read whole for each batch" in each.fact for each in plans(two.blue, two.forward()))
    assert told != is_by_index
