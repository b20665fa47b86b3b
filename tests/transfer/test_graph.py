"""The table graph: every table has its kind, or a problem with the line of configuration that mends it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shardwright.config import TenantsSection
from shardwright.pg.tables import Column, ForeignKey, Table, TableName, Tables, UniqueKey
from shardwright.transfer.graph import PlacedTable, TableGraph
from shardwright.transfer.place import table_graph

Reference = tuple[str, str]


def name(text: str) -> TableName:
    schema, _, own = text.rpartition(".")
    return TableName(schema or "public", own)


def table(
    text: str, columns: str = "", *references: Reference, key: str | None = "id", schema: str = "", **fields: Any
) -> Table:
    """`columns`: names, those with ? may be null. A reference: columns → `table(columns)`, or `table`: its id."""
    listed = [each for each in columns.split() if each.rstrip("?") != key]
    all_columns = [Column(key, "uuid", is_not_null=True)] if key else []
    all_columns += [Column(each.rstrip("?"), "uuid", is_not_null=not each.endswith("?")) for each in listed]
    return Table(
        name(text),
        tuple(all_columns),
        (UniqueKey("pkey", (key,), is_primary=True),) if key else (),
        tuple(reference(*each) for each in references),
        **fields,
    )


def reference(columns: str, there: str, **fields: Any) -> ForeignKey:
    target, _, listed = there.rstrip(")").partition("(")
    own = tuple(columns.split())
    return ForeignKey(
        f"{'_'.join(own)}_fkey", own, name(target), tuple((listed or "id").split()), ("=",) * len(own), **fields
    )


ORGS = table("orgs")


def graph_of(*tables: Table, root: str = "orgs", key: str = "org_id", **fields: Any) -> TableGraph:
    listed = Tables(tuple(sorted(tables, key=lambda each: each.name)))
    return table_graph(listed, TenantsSection(root=root, key=key, **fields))


def placed(graph: TableGraph, text: str) -> PlacedTable:
    return graph[name(text)]


def kinds(graph: TableGraph) -> dict[str, str | None]:
    return {graph.catalog.shown(each.table.name): each.kind for each in graph.tables}


def problems(graph: TableGraph) -> list[tuple[str, str]]:
    return [(each.fact, each.cure) for each in graph.problems]


def test_each_kind() -> None:
    """Root, direct, indirect over several tables, shared, ignored, as the documentation says."""
    graph = graph_of(
        ORGS,
        table("users", "org_id", ("org_id", "orgs")),
        table("posts", "user_id", ("user_id", "users")),
        table("likes", "post_id", ("post_id", "posts"), key=None),
        table("plans"),
        table("audit_2024", "org_id"),
        shared=("plans",),
        ignored=("audit_*",),
    )
    assert kinds(graph) == {
        "orgs": "root", "users": "direct", "posts": "indirect", "likes": "indirect",
        "plans": "shared", "audit_2024": "ignored",
    }  # fmt: skip
    assert graph.problems == ()
    assert graph.path(placed(graph, "likes")) == "post_id → posts.user_id → users.org_id"
    assert placed(graph, "likes").notes == ("no primary key",)
    shown = [[each.name for each in group] for group in graph.copy_order]
    assert shown == [["orgs"], ["users"], ["posts"], ["likes"]]
    assert graph.delete_order == graph.copy_order[::-1]


def test_a_foreign_key_that_carries_the_tenants_id_is_a_tenant_key() -> None:
    """To the root under another name, or composite from a direct table; no join is needed then."""
    graph = graph_of(
        ORGS,
        table("users", "owner", ("owner", "orgs")),
        table("posts", "o u", ("o u", "users(owner id)")),
        table("likes", "x p", ("x p", "posts(o id)")),
    )
    assert [placed(graph, each).way.key for each in ("users", "posts", "likes")] == ["owner", "o", "x"]
    assert {placed(graph, each).kind for each in ("users", "posts", "likes")} == {"direct"}


def test_two_columns_that_name_a_tenant_are_a_question() -> None:
    """Which of them owns the row, nobody can guess; what refers to the table waits for the answer."""
    tables = ORGS, table("gifts", "a b", ("a", "orgs"), ("b", "orgs")), table("cards", "gift", ("gift", "gifts"))
    graph = graph_of(*tables)
    assert problems(graph) == [
        ("gifts names a tenant in a and in b, and a row belongs to one",
         'under [tenants.keys]: "gifts" = "a", or "gifts" = "b"'),
        ("what cards refers to can't be placed", "mend that first"),
    ]  # fmt: skip
    graph = graph_of(*tables, keys={"gifts": "b"})
    assert (kinds(graph)["gifts"], kinds(graph)["cards"], graph.problems) == ("direct", "indirect", ())
    assert placed(graph, "gifts").notes == ("may refer to another tenant's row: a → orgs",)


def test_a_table_of_its_own_key_column() -> None:
    """[tenants.keys] wins over the usual column; a pattern reaches many; a wrong column is a problem."""
    graph = graph_of(ORGS, table("old_a", "org_id o"), table("old_b", "o"), keys={"old_*": "o"})
    assert [placed(graph, each).way.key for each in ("old_a", "old_b")] == ["o", "o"]
    assert problems(graph_of(ORGS, table("a", "org_id"), keys={"a": "nope"})) == [
        ("tenants.keys says that nope is the tenant key of a, which has no such column",
         'under [tenants.keys]: "a" = COLUMN')
    ]  # fmt: skip


def test_the_shortest_way_that_no_row_can_leave_out() -> None:
    """A nullable short cut is not taken; of two alike the validated, then the first by name."""
    graph = graph_of(
        ORGS,
        table("users", "org_id"),
        table("posts", "user_id", ("user_id", "users")),
        table("likes", "user_id? post_id", ("user_id", "users"), ("post_id", "posts")),
        table("votes", "b a", ("b", "users"), ("a", "users")),
    )
    assert graph.path(placed(graph, "likes")) == "post_id → posts.user_id → users.org_id"
    assert placed(graph, "likes").notes == ("may refer to another tenant's row: user_id → users",)
    assert graph.path(placed(graph, "votes")) == "a → users.org_id"
    first = Table(
        name("votes"),
        (Column("a", "int", is_not_null=True), Column("b", "int", is_not_null=True)),
        foreign_keys=(reference("a", "users", is_validated=False), reference("b", "users")),
    )
    graph = graph_of(ORGS, table("users", "org_id"), first)
    assert graph.path(placed(graph, "votes")) == "b → users.org_id"


def test_one_of_several_nullable_references() -> None:
    """A row belongs to whomever one of them leads to, also where that table is placed later."""
    graph = graph_of(
        ORGS,
        table("posts", "org_id"),
        table("pages", "post_id?", ("post_id", "posts")),
        table("files", "post_id? page_id?", ("post_id", "posts"), ("page_id", "pages")),
    )
    assert graph.path(placed(graph, "files")) == "post_id → posts.org_id or page_id → pages.post_id → posts.org_id"
    assert placed(graph, "files").notes == ("a row belongs to no tenant where post_id, page_id are null",)
    assert not placed(graph, "files").way.is_whole


def test_one_nullable_column_that_names_a_tenant() -> None:
    """Direct, with a note of the rows that belong to nobody; two are a question, beside others it is one way."""
    users = table("users", "org_id")
    graph = graph_of(ORGS, table("events", "o?", ("o", "orgs")), table("b", "org_id?"))
    assert (kinds(graph)["events"], placed(graph, "events").way.key) == ("direct", "o")
    assert placed(graph, "events").notes == ("a row belongs to no tenant where o is null",)
    assert placed(graph, "b").notes == ("a row belongs to no tenant where org_id is null",)
    graph = graph_of(ORGS, table("events", "o? p?", ("o", "orgs"), ("p", "orgs")))
    assert graph.problems[0].tables == (name("events"),)
    graph = graph_of(ORGS, users, table("events", "o? u?", ("o", "orgs"), ("u", "users")))
    assert graph.path(placed(graph, "events")) == "o → orgs.id or u → users.org_id"


def test_more_ways_than_anybody_could_follow() -> None:
    """Forty tables that may each refer to all before them: a problem, and found at once."""
    tables = [ORGS, table("t00", "org_id")]
    for number in range(1, 40):
        columns = [f"c{before:02}" for before in range(number)]
        tables.append(
            table(f"t{number:02}", "? ".join(columns) + "?", *((each, each.replace("c", "t")) for each in columns))
        )
    graph = graph_of(*tables)
    assert [each.table.name.name for each in graph.tables if each.is_of_tenants] == [
        "orgs",
        "t00",
        *(f"t0{n}" for n in range(1, 6)),
    ]
    assert len(graph.paths(placed(graph, "t05"))) == 16
    assert "in up to 274877906944 ways" in graph.problems[0].fact


def test_trees_climb_to_the_row_that_knows() -> None:
    """A self-reference is followed only where a row's own way may be null."""
    graph = graph_of(
        ORGS,
        table("posts", "org_id parent?", ("parent", "posts")),
        table("notes", "post_id? parent?", ("post_id", "posts"), ("parent", "notes")),
    )
    assert [key.columns for key in placed(graph, "notes").way.climbs] == [("parent",)]
    assert placed(graph, "posts").way.climbs == ()


def test_only_a_self_reference_is_no_way() -> None:
    """It leads nowhere."""
    graph = graph_of(ORGS, table("trees", "parent?", ("parent", "trees")))
    assert graph.problems[0].tables == (name("trees"),)


def test_a_cycle_is_one_group() -> None:
    """Its members are copied together, after what they need, before what needs them."""
    graph = graph_of(
        ORGS,
        table("a", "org_id b?", ("org_id", "orgs"), ("b", "b")),
        table("b", "a", ("a", "a")),
        table("c", "b", ("b", "b")),
    )
    assert [[each.name for each in group] for group in graph.copy_order] == [["orgs"], ["a", "b"], ["c"]]
    assert kinds(graph) == {"orgs": "root", "a": "direct", "b": "indirect", "c": "indirect"}
    assert "in a cycle of foreign keys with a" in placed(graph, "b").notes
    root = table("orgs", "owner?", ("owner", "users"))
    graph = graph_of(root, table("users", "org_id", ("org_id", "orgs")))
    assert [len(group) for group in graph.copy_order] == [2]


def test_what_cant_be_placed_asks_for_its_line() -> None:
    """All at once, in one line each: what others refer to is probably shared, what nothing refers to maybe ignored."""
    graph = graph_of(
        ORGS,
        table("users", "org_id country", ("country", "countries")),
        table("countries", "zone", ("zone", "zones")),
        table("zones"),
        table("plans"),
        table("logs"),
        table("jobs", "log", ("log", "logs")),
        shared=("plans",),
    )
    assert problems(graph) == [
        ("countries, zones have no org_id and no foreign key that leads to orgs, and others refer to them",
         'under [tenants]: shared = ["plans", "countries", "zones"]; or under [tenants.keys]: "countries" = COLUMN'),
        ("jobs, logs have no org_id and no foreign key that leads to orgs, and nothing refers to them",
         'under [tenants]: ignored = ["jobs", "logs"] or shared = ["plans", "jobs", "logs"]; '
         'or under [tenants.keys]: "jobs" = COLUMN'),
    ]  # fmt: skip
    mended = graph_of(*graph.catalog.tables, shared=("plans", "countries", "zones"), ignored=("jobs", "logs"))
    assert mended.problems == ()


def test_a_shared_table_may_not_refer_to_tenants() -> None:
    """It would refer to rows that are elsewhere; also where only a partition of it does."""
    tables = ORGS, table("users", "org_id"), table("plans", "author", ("author", "users")), table("zones")
    graph = graph_of(*tables, shared=("plans", "zones"))
    assert problems(graph) == [
        ("plans is shared, and author refers to users, whose rows belong to tenants",
         'under [tenants]: shared = ["zones"]')
    ]  # fmt: skip
    assert kinds(graph)["plans"] is None
    part = table("p1", "author", ("author", "users"), partition_of=name("plans"))
    graph = graph_of(*tables[:2], table("plans", "author", storage="partitioned"), part, shared=("plans",))
    assert graph.problems[0].tables == (name("plans"),)


def test_a_root_that_is_none() -> None:
    """Not there, in two schemas, a partition, without a key of one column: one problem, and nothing is guessed."""
    for root, tables, words, cure in (
        ("org", (ORGS,), "tenants.root names org, which is no table", 'root = "orgs"'),
        ("s.o", (table("s.orgs"),), "tenants.root names s.o, which is no table", 'root = "s.orgs"'),
        ("orgs", (table("s.orgs"),), "tenants.root names orgs, which is no table", 'root = "s.orgs"'),
        ("a.b", (table("a.b"), Table(TableName("public", "a.b"))), "that is a.b and public.a.b", 'root = "a.b"'),
        ("p", (ORGS, table("p", partition_of=name("orgs"))), "a partition of orgs", 'write "orgs" there'),
        ("orgs", (table("orgs", key=None),), "it has none", 'ALTER TABLE "public"."orgs" ADD PRIMARY KEY'),
        ("orgs", (), "there is no table yet", "shardwright migrate"),
    ):
        graph = graph_of(*tables, table("users", "org_id"), root=root) if tables else graph_of(root=root)
        assert len(graph.problems) == 1
        assert words in graph.problems[0].fact
        assert cure in graph.problems[0].cure
        assert {each.kind for each in graph.tables} <= {None}


def test_lines_that_contradict_or_name_nothing() -> None:
    """Each is a problem; an exact name counts for more than a pattern, and a pattern may match nothing."""
    tables = ORGS, table("users", "org_id"), table("plans"), table("s.plans")
    graph = graph_of(*tables, shared=("plans", "s.plans"), ignored=("plans", "s.*", "nothing_*"))
    assert problems(graph) == [
        ("plans is named by tenants.shared (plans) and by tenants.ignored (plans)", "leave it in one of them")
    ]
    assert kinds(graph)["s.plans"] == "shared"
    graph = graph_of(*tables, shared=("plan", "orgs"), ignored=("s.plans", "plans", "nothing"))
    assert problems(graph) == [
        ("tenants.shared names plan, which is no table", 'write "plans" there'),
        ("tenants.ignored names nothing, which is no table", "take it out of tenants.ignored"),
        ("orgs is named by tenants.root and by tenants.shared", 'take "orgs" out of tenants.shared'),
    ]
    graph = graph_of(*tables, shared=("*",))
    assert (kinds(graph)["orgs"], kinds(graph)["users"]) == ("root", "shared")
    assert placed(graph, "users").notes == ("it is shared, and has org_id",)


def test_names_are_exact_and_looked_for_in_the_search_path() -> None:
    """A name with a star in it is a name first; upper case is not folded; another schema must be named."""
    tables = ORGS, table("a*"), table("ab"), table("Ab"), table("s.ab"), table("s.x")
    graph = graph_of(*tables, shared=("a*",), ignored=("Ab", "ab", "s.?b", "s.x"))
    assert kinds(graph) == {
        "orgs": "root", "a*": "shared", "ab": "ignored", "Ab": "ignored", "s.ab": "ignored", "s.x": "ignored"
    }  # fmt: skip
    assert graph.problems == ()


def test_partitions_are_part_of_their_table() -> None:
    """At every level; sizes are added up, constraints of their own are noted, references to them lead to the table."""
    graph = graph_of(
        ORGS,
        table("posts", "org_id", storage="partitioned"),
        table("p1", "org_id", storage="partitioned", partition_of=name("posts")),
        table("p11", "org_id x", ("x", "notes"), partition_of=name("p1"), rows=5, bytes=10),
        table("p12", "org_id", partition_of=name("p1"), rows=7, bytes=20, storage="foreign"),
        table("notes", "post", ("post", "p11")),
    )
    assert kinds(graph) == {"orgs": "root", "posts": "direct", "notes": "indirect"}
    posts = placed(graph, "p11")
    assert (posts.table.name, posts.rows, posts.bytes) == (name("posts"), 12, 30)
    assert posts.notes == (
        "may refer to another tenant's row: x → notes",
        "in a cycle of foreign keys with notes",
        "its partition p11 has constraints of its own: x_fkey",
        "its partition p12 is a foreign table",
    )


def test_references_that_nobody_vouches_for_are_noted() -> None:
    """Those that carry the tenant key are not; nor is the way itself."""
    graph = graph_of(
        ORGS,
        table("users", "org_id boss?", ("org_id", "orgs"), ("boss", "users")),
        table("posts", "org_id a b", ("org_id a", "users(org_id id)"), ("b", "users")),
        table("plans"),
        table("audit", "post", ("post", "posts")),
        table("uses", "org_id plan log", ("plan", "plans"), ("log", "audit")),
        shared=("plans",),
        ignored=("audit",),
    )
    assert placed(graph, "users").notes == ("may refer to another tenant's row: boss → users",)
    assert placed(graph, "posts").notes == ("may refer to another tenant's row: b → users",)
    assert placed(graph, "audit").notes == ("post refers to posts, whose rows may leave",)
    assert placed(graph, "uses").notes == ("log refers to audit, which is ignored: the row may not be elsewhere",)


def test_a_reference_to_a_table_that_is_not_the_users() -> None:
    """An extension's, say: it is passed over."""
    graph = graph_of(
        ORGS, table("spots", "org_id srid", ("srid", "ext.spatial")), table("x", "srid", ("srid", "ext.s"))
    )
    assert kinds(graph) == {"orgs": "root", "spots": "direct", "x": None}


def test_types_that_differ_are_noted() -> None:
    """The tenant key is compared with the tenant's id, wherever it is."""
    users = Table(name("users"), (Column("org_id", "bigint", is_not_null=True),))
    assert "org_id is bigint, orgs.id is uuid" in placed(graph_of(ORGS, users), "users").notes


TABLES = [f"t{number}" for number in range(8)]


@st.composite
def schemas(draw: st.DrawFn) -> Sequence[Table]:
    """Up to nine tables with any foreign keys between them, composite and nullable ones too."""
    made = [ORGS]
    for each in draw(st.lists(st.sampled_from(TABLES), unique=True)):
        there = st.sampled_from([*TABLES, "orgs"])
        columns = ["org_id"] if draw(st.booleans()) and draw(st.booleans()) else []
        references = []
        for number, target in enumerate(draw(st.lists(there, max_size=3))):
            composite = draw(st.booleans()) and target != "orgs"
            own = [f"c{number}", f"o{number}"] if composite else [f"c{number}"]
            columns += [column + draw(st.sampled_from(["", "?"])) for column in own]
            references.append((" ".join(own), f"{target}(id org_id)" if composite else target))
        made.append(table(each, " ".join(columns), *references))
    present = {each.name for each in made}
    return [
        Table(each.name, each.columns, each.uniques, tuple(key for key in each.foreign_keys if key.table in present))
        for each in made
    ]


@given(
    schemas(),
    st.lists(st.sampled_from([*TABLES, "t*", "t[12]"]), max_size=2),
    st.lists(st.sampled_from(TABLES), max_size=2),
)
def test_every_table_has_one_kind_or_one_problem(
    tables: Sequence[Table], shared: list[str], ignored: list[str]
) -> None:
    """Whatever the schema: nothing is forgotten, ways end at a tenant key, parents come first but within a cycle."""
    graph = graph_of(*tables, shared=tuple(shared), ignored=tuple(ignored))
    refused = [each for problem in graph.problems for each in problem.tables]
    assert len(refused) == len(set(refused))
    assert {each.table.name for each in graph.tables if each.kind is None} == set(refused)
    assert {each.table.name for each in graph.tables} == {each.name for each in tables}
    for each in graph.tables:
        assert bool(graph.path(each)) == each.is_of_tenants
        assert each.way.key is None or each.table.has(each.way.key)
    order = {member: place for place, group in enumerate(graph.copy_order) for member in group}
    assert set(order) == {each.table.name for each in graph.tables if each.is_of_tenants}
    for child in tables:
        for parent in (key.table for key in child.foreign_keys if {child.name, key.table} <= order.keys()):
            assert order[parent] <= order[child.name]
            if order[parent] == order[child.name]:
                assert reaches(tables, parent, child.name)


def reaches(tables: Sequence[Table], start: TableName, end: TableName) -> bool:
    """Whether foreign keys lead from `start` to `end`."""
    by_name = {each.name: each for each in tables}
    seen, ahead = set(), [start]
    while ahead:
        each = ahead.pop()
        if each not in seen:
            seen.add(each)
            ahead += [key.table for key in by_name[each].foreign_keys]
    return end in seen


def test_a_long_chain_is_no_trouble() -> None:
    """Three hundred tables, each referring to the one before it."""
    chain = [table(f"t{n:04}", "p", ("p", f"t{n - 1:04}")) for n in range(1, 300)]
    graph = graph_of(ORGS, table("t0000", "org_id", ("org_id", "orgs")), *chain)
    assert [each.name for (each,) in graph.copy_order] == ["orgs", *(f"t{n:04}" for n in range(300))]
    assert graph.path(placed(graph, "t0299")).count("→") == 299
    assert graph.problems == ()
