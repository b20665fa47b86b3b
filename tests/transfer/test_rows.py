"""Which rows are one tenant's, on real tables with rows: neither one too many nor one too few."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.rows import dict_row

from shardwright.config import TenantsSection
from shardwright.pg.tables import TableName, read_tables
from shardwright.transfer.graph import TableGraph
from shardwright.transfer.place import table_graph
from shardwright.transfer.rows import answer_where, owner, rows_of_tenant, rows_with_tenant
from shardwright.transfer.whose import OneTenant

Connection = psycopg.Connection[Any]
MakeGraph = Callable[..., TableGraph]


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def make_graph(connection: Connection, script: str, **fields: Any) -> TableGraph:
    """The graph after `script`; nothing is in its way."""
    connection.execute(script)
    section = TenantsSection(**{"root": "orgs", "key": "org_id"} | fields)
    graph = table_graph(read_tables(connection), section)
    assert graph.problems == ()
    return graph


def rows(connection: Connection, graph: TableGraph, table: str, tenant: str, schema: str = "public") -> list[Any]:
    """The ids of the tenant's rows, or with "*" of those that have a tenant; asked as a copy or a delete would."""
    name = TableName(schema, table)
    is_any = tenant == "*"
    condition = rows_with_tenant(graph, name) if is_any else rows_of_tenant(graph, name, sql.SQL("$1"))
    query = sql.SQL("SELECT r.id FROM {} AS r WHERE {} ORDER BY 1").format(graph[name].table.source, condition)
    return [row[0] for row in psycopg.RawCursor(connection).execute(query, None if is_any else [tenant])]


def by_tenant(connection: Connection, graph: TableGraph, table: str) -> tuple[list[Any], list[Any], list[Any]]:
    """The rows of tenants 1 and 2, and of any; a look at each row by itself tells the same."""
    one, two, anybodys = (rows(connection, graph, table, tenant) for tenant in ("1", "2", "*"))
    for tenant, own in (("1", one), ("2", two)):
        told = answers(connection, graph, table, tenant)
        assert [number for number, whose in told if whose] == own
        told_by_name = [number for number, whose in whose_are(connection, graph, table) if whose == tenant]
        assert {*own} - ({*one} & {*two}) <= {*told_by_name} <= {*own}  # a row of two tenants is told of one of them
        assert [number for number, whose in told if whose is not None] == anybodys
    return one, two, anybodys


def answers(connection: Connection, graph: TableGraph, table: str, tenant: str) -> list[tuple[Any, bool | None]]:
    """Each row's id, and whether it is the tenant's."""
    name = TableName("public", table)
    answer = answer_where(graph, name, OneTenant(tenant).has, row="r")
    query = sql.SQL("SELECT r.id, {} FROM {} AS r ORDER BY 1").format(answer, graph[name].table.source)
    return connection.execute(query).fetchall()


def whose_are(connection: Connection, graph: TableGraph, table: str) -> list[tuple[Any, str | None]]:
    """Each row's id, and whose it is."""
    name = TableName("public", table)
    whose = owner(graph, name, row="r")
    query = sql.SQL("SELECT r.id, {} FROM {} AS r ORDER BY 1").format(whose, graph[name].table.source)
    return connection.execute(query).fetchall()


def test_root_direct_and_indirect_over_several_tables(connection: Connection) -> None:
    """Each row is its own tenant's, however far from the root."""
    graph = make_graph(
        connection,
        """CREATE TABLE orgs (id bigint PRIMARY KEY);
           CREATE TABLE users (id int PRIMARY KEY, org_id bigint NOT NULL REFERENCES orgs);
           CREATE TABLE posts (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users);
           CREATE TABLE likes (id int PRIMARY KEY, post_id int NOT NULL REFERENCES posts);
           INSERT INTO orgs VALUES (1), (2), (3);
           INSERT INTO users VALUES (10, 1), (11, 1), (20, 2);
           INSERT INTO posts VALUES (100, 10), (101, 11), (200, 20);
           INSERT INTO likes VALUES (1000, 100), (1001, 101), (1002, 101), (2000, 200)""",
    )
    assert by_tenant(connection, graph, "orgs") == ([1], [2], [1, 2, 3])
    assert by_tenant(connection, graph, "users") == ([10, 11], [20], [10, 11, 20])
    assert by_tenant(connection, graph, "posts") == ([100, 101], [200], [100, 101, 200])
    assert by_tenant(connection, graph, "likes") == ([1000, 1001, 1002], [2000], [1000, 1001, 1002, 2000])
    assert rows(connection, graph, "likes", "3") == []


def test_composite_keys_and_unique_constraints(connection: Connection) -> None:
    """All columns are compared, and with those that the foreign key names, not with the primary key."""
    graph = make_graph(
        connection,
        """CREATE TABLE orgs (id text PRIMARY KEY);
           CREATE TABLE users (id int PRIMARY KEY, org_id text NOT NULL, a int, b text, UNIQUE (b, a));
           CREATE TABLE posts (id int PRIMARY KEY, x text NOT NULL, y int NOT NULL,
                               FOREIGN KEY (x, y) REFERENCES users (b, a));
           INSERT INTO users VALUES (1, '1', 7, 'p'), (2, '2', 7, 'q'), (3, '2', 8, 'p');
           INSERT INTO posts VALUES (1, 'p', 7), (2, 'q', 7), (3, 'p', 8)""",
    )
    assert by_tenant(connection, graph, "posts") == ([1], [2, 3], [1, 2, 3])


def test_a_cycle_of_two_tables(connection: Connection) -> None:
    """The nullable reference back is not followed."""
    graph = make_graph(
        connection,
        """CREATE TABLE orgs (id int PRIMARY KEY);
           CREATE TABLE a (id int PRIMARY KEY, org_id int NOT NULL, b int);
           CREATE TABLE b (id int PRIMARY KEY, a int NOT NULL REFERENCES a);
           ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b;
           INSERT INTO a VALUES (1, 1), (2, 2); INSERT INTO b VALUES (1, 1), (2, 2), (3, 1);
           UPDATE a SET b = 3 WHERE id = 1""",
    )
    assert by_tenant(connection, graph, "b") == ([1, 3], [2], [1, 2, 3])


def test_a_tree_whose_inner_rows_name_only_their_parent(connection: Connection) -> None:
    """At any depth; a circle of rows ends, and is nobody's."""
    graph = make_graph(
        connection,
        """CREATE TABLE orgs (id int PRIMARY KEY);
           CREATE TABLE posts (id int PRIMARY KEY, org_id int NOT NULL);
           CREATE TABLE notes (id int PRIMARY KEY, post_id int REFERENCES posts, parent int REFERENCES notes);
           INSERT INTO posts VALUES (1, 1), (2, 2);
           INSERT INTO notes VALUES (1, 1, NULL), (2, NULL, 1), (3, NULL, 2), (4, 2, NULL), (5, NULL, 4),
                                    (6, NULL, NULL), (7, NULL, 8), (8, NULL, 7), (9, NULL, 9);""",
    )
    assert by_tenant(connection, graph, "notes") == ([1, 2, 3], [4, 5], [1, 2, 3, 4, 5])


def test_one_of_several_nullable_references(connection: Connection) -> None:
    """Whichever is set leads to the tenant; a row with none has none."""
    graph = make_graph(
        connection,
        """CREATE TABLE orgs (id int PRIMARY KEY);
           CREATE TABLE users (id int PRIMARY KEY, org_id int NOT NULL);
           CREATE TABLE files (id int PRIMARY KEY, o int REFERENCES orgs, u int REFERENCES users);
           CREATE TABLE pages (id int PRIMARY KEY, file int NOT NULL REFERENCES files);
           INSERT INTO orgs VALUES (1), (2); INSERT INTO users VALUES (1, 1), (2, 2);
           INSERT INTO files VALUES (1, 1, NULL), (2, NULL, 1), (3, 2, NULL), (4, NULL, 2), (5, NULL, NULL);
           INSERT INTO pages SELECT id, id FROM files""",
    )
    assert by_tenant(connection, graph, "files") == ([1, 2], [3, 4], [1, 2, 3, 4])
    assert by_tenant(connection, graph, "pages") == ([1, 2], [3, 4], [1, 2, 3, 4])


def test_partitions_and_references_to_one_of_them(connection: Connection) -> None:
    """Rows of all levels are found; a key that is in two partitions leads to the row of the one referred to."""
    graph = make_graph(
        connection,
        """CREATE TABLE orgs (id int PRIMARY KEY);
           CREATE TABLE posts (id int, org_id int NOT NULL, at int) PARTITION BY RANGE (at);
           CREATE TABLE p1 PARTITION OF posts FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (at);
           CREATE TABLE p11 PARTITION OF p1 FOR VALUES FROM (0) TO (5);
           CREATE TABLE p2 PARTITION OF posts FOR VALUES FROM (10) TO (20);
           ALTER TABLE p11 ADD UNIQUE (id);
           CREATE TABLE likes (id int PRIMARY KEY, p int NOT NULL REFERENCES p11 (id));
           INSERT INTO posts VALUES (1, 1, 1), (1, 2, 11), (2, 2, 2);
           INSERT INTO likes VALUES (1, 1), (2, 2)""",
    )
    assert by_tenant(connection, graph, "posts") == ([1], [1, 2], [1, 1, 2])
    assert by_tenant(connection, graph, "likes") == ([1], [2], [1, 2])


def test_a_reference_over_a_period_may_lead_to_several_rows(connection: Connection) -> None:
    """Any of them tells whose the row is."""
    if connection.info.server_version < 180000:
        pytest.skip("periods are PostgreSQL 18")
    graph = make_graph(
        connection,
        """CREATE EXTENSION btree_gist;
           CREATE TABLE orgs (id int PRIMARY KEY);
           CREATE TABLE users (id int, org_id int, at int4range, PRIMARY KEY (id, at WITHOUT OVERLAPS));
           CREATE TABLE posts (id int PRIMARY KEY, u int NOT NULL, at int4range NOT NULL,
                               FOREIGN KEY (u, PERIOD at) REFERENCES users (id, PERIOD at));
           INSERT INTO users VALUES (1, NULL, '[1,3)'), (1, 1, '[3,5)'), (2, 2, '[1,3)'), (2, 1, '[3,5)');
           INSERT INTO posts VALUES (1, 1, '[1,5)'), (2, 1, '[1,2)'), (3, 2, '[1,5)'), (4, 2, '[1,2)')""",
    )
    assert by_tenant(connection, graph, "posts") == ([1, 3], [3, 4], [1, 3, 4])


def test_inheriting_tables_are_apart(connection: Connection) -> None:
    """The parent's rows are its own; a foreign key to it does not lead into the child."""
    graph = make_graph(
        connection,
        """CREATE TABLE orgs (id int PRIMARY KEY);
           CREATE TABLE a (id int PRIMARY KEY, org_id int NOT NULL);
           CREATE TABLE b () INHERITS (a);
           CREATE TABLE c (id int PRIMARY KEY, a int NOT NULL REFERENCES a);
           INSERT INTO a VALUES (1, 1); INSERT INTO b VALUES (1, 2), (2, 2); INSERT INTO c VALUES (1, 1)""",
    )
    assert by_tenant(connection, graph, "a") == ([1], [], [1])
    assert by_tenant(connection, graph, "b") == ([], [1, 2], [1, 2])
    assert by_tenant(connection, graph, "c") == ([1], [], [1])


def test_a_type_whose_equality_is_not_in_the_search_path(connection: Connection) -> None:
    """Rows are joined by the operator of the foreign key itself."""
    graph = make_graph(
        connection,
        """CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext;
           CREATE TABLE orgs (id int PRIMARY KEY);
           CREATE TABLE users (id int PRIMARY KEY, org_id int NOT NULL, email ext.citext UNIQUE);
           CREATE TABLE posts (id int PRIMARY KEY, author ext.citext NOT NULL REFERENCES users (email));
           INSERT INTO users VALUES (1, 1, 'Ann@x'), (2, 2, 'bob@x');
           INSERT INTO posts VALUES (1, 'aNN@x'), (2, 'BOB@x')""",
    )
    assert by_tenant(connection, graph, "posts") == ([1], [2], [1, 2])


@pytest.mark.parametrize("id_type", ["uuid", "bigint", "text", "numeric(10)", "varchar(40)"])
def test_tenant_ids_of_any_type_are_bound_as_text(id_type: str, connection: Connection) -> None:
    """Bound or, for COPY, as a literal."""
    values = {"uuid": "00000000-0000-0000-0000-00000000000a", "text": "it's; --"}
    tenant = values.get(id_type, "12")
    graph = make_graph(connection, f"CREATE TABLE orgs (id {id_type} PRIMARY KEY, other int)")
    connection.execute(sql.SQL("INSERT INTO orgs VALUES ({})").format(tenant))
    assert len(rows(connection, graph, "orgs", tenant)) == 1
    condition = rows_of_tenant(graph, TableName("public", "orgs"), sql.Literal(tenant), row="x")
    out = sql.SQL("COPY (SELECT 1 FROM orgs AS x WHERE {}) TO STDOUT").format(condition)
    with connection.cursor().copy(out) as copy:
        assert [bytes(block) for block in copy] == [b"1\n"]


def test_hostile_names(connection: Connection) -> None:
    """Quotes, spaces, reserved words, per cent signs, capitals, other schemas."""
    graph = make_graph(
        connection,
        """CREATE SCHEMA "se lect";
           CREATE TABLE "se lect"."Or""gs" ("i'd" int PRIMARY KEY, id int);
           CREATE TABLE "user" (id int PRIMARY KEY, "table %s" int NOT NULL, "né" int UNIQUE);
           CREATE TABLE "where" (id int PRIMARY KEY, "{x}" int NOT NULL REFERENCES "user" ("né"), "ORDER" int);
           INSERT INTO "user" VALUES (1, 1, 5), (2, 2, 6); INSERT INTO "where" VALUES (1, 5), (2, 6);
           INSERT INTO "se lect"."Or""gs" VALUES (1, 1), (2, 2)""",
        root='se lect.Or"gs',
        key="table %s",
    )
    assert rows(connection, graph, 'Or"gs', "2", "se lect") == [2]
    assert by_tenant(connection, graph, "user") == ([1], [2], [1, 2])
    assert by_tenant(connection, graph, "where") == ([1], [2], [1, 2])


def random_schema(random: Random) -> str:
    """Seven tables of three to six rows that refer, where they refer, to any table before them or to themselves."""
    statements = ["CREATE TABLE orgs (id int PRIMARY KEY); INSERT INTO orgs VALUES (1), (2)"]
    sizes = {"orgs": 2}
    for number in range(7):
        name, size = f"t{number}", random.randint(3, 6)
        targets = random.sample(list(sizes), min(len(sizes), random.randint(1, 2)))
        nulls = [random.random() < 0.6 for _ in targets]
        columns = [f"c{place} int {'' if null else 'NOT NULL'}" for place, null in enumerate(nulls)]
        columns += ["org_id int"] if random.random() < 0.2 else []
        columns += [f"up int REFERENCES {name}"] if random.random() < 0.5 else []
        statements.append(f"CREATE TABLE {name} (id int PRIMARY KEY, {', '.join(columns)})")
        statements += [f"ALTER TABLE {name} ADD FOREIGN KEY (c{n}) REFERENCES {t}" for n, t in enumerate(targets)]
        for row in range(1, size + 1):
            values = {f"c{place}": random.randint(1, sizes[target]) for place, target in enumerate(targets)}
            values |= {"org_id": random.randint(1, 2)} if "org_id int" in columns else {}
            values |= {"up": random.randint(1, row)} if columns[-1].startswith("up") else {}
            kept = {key: value for key, value in values.items() if key[0] == "c" and not nulls[int(key[1])]}
            kept |= {key: value for key, value in values.items() if random.random() < 0.6}
            kept["id"] = row
            statements.append(f"INSERT INTO {name} ({', '.join(kept)}) VALUES ({', '.join(map(str, kept.values()))})")
        sizes[name] = size
    return "; ".join(statements)


def owners(connection: Connection, graph: TableGraph) -> dict[tuple[str, int], set[int]]:
    """By table and id whose each row is, found row by row and without SQL."""
    content: dict[tuple[str, int], dict[str, Any]] = {}
    for placed in graph.tables:
        cursor = connection.cursor(row_factory=dict_row)
        for row in cursor.execute(sql.SQL("SELECT * FROM {}").format(placed.table.name.identifier)):
            content[placed.table.name.name, row["id"]] = row
    found: dict[tuple[str, int], set[int]] = {place: set() for place in content}
    changed = True
    while changed:
        changed = False
        for (table, number), row in content.items():
            way = graph[TableName("public", table)].way
            reached = {row[way.key]} - {None} if way.key else set()
            for key in (*way.steps, *way.climbs):
                reached |= found.get((key.table.name, row[key.columns[0]]), set())
            changed = changed or reached != found[table, number]
            found[table, number] = reached
    return found


@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.generate],  # a random schema is not shrunk in reasonable time
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.randoms(use_true_random=False))
def test_any_schema_and_any_rows(connection: Connection, random: Random) -> None:
    """The conditions say of every row what walking from row to row says."""
    with connection.transaction(force_rollback=True):
        connection.execute(random_schema(random))
        graph = table_graph(read_tables(connection), TenantsSection(root="orgs", key="org_id"))
        for (table, number), whose in owners(connection, graph).items():
            if graph[TableName("public", table)].is_of_tenants:
                for tenant in (1, 2):
                    assert (number in rows(connection, graph, table, str(tenant))) == (tenant in whose)
                    told = dict(answers(connection, graph, table, str(tenant)))
                    assert told[number] == (tenant in whose if whose else None)
                assert (number in rows(connection, graph, table, "*")) == bool(whose)


def test_nobodys_tables_have_no_rows_of_a_tenant(connection: Connection) -> None:
    """Asked for those, it refuses rather than giving a condition that is always true, or never."""
    graph = make_graph(
        connection,
        "CREATE TABLE orgs (id int PRIMARY KEY); CREATE TABLE plans (id int)",
        shared=("plans",),
    )
    with pytest.raises(ValueError, match=r"public\.plans is shared"):
        rows_of_tenant(graph, TableName("public", "plans"), sql.Literal("1"))
