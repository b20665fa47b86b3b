"""Which image each table has, and what is asked for where there is none; without a database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardwright.bluegreen.shapes.carry import fits
from shardwright.bluegreen.shapes.images import Images
from shardwright.bluegreen.shapes.shape import BACK, images
from shardwright.config import ShapeSection, TenantsSection
from shardwright.pg.tables import Column, ForeignKey, Table, TableName, Tables, UniqueKey
from shardwright.transfer.place import table_graph
from two_shapes import shape

Shapes = Mapping[str, ShapeSection]


def table(name: str, *columns: str | Column, key: str | None = "id", refers: Mapping[str, str] | None = None) -> Table:
    """A table; a column `a` is an integer, `a!` one that is not null, `a text` a text."""
    made = tuple(each if isinstance(each, Column) else column(each) for each in columns)
    uniques = (UniqueKey(f"{name}_pkey", tuple(key.split()), is_primary=True),) if key else ()
    keys = (
        ForeignKey(f"{name}_{own}", (own,), TableName("public", there), ("id",), ("OPERATOR(pg_catalog.=)",))
        for own, there in (refers or {}).items()
    )
    return Table(TableName("public", name), made, uniques, tuple(keys))


def column(text: str) -> Column:
    name, _, type_ = text.partition(" ")
    return Column(name.rstrip("!"), type_ or "integer", name.endswith("!"))


def shown(
    blue: list[Table], green: list[Table], shapes: Mapping[str, ShapeSection] | None = None, **fields: Any
) -> Images:
    """Green's tables as blue shows them; both have orgs. `described` is what each shape gives."""
    orgs = table("orgs", "id!")
    giving, receiving = (Tables(tuple(sorted((orgs, *each), key=lambda one: one.name))) for each in (blue, green))
    graph = table_graph(receiving, fields.pop("tenants", TenantsSection(root="orgs", key="org_id")))
    return images(giving, receiving, shapes or {}, graph, **fields)


def told(found: Images) -> tuple[str, str]:
    """The only problem."""
    (problem,) = found.problems
    return problem.fact, problem.cure


def test_the_same_table_is_plain_whatever_the_order_of_its_columns() -> None:
    """And with columns that only one side has, where those can do without a value."""
    blue = table("t", "id!", "org_id!", "gone text", "kept text")
    green = table("t", "kept text", Column("new", "text", is_not_null=True, default="''"), "org_id!", "id!")
    found = shown([blue], [green])
    image = found.by_name[TableName("public", "t")]
    assert (found.problems, image.is_plain) == ((), True)
    assert [each.name for each in image.table.columns] == ["kept", "org_id", "id"]
    assert image.shown == image.table
    assert found.untaken == {TableName("public", "t"): ("gone",)}


def test_storage_is_that_of_the_side_where_it_is_read() -> None:
    """A partitioned table has no rows of its own to read with ONLY."""
    green = replace(table("t", "id!", "org_id!"), storage="partitioned", partition_key="HASH (id)")
    image = shown([table("t", "id!", "org_id!")], [green]).by_name[TableName("public", "t")]
    assert (image.table.storage, image.shown.storage) == ("partitioned", "ordinary")


def test_a_table_of_green_alone_is_left_alone() -> None:
    """It is ignored in both graphs, and whatever is wrong with it is no problem."""
    found = shown([], [table("log", "id!"), table("own", "id!", "org_id!")])
    assert found.problems == ()
    assert [name.name for name in found.left_alone] == ["log", "own"]
    assert found.receiving[TableName("public", "own")].kind == "ignored"
    assert found.giving_side_view.find(TableName("public", "own")) is None
    assert found.receiving.copy_order == found.giving_side_view.copy_order == ((TableName("public", "orgs"),),)


def test_a_new_column_that_needs_a_value_is_asked_for() -> None:
    """With the whole part to write."""
    found = shown([table("t", "id!", "org_id!", "order text")], [table("t", "id!", "org_id!", "order text", "n! text")])
    assert told(found) == (
        "t.n may not be null, has no default, and is not given",
        '[bluegreen.tables.t] select = "SELECT id, org_id, \\"order\\", … AS n FROM t", from = { t = ["id"] }',
    )


def test_a_key_that_is_not_given_is_asked_for() -> None:
    """A default would give another one each time."""
    green = table("t", Column("uid", "uuid", is_not_null=True, default="gen_random_uuid()"), "org_id!", key="uid")
    fact, _ = told(shown([table("t", "id!", "org_id!")], [green]))
    assert fact == "t.uid is its key, and is not given"


@pytest.mark.parametrize(
    ("name", "given_shape", "fact", "cure"),
    [
        ("twos", shape("…", o="id"), "[bluegreen.tables.twos] names twos, which is no table there",
         "write [bluegreen.tables.two]"),
        ("two", shape("…", ones="id"), "[bluegreen.tables.two] is made from ones, which is no table",
         '[bluegreen.tables.two] from = { one = ["id"] }'),
        ("two", shape("…", one="no"), "[bluegreen.tables.two] from names one.no, which is no column",
         "[bluegreen.tables.two] from = { one = [the column for id] }"),
        ("two", shape("…", one=("id", "org_id")),
         "[bluegreen.tables.two] from names 2 columns of one, and the key of two is id",
         "[bluegreen.tables.two] from = { one = [the column for id] }"),
        ("bare", shape("…", one="id"), "bare has no key, so a changed row of [bluegreen.tables.bare] could not be "
         "found again", "give it a primary key, in green's revision"),
    ],
)  # fmt: skip
def test_a_shape_that_leads_nowhere(name: str, given_shape: ShapeSection, fact: str, cure: str) -> None:
    """Table and column are named, and the line to write."""
    green = [table("two", "id!", "org_id!"), table("bare", "org_id!", key=None)]
    found = shown([table("one", "id!", "org_id!")], green, {name: given_shape})
    assert told(found) == (fact, cure)


def test_what_a_select_gives_is_what_the_table_has() -> None:
    """No column more, and none less of those that a row needs; generated ones make themselves."""
    generated = Column("twice", "integer", generated="stored", expression="id * 2")
    green = table("two", "id!", "org_id!", "name! text", "note text", generated)
    types = {"id": "integer", "org_id": "integer"}
    for given_types, fact in (
        (types, "two.name may not be null, has no default, and is not given"),
        (types | {"name": "text", "more": "text"}, "[bluegreen.tables.two] gives more, which two has not"),
        (types | {"name": "text", "twice": "integer"}, "[bluegreen.tables.two] gives twice, which two makes by itself"),
        ({"org_id": "integer", "name": "text"}, "two.id is its key, and is not given"),
    ):
        found = shown([table("one", "id!")], [green], {"two": shape("…", one="id")}, described={"two": given_types})
        assert told(found)[0] == fact
    found = shown(
        [table("one", "id!")], [green], {"two": shape("…", one="id")}, described={"two": types | {"name": "text"}}
    )
    assert found.problems == ()
    assert [each.name for each in found.by_name[TableName("public", "two")].table.columns] == ["id", "org_id", "name"]


def test_a_table_without_a_key_is_brought_as_it_is_or_not_at_all() -> None:
    """With other types its rows could not be told apart."""
    blue = table("t", "org_id!", "a text", key=None)
    assert shown([blue], [blue]).by_name[blue.name].feeds[0].key == ()
    fact, _ = told(shown([blue], [table("t", "org_id!", "a date", key=None)]))
    assert fact == "t has no key, and its columns have other types at the giving side"


def test_a_way_to_the_tenant_has_to_be_given() -> None:
    """The parent by which a row belongs to a tenant, and the column that names it."""
    parent, child = table("p", "id!", "org_id!"), table("c", "id!", "p_id!", refers={"p_id": "p"})
    fact, cure = told(shown([child], [parent, child]))
    assert fact == "c belongs to tenants by p_id → p, which nothing is given for"
    assert cure == '[bluegreen.tables.p] select = "SELECT … AS id, … AS org_id FROM …", from = { "…" = ["…"] }'
    fact, _ = told(shown([table("p", "id!")], [table("p", "id!", Column("org_id", "integer", default="1"))]))
    assert fact == "p.org_id says whose a row is, and is not given"


def test_a_root_that_nothing_is_given_for() -> None:
    """Asked for like any other."""
    found = images(
        Tables((table("firms", "id!"),)),
        green := Tables((table("orgs", "id!"),)),
        {},
        table_graph(green, TenantsSection(root="orgs", key="org_id")),
        section=BACK,
    )
    assert told(found)[1] == '[bluegreen.back.orgs] select = "SELECT … AS id FROM …", from = { "…" = ["…"] }'


def test_keys_of_integers_stay_of_use_to_an_index() -> None:
    """Whatever their width on either side; they travel as text, since their binary forms differ."""
    pair = [table("t", "id!", "org_id!")], [table("t", "id! bigint", "org_id!")]
    for blue, green in (pair, pair[::-1]):
        image = shown(blue, green).by_name[TableName("public", "t")]
        assert (image.is_plain, [each.is_portable for each in image.table.columns]) == (True, [False, True])


def test_what_can_be_seen_in_types() -> None:
    """Only where every value surely fits."""
    yes = [("integer", "bigint"), ("character varying(5)", "text"), ("character varying(5)", "character varying(5)"),
           ("character varying(5)", "character varying(9)"), ("text", "character varying"), ("integer", "numeric"),
           ("numeric(5,2)", "numeric"), ("public.mood", "public.mood")]  # fmt: skip
    no = [("bigint", "integer"), ("text", "character varying(5)"), ("character varying(9)", "character varying(5)"),
          ("numeric", "numeric(5,2)"), ("text", "integer"), ("character varying", "character varying(5)"),
          ("timestamp without time zone", "date")]  # fmt: skip
    assert [fits(*each) for each in (*yes, *no)] == [True] * len(yes) + [False] * len(no)


names = st.sampled_from("abcd")
columns = st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from(["integer", "text", "bigint"]), st.booleans()),
                   max_size=3, unique_by=lambda each: each[0])  # fmt: skip
schemas = st.dictionaries(names, st.tuples(columns, st.booleans(), st.booleans()), max_size=4)


def _made(schema: Mapping[str, Any]) -> list[Table]:
    return [
        table(name, "id!", *(["org_id!"] if owned else []), *(Column(n, t, b) for n, t, b in cols),
              key="id" if keyed else None)
        for name, (cols, owned, keyed) in sorted(schema.items())
    ]  # fmt: skip


@given(schemas, schemas)
@settings(max_examples=150, deadline=None)
def test_every_table_has_an_image_or_a_problem_or_is_left_alone(blue: Any, green: Any) -> None:
    """One of these; and both graphs have the same tables with the same columns, in the same order."""
    found = shown(_made(blue), _made(green), tenants=TenantsSection(root="orgs", key="org_id", shared=("[ab]",)))
    in_problems = {name for each in found.problems for name in each.tables}
    for name in (TableName("public", each) for each in green):
        assert (name in found.by_name) + (name in found.left_alone) + (name in in_problems) >= 1
        assert not (name in found.by_name and name in found.left_alone)
    for image in found.tables:
        there, here = found.receiving[image.name], found.giving_side_view[image.name]
        assert (there.kind, there.way) == (here.kind, here.way)
        assert [each.name for each in there.table.columns] == [each.name for each in here.table.columns]
