"""What speaks against a shape before any row is tried, and what all rows say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shardwright.bluegreen.shapes.shape_checks import CONSTANT, LOSSY, ONE_WAY, dependence, plans, way_back
from shardwright.bluegreen.shapes.whole import unfit_rows
from two_shapes import TwoShapes, shape

MakeTwo = Callable[..., TwoShapes]
ORGS = "CREATE TABLE orgs (id int PRIMARY KEY); "
T = ORGS + "CREATE TABLE t (id int PRIMARY KEY, org_id int NOT NULL, a text, b text); "
P = ORGS + "CREATE TABLE p (id int PRIMARY KEY, org_id int NOT NULL, c text); "


@pytest.mark.parametrize(
    ("select", "fact"),
    [
        ("SELECT id, x AS c FROM t", '[bluegreen.tables.p] select: column "x" does not exist'),
        ("SELECT id FROM", '[bluegreen.tables.p] select: syntax error at or near ")"'),
        ("SELECT id, id, org_id FROM t", "[bluegreen.tables.p] select gives id twice"),
        ("DELETE FROM t RETURNING id", '[bluegreen.tables.p] select: syntax error at or near "FROM"'),
        ("SELECT 1) AS s; DROP TABLE t; SELECT (1", '[bluegreen.tables.p] select: cannot insert multiple commands'),
    ],
)  # fmt: skip
def test_a_select_that_is_none(make_two: MakeTwo, select: str, fact: str) -> None:
    """In PostgreSQL's words, and nothing has been done."""
    two = make_two(T, P, shapes={"p": shape(select, t="id")})
    (finding,) = two.show().findings
    assert (finding.severity, finding.fact[: len(fact)]) == ("error", fact)
    assert two.blue.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_what_is_read_has_to_be_in_from(make_two: MakeTwo) -> None:
    """Through views as well; and of functions it can't be told."""
    two = make_two(
        T + """CREATE TABLE u (id int PRIMARY KEY, v text, w text); CREATE VIEW seen AS SELECT id, v FROM u;
        CREATE FUNCTION ask(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT ''x''';
        CREATE FUNCTION fixed(int) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''x'''""",
        P,
        shapes={"p": shape("SELECT id, org_id, v || ask(id) || fixed(id) AS c FROM t JOIN seen USING (id)", t="id")},
    )  # fmt: skip
    found = list(dependence(two.blue, two.forward()))
    assert [(each.severity, each.fact, each.allow) for each in found] == [
        (
            "error",
            "[bluegreen.tables.p] reads u, which is not in its from: a change of u would not be brought",
            CONSTANT,
        ),
        ("warning", "[bluegreen.tables.p] calls ask: what that reads can't be told", None),
        ("note", "t.(a, b) is read by nothing: it is not brought", None),
    ]  # fmt: skip
    cure = "[bluegreen.tables.p] from = { …, u = [the column for id] }; or --allow constant where it never changes"
    assert found[0].cure == cure


def test_rows_that_hang_on_one_another(make_two: MakeTwo) -> None:
    """A LIMIT is refused where it is the last word, and not where each row has its own."""
    two = make_two(T, P)
    for select, severity in (
        ("SELECT id, org_id, a AS c FROM t LIMIT 5", "error"),
        ("SELECT id, org_id, a AS c FROM t ORDER BY id OFFSET 1", "error"),
        ("SELECT id, org_id, lag(a) OVER (ORDER BY id) AS c FROM t", "warning"),
        ("SELECT id, org_id, (SELECT a FROM t AS o WHERE o.id = t.id LIMIT 1) AS c FROM t", None),
    ):
        two.shapes = {"p": shape(select, t="id")}
        assert [each.severity for each in plans(two.blue, two.forward())] == ([severity] if severity else [])


def test_a_key_that_a_trigger_could_not_write_down(make_two: MakeTwo) -> None:
    """It would break the application's own writes."""
    two = make_two(
        ORGS + "CREATE TABLE t (id text PRIMARY KEY, org_id int NOT NULL)",
        ORGS + "CREATE TABLE t (id int PRIMARY KEY, org_id int NOT NULL)",
    )
    (finding,) = plans(two.blue, two.forward())
    assert finding.fact == "[bluegreen.tables.t] public.t.id can't be written down as id, integer"
    two.blue.execute("ALTER TABLE t ALTER id TYPE int USING id::int")
    two.green.execute("ALTER TABLE t ALTER id TYPE text")
    assert list(plans(two.blue, two.forward())) == []


def test_all_rows_are_asked_for_what_green_wants(make_two: MakeTwo) -> None:
    """Nulls, lengths and keys; of tables that are alike on both sides nothing is asked."""
    two = make_two(
        T
        + "INSERT INTO orgs VALUES (1); "
        + "INSERT INTO t VALUES (1, 1, NULL, 'abc'), (2, 1, 'a', 'abcd'), (3, 1, 'a', 'b')",
        ORGS + "CREATE TABLE t (id int PRIMARY KEY, org_id int NOT NULL, a text NOT NULL DEFAULT '', b varchar(2)); "
        "CREATE TABLE q (a text PRIMARY KEY, org_id int NOT NULL)",
        shapes={"q": shape("SELECT a, org_id FROM t WHERE a IS NOT NULL", t="a")},
    )
    assert [each.fact for each in unfit_rows(two.blue, two.forward())] == [
        "[bluegreen.tables.q] gives 2 rows of one a: (a)",
        "[bluegreen.tables.t] a is null, and may not be in 1 row (first at (1))",
        "[bluegreen.tables.t] b is longer than 2 in 2 rows (first at (1))",
    ]


def test_whether_blue_can_hold_what_green_may_write(make_two: MakeTwo) -> None:
    """By the catalogs alone: what is not made at all, what is missing, narrower, not null, unique."""
    two = make_two(
        T + """CREATE TABLE u (id int PRIMARY KEY, org_id int NOT NULL, n int NOT NULL, s varchar(5), gone text,
                               UNIQUE (org_id, s));""",
        P + "CREATE TABLE u (id bigint PRIMARY KEY, org_id int NOT NULL, n int, s text)",
        shapes={"p": shape("SELECT id, org_id, a AS c FROM t", t="id")},
    )  # fmt: skip
    found = list(way_back(two.forward(), two.back()))
    assert [(each.severity, each.allow, each.fact) for each in found] == [
        ("error", ONE_WAY, "t is made from nothing of green: what is written there could not come home"),
        ("error", LOSSY, "u.gone is not made from green: a row that changes there comes home without it"),
        ("warning", None, "u.id is integer, and bigint in green: not all of that fits"),
        ("warning", None, "u.n may not be null, and may in green: such a row could not come home"),
        ("warning", None, "u.s is character varying(5), and text in green: not all of that fits"),
        ("warning", None, "u.(org_id, s) is unique, and not in green: two rows could not come home"),
    ]
    assert found[0].cure.startswith('[bluegreen.back.t] select = "SELECT … AS id, … AS org_id')
    two.back_shapes = {"t": shape("SELECT id, org_id FROM p", p="no")}
    two.blue.execute("DROP TABLE u")
    two.green.execute("DROP TABLE u")
    (finding,) = way_back(two.forward(), two.back())
    assert (finding.allow, finding.fact) == (ONE_WAY, "[bluegreen.back.t] from names p.no, which is no column")


def test_all_checks_together(make_two: MakeTwo) -> None:
    """Errors first; what is allowed is a warning; where a SELECT is none, nothing else is asked."""
    two = make_two(
        T + "INSERT INTO orgs VALUES (1); INSERT INTO t VALUES (1, 1, 'a', 'b')",
        P + "ALTER TABLE p ADD d timestamptz DEFAULT now()",
        shapes={"p": shape("SELECT id, org_id, a AS c FROM t", t="id")},
        back_shapes={"t": shape("SELECT id, org_id, upper(c) AS a FROM p", p="id")},
    )
    found = two.check()
    assert [(each.severity, each.allow) for each in found] == [("error", LOSSY)] * 2 + [("note", None)] * 3
    assert [each.fact for each in found] == [
        "t.b is not made from green: a row that changes there comes home without it",
        "t.a comes back as another value in 1 of 1 row (first at 1)",
        "t.b is read by nothing: it is not brought",
        "p.d is not given: it has its default, anew each time the row changes at the giving side",
        "p.d is read by nothing: it is not brought",
    ]
    assert [each.severity for each in two.check(allow=[LOSSY])] == ["warning"] * 2 + ["note"] * 3
    two.back_shapes = {"t": shape("SELECT nothing FROM p", p="id")}
    assert {each.allow for each in two.check() if each.severity == "error"} == {ONE_WAY}
    assert "error" not in {each.severity for each in two.check(allow=[ONE_WAY])}
    two.shapes = {"p": shape("SELECT nothing FROM t", t="id")}
    assert [each.fact for each in two.check(allow=[ONE_WAY])] == [
        '[bluegreen.tables.p] select: column "nothing" does not exist',
        '[bluegreen.back.t] select: column "nothing" does not exist',
    ]
