"""The fingerprint: equal for equal schemas, different for whatever a hand can change."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from shardwright.pg.fingerprint import Difference, Fingerprint, SchemaObject, differences, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# Each block stands alone, so they can be run in any order; together they hold every kind of object.
BLOCKS = [
    """
    CREATE TYPE status AS ENUM ('open', 'done');
    CREATE TYPE pair AS (a integer, b text COLLATE "C");
    CREATE TYPE span AS RANGE (subtype = float8);
    CREATE TABLE tasks (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        title varchar(80) DEFAULT 'a\\b é',
        due date DEFAULT '2024-02-03',
        seen timestamptz DEFAULT '2024-02-03 04:05:06Z',
        estimate interval DEFAULT '1 day 02:03:04',
        weight float8 DEFAULT '0.1234567890123456',
        payload bytea DEFAULT '\\x00ff',
        status status NOT NULL DEFAULT 'open',
        "Odd name" span,
        CHECK (weight > 0)
    );
    CREATE INDEX ON tasks (due DESC, lower(title)) WHERE status = 'open';
    CREATE STATISTICS tasks_stats ON due, status FROM tasks;
    ALTER TABLE tasks ENABLE ROW LEVEL SECURITY;
    CREATE POLICY mine ON tasks FOR SELECT USING (due > '2024-01-01');
    CREATE VIEW open_tasks AS SELECT id, title FROM tasks WHERE status = 'open';
    CREATE MATERIALIZED VIEW counts AS SELECT status, count(*) AS n FROM tasks GROUP BY status;
    """,
    """
    CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%');
    CREATE TABLE people (id serial PRIMARY KEY, email email UNIQUE, born date NOT NULL);
    CREATE RULE keep AS ON DELETE TO people DO INSTEAD NOTHING;
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER touch BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION touch();
    """,
    """
    CREATE SCHEMA billing;
    CREATE TABLE billing.bills (id bigint, at date) PARTITION BY RANGE (at);
    CREATE TABLE billing.bills_2024 PARTITION OF billing.bills
        FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
    CREATE INDEX ON billing.bills (at);
    CREATE SEQUENCE billing.numbers INCREMENT 10;
    """,
    """
    CREATE FUNCTION add(a integer, b integer DEFAULT 1) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT a + b';
    CREATE PROCEDURE tidy() LANGUAGE sql AS '';
    CREATE AGGREGATE total (integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0');
    CREATE OPERATOR ### (FUNCTION = int4pl, LEFTARG = integer, RIGHTARG = integer);
    CREATE COLLATION german (LOCALE = 'C');
    CREATE TEXT SEARCH CONFIGURATION plain (COPY = simple);
    CREATE TEXT SEARCH DICTIONARY words (TEMPLATE = simple);
    """,
]


@contextmanager
def session(url: str, *, autocommit: bool = True) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url, autocommit=autocommit) as connection:
        yield connection


def run(connection: psycopg.Connection[Any], statements: str) -> None:
    connection.execute(statements.encode())


def built(url: str, blocks: Iterable[str]) -> Fingerprint:
    with session(url) as connection:
        for block in blocks:
            run(connection, block)
        return fingerprint(connection)


@pytest.fixture
def database(make_database: Callable[[], str]) -> str:
    """The URL of a database that holds every kind of object."""
    url = make_database()
    built(url, BLOCKS)
    return url


def drift(expected: str, setup: str, change: str, *, name: str) -> Any:
    return pytest.param(setup, change, expected.split("; "), id=name)


TASKS = "CREATE TABLE tasks (id bigint PRIMARY KEY, title text, body text NOT NULL, due date DEFAULT now())"
CHILD = f"{TASKS}; CREATE TABLE notes (id bigint, task_id bigint CONSTRAINT of_task REFERENCES tasks)"
STATUS = "CREATE TYPE status AS ENUM ('open', 'done')"
EMAIL = "CREATE DOMAIN email AS text CONSTRAINT at CHECK (VALUE LIKE '%@%')"
VIEW = f"{TASKS}; CREATE VIEW titles AS SELECT title FROM tasks"
ADD = "CREATE FUNCTION add(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1 + 1'"
TOUCH = (
    f"{TASKS}; CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
    "CREATE TRIGGER touch BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION touch()"
)
WATCH = (
    "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
    "CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION watch()"
)
POLICY = f"{TASKS}; CREATE POLICY mine ON tasks USING (title = 'mine')"
BILLS = (
    "CREATE TABLE bills (at date) PARTITION BY RANGE (at);"
    "CREATE TABLE bills_1 PARTITION OF bills FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')"
)
STATISTICS = f"{TASKS}; CREATE STATISTICS pair ON title, due FROM tasks"
FOREIGN = (
    "CREATE FOREIGN DATA WRAPPER elsewhere; CREATE SERVER far FOREIGN DATA WRAPPER elsewhere;"
    "CREATE FOREIGN TABLE there (id bigint OPTIONS (c 'a')) SERVER far OPTIONS (t 'a')"
)
PLAIN = "CREATE TEXT SEARCH CONFIGURATION plain (COPY = simple)"

DRIFTS = [
    drift("schema extra", "", "CREATE SCHEMA extra", name="schema"),
    drift("extension citext", "", "CREATE EXTENSION citext", name="extension"),
    drift(
        "extension citext",
        "CREATE SCHEMA extra; CREATE EXTENSION citext",
        "ALTER EXTENSION citext SET SCHEMA extra",
        name="extension moved",
    ),
    drift("column public.t.id; table public.t", "", "CREATE TABLE t (id bigint)", name="table"),
    drift("table public.tasks", TASKS, "ALTER TABLE tasks SET UNLOGGED", name="unlogged"),
    drift("table public.tasks", TASKS, "ALTER TABLE tasks SET (fillfactor = 70)", name="storage parameter"),
    drift(
        "table public.tasks",
        TASKS,
        "ALTER TABLE tasks SET (toast.autovacuum_enabled = off)",
        name="storage parameter of the TOAST table",
    ),
    drift("table public.tasks", TASKS, "ALTER TABLE tasks REPLICA IDENTITY FULL", name="replica identity"),
    drift(
        "constraint public.tasks.tasks_pkey; table public.tasks",
        TASKS,
        "ALTER TABLE tasks REPLICA IDENTITY USING INDEX tasks_pkey",
        name="replica identity by index",
    ),
    drift("table public.tasks", TASKS, "ALTER TABLE tasks ENABLE ROW LEVEL SECURITY", name="row security"),
    drift("table public.tasks", TASKS, "ALTER TABLE tasks FORCE ROW LEVEL SECURITY", name="row security forced"),
    drift("table public.b", "CREATE TABLE a (); CREATE TABLE b ()", "ALTER TABLE b INHERIT a", name="inheritance"),
    drift("table public.bills_1", BILLS, "ALTER TABLE bills DETACH PARTITION bills_1", name="partition detached"),
    drift(
        "table public.bills_1",
        BILLS,
        "ALTER TABLE bills DETACH PARTITION bills_1;"
        "ALTER TABLE bills ATTACH PARTITION bills_1 FOR VALUES FROM ('2024-01-02') TO ('2025-01-01')",
        name="partition bound",
    ),
    drift("column public.tasks.note", TASKS, "ALTER TABLE tasks ADD note text", name="column added"),
    drift("column public.tasks.title", TASKS, "ALTER TABLE tasks DROP title", name="column dropped"),
    drift(
        "column public.tasks.name; column public.tasks.title",
        TASKS,
        "ALTER TABLE tasks RENAME title TO name",
        name="column renamed",
    ),
    drift("column public.tasks.title", TASKS, "ALTER TABLE tasks ALTER title TYPE varchar(9)", name="column type"),
    drift(
        "column public.tasks.title",
        TASKS,
        'ALTER TABLE tasks ALTER title TYPE text COLLATE "C"',
        name="column collation",
    ),
    drift("column public.tasks.body", TASKS, "ALTER TABLE tasks ALTER body DROP NOT NULL", name="not null"),
    drift("column public.tasks.title", TASKS, "ALTER TABLE tasks ALTER title SET DEFAULT ''", name="default"),
    drift("column public.tasks.due", TASKS, "ALTER TABLE tasks ALTER due DROP DEFAULT", name="default dropped"),
    drift(
        "column public.tasks.id; sequence public.tasks_id_seq",
        TASKS,
        "ALTER TABLE tasks ALTER id ADD GENERATED ALWAYS AS IDENTITY",
        name="identity",
    ),
    drift(
        "column public.t.b",
        "CREATE TABLE t (a integer, b integer GENERATED ALWAYS AS (a * 2) STORED)",
        "ALTER TABLE t DROP b; ALTER TABLE t ADD b integer GENERATED ALWAYS AS (a * 3) STORED",
        name="generated column",
    ),
    drift(
        "column public.tasks.body",
        TASKS,
        "ALTER TABLE tasks ALTER body SET STORAGE EXTERNAL",
        name="column storage",
    ),
    drift(
        "column public.tasks.body",
        TASKS,
        "ALTER TABLE tasks ALTER body SET COMPRESSION pglz",
        name="column compression",
    ),
    drift(
        "column public.tasks.body",
        TASKS,
        "ALTER TABLE tasks ALTER body SET STATISTICS 500",
        name="column statistics target",
    ),
    drift(
        "column public.tasks.body",
        TASKS,
        "ALTER TABLE tasks ALTER body SET (n_distinct = 7)",
        name="column options",
    ),
    drift(
        "constraint public.tasks.tasks_pkey",
        TASKS,
        "ALTER TABLE tasks DROP CONSTRAINT tasks_pkey",
        name="primary key dropped",
    ),
    drift(
        "constraint public.tasks.filled",
        TASKS,
        "ALTER TABLE tasks ADD CONSTRAINT filled CHECK (body <> '')",
        name="check",
    ),
    drift(
        "constraint public.tasks.filled",
        f"{TASKS}; ALTER TABLE tasks ADD CONSTRAINT filled CHECK (body <> '') NOT VALID",
        "ALTER TABLE tasks VALIDATE CONSTRAINT filled",
        name="check validated",
    ),
    drift(
        "constraint public.tasks.once",
        TASKS,
        "ALTER TABLE tasks ADD CONSTRAINT once UNIQUE (title)",
        name="unique",
    ),
    drift(
        "constraint public.tasks.tasks_pkey",
        TASKS,
        "ALTER INDEX tasks_pkey SET (fillfactor = 50)",
        name="storage parameter of a primary key",
    ),
    drift("constraint public.notes.of_task", CHILD, "ALTER TABLE notes DROP CONSTRAINT of_task", name="foreign key"),
    drift(
        "constraint public.notes.of_task",
        CHILD,
        "ALTER TABLE notes DROP CONSTRAINT of_task;"
        "ALTER TABLE notes ADD CONSTRAINT of_task FOREIGN KEY (task_id) REFERENCES tasks ON DELETE CASCADE",
        name="foreign key's action",
    ),
    drift(
        "constraint public.notes.of_task",
        CHILD,
        "ALTER TABLE notes ALTER CONSTRAINT of_task DEFERRABLE INITIALLY DEFERRED",
        name="deferrable",
    ),
    drift(
        "constraint public.notes.for_task; constraint public.notes.of_task",
        CHILD,
        "ALTER TABLE notes RENAME CONSTRAINT of_task TO for_task",
        name="constraint renamed",
    ),
    drift("index public.by_due", TASKS, "CREATE INDEX by_due ON tasks (due)", name="index"),
    drift(
        "index public.by_due",
        f"{TASKS}; CREATE INDEX by_due ON tasks (due)",
        "DROP INDEX by_due; CREATE INDEX by_due ON tasks (due) WHERE body <> ''",
        name="index's predicate",
    ),
    drift(
        "index public.by_due",
        f"{TASKS}; CREATE INDEX by_due ON tasks (due)",
        "CLUSTER tasks USING by_due",
        name="clustered",
    ),
    drift(
        "index public.by_lower",
        f"{TASKS}; CREATE INDEX by_lower ON tasks (lower(title))",
        "ALTER INDEX by_lower ALTER COLUMN 1 SET STATISTICS 500",
        name="index's statistics target",
    ),
    drift(
        "index public.part; index public.whole",
        f"{BILLS}; CREATE INDEX whole ON ONLY bills (at); CREATE INDEX part ON bills_1 (at)",
        "ALTER INDEX whole ATTACH PARTITION part",
        name="index attached",
    ),
    drift(
        "view public.titles",
        VIEW,
        "CREATE OR REPLACE VIEW titles AS SELECT title FROM tasks WHERE due IS NULL",
        name="view",
    ),
    drift("view public.titles", VIEW, "ALTER VIEW titles SET (security_barrier)", name="view's option"),
    drift(
        "column public.titles.title",
        VIEW,
        "ALTER VIEW titles ALTER title SET DEFAULT 'none'",
        name="view's default",
    ),
    drift(
        "materialized view public.m",
        f"{TASKS}; CREATE MATERIALIZED VIEW m AS SELECT id FROM tasks",
        "DROP MATERIALIZED VIEW m; CREATE MATERIALIZED VIEW m AS SELECT id FROM tasks WHERE id > 0",
        name="materialized view",
    ),
    drift(
        "function public.add(integer)",
        ADD,
        "CREATE OR REPLACE FUNCTION add(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1 + 2'",
        name="function's body",
    ),
    drift("function public.add(integer)", ADD, "ALTER FUNCTION add STRICT", name="function's property"),
    drift(
        "function public.add(integer)",
        ADD,
        "ALTER FUNCTION add SET search_path = public",
        name="function's setting",
    ),
    drift(
        "function public.add(text)",
        ADD,
        "CREATE FUNCTION add(text) RETURNS text LANGUAGE sql AS 'SELECT $1'",
        name="function overloaded",
    ),
    drift("procedure public.tidy()", "", "CREATE PROCEDURE tidy() LANGUAGE sql AS ''", name="procedure"),
    drift(
        "aggregate public.total(integer)",
        "CREATE AGGREGATE total (integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0')",
        "CREATE OR REPLACE AGGREGATE total (integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '1')",
        name="aggregate",
    ),
    drift("trigger public.tasks.touch", TOUCH, "DROP TRIGGER touch ON tasks", name="trigger"),
    drift("trigger public.tasks.touch", TOUCH, "ALTER TABLE tasks DISABLE TRIGGER touch", name="trigger disabled"),
    drift("trigger public.tasks.touch", TOUCH, "ALTER TABLE tasks ENABLE ALWAYS TRIGGER touch", name="trigger always"),
    drift(
        'trigger public.notes.of_task ("RI_FKey_check_ins"); trigger public.notes.of_task ("RI_FKey_check_upd")',
        CHILD,
        "ALTER TABLE notes DISABLE TRIGGER ALL",
        name="foreign key's triggers disabled",
    ),
    drift("event trigger watch", WATCH, "ALTER EVENT TRIGGER watch DISABLE", name="event trigger"),
    drift(
        "rule public.tasks.keep",
        TASKS,
        "CREATE RULE keep AS ON DELETE TO tasks DO INSTEAD NOTHING",
        name="rule",
    ),
    drift(
        "rule public.tasks.keep",
        f"{TASKS}; CREATE RULE keep AS ON DELETE TO tasks DO INSTEAD NOTHING",
        "ALTER TABLE tasks DISABLE RULE keep",
        name="rule disabled",
    ),
    drift("policy public.tasks.mine", POLICY, "ALTER POLICY mine ON tasks USING (true)", name="policy"),
    drift("policy public.tasks.mine", POLICY, "ALTER POLICY mine ON tasks TO pg_monitor", name="policy's roles"),
    drift("sequence public.s", "CREATE SEQUENCE s", "ALTER SEQUENCE s AS integer", name="sequence's type"),
    drift("sequence public.s", "CREATE SEQUENCE s", "ALTER SEQUENCE s CYCLE", name="sequence's cycle"),
    drift(
        "sequence public.s",
        f"{TASKS}; CREATE SEQUENCE s",
        "ALTER SEQUENCE s OWNED BY tasks.id",
        name="sequence's owner column",
    ),
    drift("statistics public.pair", STATISTICS, "DROP STATISTICS pair", name="extended statistics"),
    drift(
        "statistics public.pair",
        STATISTICS,
        "DROP STATISTICS pair; CREATE STATISTICS pair (mcv) ON title, due FROM tasks",
        name="kind of extended statistics",
    ),
    drift(
        "statistics public.pair",
        STATISTICS,
        "DROP STATISTICS pair; CREATE STATISTICS pair ON title, lower(body) FROM tasks",
        name="expression of extended statistics",
    ),
    drift(
        "statistics public.pair",
        STATISTICS,
        "ALTER STATISTICS pair SET STATISTICS 50",
        name="extended statistics' target",
    ),
    drift("type public.status", STATUS, "ALTER TYPE status ADD VALUE 'late'", name="enum label"),
    drift("type public.status", STATUS, "ALTER TYPE status RENAME VALUE 'done' TO 'over'", name="enum label renamed"),
    drift("type public.email", EMAIL, "ALTER DOMAIN email SET NOT NULL", name="domain"),
    drift("constraint public.email.at", EMAIL, "ALTER DOMAIN email DROP CONSTRAINT at", name="domain's check"),
    drift(
        "type public.pair",
        "CREATE TYPE pair AS (a integer, b text)",
        "ALTER TYPE pair ALTER ATTRIBUTE a TYPE bigint",
        name="composite type",
    ),
    drift(
        "type public.span",
        "CREATE TYPE span AS RANGE (subtype = integer)",
        "DROP TYPE span; CREATE TYPE span AS RANGE (subtype = bigint)",
        name="range type",
    ),
    drift(
        "operator public.###(integer,integer)",
        "",
        "CREATE OPERATOR ### (FUNCTION = int4pl, LEFTARG = integer, RIGHTARG = integer)",
        name="operator",
    ),
    drift(
        "operator class public.mine USING btree; operator family public.mine USING btree",
        "",
        "CREATE OPERATOR CLASS mine FOR TYPE integer USING btree AS OPERATOR 1 <, FUNCTION 1 btint4cmp(int4, int4)",
        name="operator class",
    ),
    drift(
        "operator family public.mine USING btree",
        "CREATE OPERATOR FAMILY mine USING btree",
        "ALTER OPERATOR FAMILY mine USING btree ADD OPERATOR 1 < (int4, int4)",
        name="operator family",
    ),
    drift(
        "cast (public.status AS integer)",
        f"{STATUS}; CREATE FUNCTION rank(status) RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE CAST (status AS integer) WITH FUNCTION rank(status)",
        name="cast",
    ),
    drift("collation public.german", "", "CREATE COLLATION german (LOCALE = 'C')", name="collation"),
    drift(
        "text search configuration public.plain",
        PLAIN,
        "ALTER TEXT SEARCH CONFIGURATION plain ALTER MAPPING FOR word WITH english_stem",
        name="text search configuration",
    ),
    drift(
        "text search dictionary public.words",
        "CREATE TEXT SEARCH DICTIONARY words (TEMPLATE = simple)",
        "ALTER TEXT SEARCH DICTIONARY words (accept = false)",
        name="text search dictionary",
    ),
    drift("foreign data wrapper other", "", "CREATE FOREIGN DATA WRAPPER other", name="foreign data wrapper"),
    drift("foreign server far", FOREIGN, "ALTER SERVER far VERSION '2'", name="foreign server"),
    drift(
        "foreign table public.there",
        FOREIGN,
        "ALTER FOREIGN TABLE there OPTIONS (SET t 'b')",
        name="foreign table's options",
    ),
    drift(
        "column public.there.id",
        FOREIGN,
        "ALTER FOREIGN TABLE there ALTER id OPTIONS (SET c 'b')",
        name="foreign column's options",
    ),
]


@pytest.mark.parametrize(("setup", "change", "expected"), DRIFTS)
def test_a_change_by_hand_is_found_and_named(
    make_database: Callable[[], str], setup: str, change: str, expected: list[str]
) -> None:
    """Every kind of change gives another digest, and the difference names the changed object and no other."""
    with session(make_database()) as connection:
        run(connection, setup)
        before = fingerprint(connection)
        run(connection, change)
        after = fingerprint(connection)
    assert before.digest != after.digest
    assert [f"{each.kind} {each.name}" for each in differences(before, after)] == expected


def test_an_index_that_failed_to_build_is_named(make_database: Callable[[], str]) -> None:
    """What a failed CREATE INDEX CONCURRENTLY leaves behind differs from the index that was wanted."""
    unique = "CREATE UNIQUE INDEX CONCURRENTLY once ON t (id)"
    good = built(make_database(), ["CREATE TABLE t (id integer)", unique])
    with session(make_database()) as connection:
        run(connection, "CREATE TABLE t (id integer); INSERT INTO t VALUES (1), (1)")
        with pytest.raises(psycopg.errors.UniqueViolation):
            run(connection, unique)
        bad = fingerprint(connection)
    index = "CREATE UNIQUE INDEX once ON public.t USING btree (id)"
    assert differences(good, bad) == [Difference("index", "public.once", index, f"{index} INVALID NOT READY")]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("", id="nothing"),
        pytest.param("INSERT INTO people (email, born) VALUES ('a@b', now()); ANALYZE people", id="rows"),
        pytest.param("SELECT nextval('people_id_seq')", id="sequence's position"),
        pytest.param("ALTER SEQUENCE people_id_seq START 7 RESTART 1000", id="sequence's start"),
        pytest.param(
            "ALTER SEQUENCE people_id_seq INCREMENT 16 MINVALUE 3 MAXVALUE 5000 CACHE 5 START 3 RESTART 1003",
            id="sequence's numbers",
        ),
        pytest.param("COMMENT ON TABLE tasks IS 'work'", id="comment"),
        pytest.param("GRANT SELECT ON tasks TO pg_monitor; GRANT UPDATE (title) ON tasks TO PUBLIC", id="grants"),
        pytest.param("ALTER TABLE people OWNER TO pg_monitor", id="owner"),
        pytest.param("REFRESH MATERIALIZED VIEW counts WITH NO DATA", id="materialized view emptied"),
        pytest.param("VACUUM tasks", id="vacuum"),
        pytest.param("CREATE PUBLICATION everything FOR ALL TABLES", id="publication"),
        pytest.param("CREATE TEMPORARY TABLE mine (id bigint)", id="temporary table"),
        pytest.param(
            "ALTER TABLE tasks DROP due CASCADE; ALTER TABLE tasks ADD due date DEFAULT '2024-02-03';"
            "CREATE INDEX ON tasks (due DESC, lower(title)) WHERE status = 'open';"
            "CREATE STATISTICS tasks_stats ON due, status FROM tasks;"
            "CREATE POLICY mine ON tasks FOR SELECT USING (due > '2024-01-01')",
            id="column dropped and added again",
        ),
        pytest.param("REINDEX TABLE tasks", id="index built again"),
    ],
)
def test_what_serves_alike_is_no_drift(database: str, change: str) -> None:
    """Data, places and order of columns are not the schema: the digest stays."""
    with session(database) as connection:
        before = fingerprint(connection)
        run(connection, change)
        assert differences(before, fingerprint(connection)) == []


def test_the_order_of_creation_does_not_matter(make_database: Callable[[], str]) -> None:
    """The same objects made in the opposite order, with other OIDs, have the same fingerprint."""
    forward = built(make_database(), BLOCKS)
    backward = built(make_database(), ["CREATE TABLE gone (); DROP TABLE gone", *reversed(BLOCKS)])
    assert differences(forward, backward) == []
    assert forward == backward


def test_a_foreign_key_to_partitions_does_not_depend_on_their_order(make_database: Callable[[], str]) -> None:
    """PostgreSQL's hidden copies of a foreign key, numbered as the partitions came, are not looked at."""
    parts = [
        "CREATE TABLE p_1 PARTITION OF p FOR VALUES IN (1)",
        "CREATE TABLE p_2 PARTITION OF p FOR VALUES IN (2)",
    ]
    whole = "CREATE TABLE p (id integer PRIMARY KEY, up integer REFERENCES p) PARTITION BY LIST (id)"
    reference = "CREATE TABLE r (id integer REFERENCES p)"
    first = built(make_database(), [whole, reference, *parts])
    second = built(make_database(), [whole, *reversed(parts), reference])
    assert differences(first, second) == []


def test_the_order_of_enum_labels_matters(make_database: Callable[[], str]) -> None:
    """Labels sort and compare by their order, so the same labels in another order are another type."""
    enum = "CREATE TYPE status AS ENUM ('open', 'done')"
    after = built(make_database(), [enum, "ALTER TYPE status ADD VALUE 'late'"])
    before = built(make_database(), [enum, "ALTER TYPE status ADD VALUE 'late' BEFORE 'done'"])
    assert differences(after, before) == [
        Difference("type", "public.status", "ENUM ('open', 'done', 'late')", "ENUM ('open', 'late', 'done')")
    ]


def test_a_schema_restored_from_its_own_printing_is_equal(make_database: Callable[[], str]) -> None:
    """PostgreSQL prints a list of varchars in another way once its printing was run, as by a restore: no drift."""
    table = "CREATE TABLE t (v varchar(9))"
    with session(make_database()) as connection:
        run(connection, f"{table}; ALTER TABLE t ADD CONSTRAINT few CHECK (v IN ('a', 'it''s, ]'))")
        original = fingerprint(connection)
        row = connection.execute("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'few'")
        printed = row.fetchall()[0][0]
    restored = built(make_database(), [table, f"ALTER TABLE t ADD CONSTRAINT few {printed}"])
    assert differences(original, restored) == []


def test_a_not_null_is_the_same_however_it_was_written(make_database: Callable[[], str]) -> None:
    """PostgreSQL 18 names every NOT NULL; the name depends on the history and is not compared."""
    at_once = built(make_database(), ["CREATE TABLE t (b integer NOT NULL)"])
    renamed = built(
        make_database(),
        [
            "CREATE TABLE s (a integer)",
            "ALTER TABLE s ALTER a SET NOT NULL",
            "ALTER TABLE s RENAME a TO b",
            "ALTER TABLE s RENAME TO t",
        ],
    )
    assert differences(at_once, renamed) == []


def test_our_own_schema_is_left_out(database: str) -> None:
    """The schema `shardwright`, and the triggers that call into it from the application's tables, are not seen."""
    with session(database) as connection:
        before = fingerprint(connection)
        run(
            connection,
            """
            CREATE SCHEMA shardwright;
            CREATE TYPE shardwright.kind AS ENUM ('a');
            CREATE TABLE shardwright.queue (id bigserial PRIMARY KEY, kind shardwright.kind NOT NULL);
            CREATE INDEX ON shardwright.queue (kind);
            CREATE FUNCTION shardwright.capture() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
            CREATE TRIGGER capture AFTER UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION shardwright.capture();
            ALTER TABLE tasks ENABLE ALWAYS TRIGGER capture;
            """,
        )
        assert differences(before, fingerprint(connection)) == []


def test_what_an_extension_brought_is_left_out(make_database: Callable[[], str]) -> None:
    """An extension is one object, whatever it holds; what was made beside it in its schema is seen."""
    with session(make_database()) as connection:
        run(connection, "CREATE SCHEMA extra")
        before = fingerprint(connection)
        run(connection, "CREATE EXTENSION hstore SCHEMA extra; CREATE TABLE extra.mine ()")
        names = [f"{each.kind} {each.name}" for each in differences(before, fingerprint(connection))]
    assert names == ["extension hstore", "table extra.mine"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("search_path", "billing, public"),
        ("search_path", ""),
        ("client_encoding", "LATIN1"),
        ("client_encoding", "SQL_ASCII"),
        ("quote_all_identifiers", "on"),
        ("DateStyle", "German"),
        ("IntervalStyle", "sql_standard"),
        ("TimeZone", "Asia/Tokyo"),
        ("bytea_output", "escape"),
        ("extra_float_digits", "-12"),
        ("default_transaction_read_only", "on"),
        ("default_transaction_isolation", "serializable"),
        ("role", "pg_monitor"),
    ],
)
def test_the_session_has_no_say(database: str, name: str, value: str) -> None:
    """Whatever a session has set, it reads the same fingerprint."""
    with session(database) as plain, session(database) as odd:
        odd.execute("SELECT set_config(%s, %s, false)", (name, value))
        assert differences(fingerprint(plain), fingerprint(odd)) == []


def test_nonstandard_strings_have_no_say(database: str) -> None:
    """A session that takes backslashes for escapes reads the same fingerprint."""
    with session(database) as plain, session(database) as odd:
        run(odd, "SET standard_conforming_strings = off; SET escape_string_warning = off")
        assert differences(fingerprint(plain), fingerprint(odd)) == []


def test_a_temporary_table_does_not_hide_the_catalog(database: str) -> None:
    """Temporary tables named like the catalogs are not read instead of them."""
    with session(database) as plain, session(database) as odd:
        run(odd, "CREATE TEMP TABLE pg_class (oid oid); CREATE TEMP TABLE pg_constraint (oid oid)")
        assert fingerprint(odd) == fingerprint(plain)


def test_an_ordinary_role_reads_the_same(database: str) -> None:
    """A role that may connect and nothing more, not even use a schema, gets the same fingerprint."""
    role = sql.Identifier(f"nobody_{uuid4().hex}")
    with session(database) as owner:
        run(owner, "REVOKE ALL ON SCHEMA public FROM PUBLIC")
        owner.execute(sql.SQL("CREATE ROLE {}").format(role))
        try:
            expected = fingerprint(owner)
            owner.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(role))
            assert differences(expected, fingerprint(owner)) == []
        finally:
            run(owner, "RESET SESSION AUTHORIZATION")
            owner.execute(sql.SQL("DROP ROLE {}").format(role))


def surroundings(connection: psycopg.Connection[Any]) -> list[Any]:
    """The session's settings, prepared statements and locks."""
    settings = connection.execute("SELECT name, setting FROM pg_settings ORDER BY name").fetchall()
    prepared = connection.execute("SELECT name FROM pg_prepared_statements", prepare=False).fetchall()
    locks = connection.execute(
        "SELECT relation FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation' ORDER BY 1"
    ).fetchall()
    return [settings, prepared, locks, connection.info.encoding]


@pytest.mark.parametrize("autocommit", [True, False])
def test_a_session_is_left_as_it_was(database: str, autocommit: bool) -> None:
    """No setting, prepared statement or open transaction stays behind, however often it was asked."""
    with session(database, autocommit=autocommit) as connection:
        before = surroundings(connection)
        connection.rollback()
        for _ in range(7):
            fingerprint(connection)
            assert connection.info.transaction_status is TransactionStatus.IDLE
        assert surroundings(connection) == before


def test_an_open_transaction_is_left_as_it_was(database: str) -> None:
    """Inside a transaction its own changes are seen; it keeps them, its settings and its locks, and may write."""
    with session(database, autocommit=False) as connection:
        run(connection, "SET LOCAL lock_timeout = '7s'; CREATE TABLE mine ()")
        before = surroundings(connection)
        objects = fingerprint(connection).objects
        assert SchemaObject("table", "public.mine", "TABLE") in objects
        assert surroundings(connection) == before
        assert connection.info.transaction_status is TransactionStatus.INTRANS
        run(connection, "INSERT INTO mine DEFAULT VALUES")


def test_the_connection_keeps_its_row_factory(database: str) -> None:
    """A connection that returns dictionaries serves as well."""
    with session(database) as plain, psycopg.connect(database, row_factory=dict_row) as other:
        assert fingerprint(other) == fingerprint(plain)


def test_objects_are_unique_by_kind_and_name(database: str) -> None:
    """Kind and name name one object, so that a difference can be shown object by object."""
    with session(database) as connection:
        objects = fingerprint(connection).objects
    assert len({(each.kind, each.name) for each in objects}) == len(objects)


def test_differences_show_both_sides_sorted() -> None:
    """A difference names its object and holds both definitions, None where the object is missing."""
    left = Fingerprint("1" * 64, (SchemaObject("table", "b", "x"), SchemaObject("column", "a", "text")))
    right = Fingerprint("2" * 64, (SchemaObject("table", "b", "y"), SchemaObject("column", "c", "text")))
    assert differences(left, right) == [
        Difference("column", "a", "text", None),
        Difference("column", "c", None, "text"),
        Difference("table", "b", "x", "y"),
    ]


def test_the_digest_is_short_for_people(make_database: Callable[[], str]) -> None:
    """The digest is a SHA-256 in hexadecimal, its short form the first eight digits."""
    found = built(make_database(), [])
    assert len(found.digest) == 64
    assert found.short == found.digest[:8]
    assert str(found) == f"Fingerprint(digest='{found.digest}')"
