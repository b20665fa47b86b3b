"""The rows of a rehearsal: few of each table, and whatever they refer to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster
from shardwright.migration.sample import copy_sample
from shardwright.migration.scratch import scratch_copy
from shardwright.runs.stopping import StopRequest

Sampled = tuple[psycopg.Connection[tuple[int | str | None, ...]], dict[str, int]]


@pytest.fixture
def source(database_url: str) -> Iterator[psycopg.Connection[tuple[int, ...]]]:
    """A connection to an empty database."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@contextmanager
def sampled(url: str, cluster: Cluster, rows: int, stop: StopRequest | None = None) -> Iterator[Sampled]:
    """A connection to a scratch copy with a sample, and how many rows it has by table."""
    shard, counts = DatabaseUrl.parse(url), {}

    def fill(target: DatabaseUrl) -> None:
        counts.update(copy_sample(shard, target, rows, "alembic_version", stop or StopRequest()))

    server = DatabaseUrl.parse(cluster.url("postgres"))
    with (
        scratch_copy(shard, server, "alembic_version", fill=fill) as copy,
        psycopg.connect(copy.conninfo, autocommit=True) as connection,
    ):
        yield connection, counts


def one(connection: psycopg.Connection[tuple[int | str | None, ...]], query: str) -> object:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def test_parents_come_with_their_children(
    source: psycopg.Connection[tuple[int, ...]], database_url: str, cluster: Cluster
) -> None:
    """However far up they are: over two tables, over a key of two columns; NULL refers to nothing."""
    source.execute("""
        CREATE TABLE a (x int, y text, PRIMARY KEY (x, y));
        CREATE TABLE b (id int PRIMARY KEY, x int, y text, FOREIGN KEY (x, y) REFERENCES a);
        CREATE TABLE c (id int PRIMARY KEY, b int REFERENCES b);
        INSERT INTO a SELECT n, 'n' FROM generate_series(1, 1000) n;
        INSERT INTO b SELECT n, 1001 - n, 'n' FROM generate_series(1, 1000) n;
        INSERT INTO c SELECT n, nullif(1000 - n, 990) FROM generate_series(1, 999) n;
    """)
    with sampled(database_url, cluster, 10) as (copy, counts):
        assert one(copy, "SELECT count(*) FROM c") == counts["public.c"] == 10
        lonely = "SELECT count(*) FROM c LEFT JOIN b ON b.id = c.b LEFT JOIN a USING (x, y) WHERE a IS NULL"
        assert one(copy, lonely) == 1
        assert one(copy, "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated") == 2


def test_odd_names_are_names(source: psycopg.Connection[tuple[int, ...]], database_url: str, cluster: Cluster) -> None:
    """A percent sign in a table or a column is no placeholder, a quote ends nothing."""
    source.execute("""
        CREATE TABLE "100 %s" ("%(id)s" int PRIMARY KEY);
        CREATE TABLE "it's %" ("of ""%" int REFERENCES "100 %s");
        INSERT INTO "100 %s" SELECT generate_series(1, 9);
        INSERT INTO "it's %" SELECT generate_series(1, 9);
    """)
    with sampled(database_url, cluster, 2) as (_, counts):
        assert counts["public.it's %"] == 2
        assert counts["public.100 %s"] >= 2


def test_self_references_and_cycles_are_walked_to_their_end(
    source: psycopg.Connection[tuple[int, ...]], database_url: str, cluster: Cluster
) -> None:
    """A chain through one table comes whole; two tables that refer to each other come round."""
    source.execute("""
        CREATE TABLE chain (id int PRIMARY KEY, next int REFERENCES chain);
        CREATE TABLE team (id int PRIMARY KEY, lead int);
        CREATE TABLE person (id int PRIMARY KEY, team int NOT NULL REFERENCES team);
        ALTER TABLE team ADD FOREIGN KEY (lead) REFERENCES person DEFERRABLE INITIALLY DEFERRED;
        INSERT INTO chain SELECT n, nullif(n + 1, 51) FROM generate_series(1, 50) n;
        INSERT INTO team SELECT n, n FROM generate_series(1, 50) n;
        INSERT INTO person SELECT n, n % 50 + 1 FROM generate_series(1, 50) n;
    """)
    with sampled(database_url, cluster, 1) as (copy, counts):
        assert counts["public.chain"] == 50
        assert counts["public.team"] == counts["public.person"] == 50
        assert one(copy, "SELECT count(*) FROM person JOIN team ON team.id = person.team") == 50


def test_every_kind_of_column_arrives_as_it_was(
    source: psycopg.Connection[tuple[int, ...]], database_url: str, cluster: Cluster
) -> None:
    """Generated and identity columns, enums, arrays and records of them, big values, names that need quoting."""
    source.execute("""
        CREATE TYPE mood AS ENUM ('glad', 'sad');
        CREATE TYPE pair AS (a mood, b text);
        CREATE TABLE "Odd ""T" (
            "Id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, moods mood[], "one pair" pair, at timestamptz,
            price float8, data bytea, dropped int, doc text, long int GENERATED ALWAYS AS (length(doc)) STORED);
        ALTER TABLE "Odd ""T" DROP COLUMN dropped;
        INSERT INTO "Odd ""T" (moods, "one pair", at, price, data, doc)
        SELECT '{glad,sad}', ROW('sad', E'tab\\t\\\\N, "x"')::pair, '2024-02-03 04:05:06.789+09', 0.1 + 0.2, '\\x00ff',
               repeat(md5(n::text), 100000)
        FROM generate_series(1, 3) n;
    """)
    whole = 'SELECT string_agg(md5(t::text), \',\' ORDER BY "Id") FROM "Odd ""T" t'
    with sampled(database_url, cluster, 10) as (copy, _):
        assert one(copy, whole) == one(source, whole)
        copy.execute('INSERT INTO "Odd ""T" (doc) VALUES (\'next\')')
        assert one(copy, 'SELECT max("Id") FROM "Odd ""T"') == 4


def test_partitions_and_what_refers_to_them(
    source: psycopg.Connection[tuple[int, ...]], database_url: str, cluster: Cluster
) -> None:
    """Each partition gives its rows; a parent is found in whichever partition it is."""
    source.execute("""
        CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
        CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200);
        CREATE TABLE c (p int REFERENCES p);
        INSERT INTO p SELECT generate_series(0, 199);
        INSERT INTO c VALUES (150), (50);
    """)
    with sampled(database_url, cluster, 5) as (copy, counts):
        assert one(copy, "SELECT count(*) FROM c JOIN p ON p.id = c.p") == 2
        assert counts["public.p1"] in (5, 6)
        assert "public.p" not in counts


def test_a_large_table_gives_as_many_rows_as_asked_for(
    source: psycopg.Connection[tuple[int, ...]], database_url: str, cluster: Cluster
) -> None:
    """From blocks here and there where its size is known."""
    source.execute("CREATE TABLE big AS SELECT n FROM generate_series(1, 50000) n")
    source.execute("ANALYZE big")
    with sampled(database_url, cluster, 100) as (copy, counts):
        assert one(copy, "SELECT count(DISTINCT n) FROM big") == counts["public.big"] == 100


def test_what_does_not_hold_on_the_shard_is_not_asked_of_the_copy(
    source: psycopg.Connection[tuple[int, ...]], database_url: str, cluster: Cluster
) -> None:
    """Constraints not validated, triggers that would refuse, views to be filled: the copy is as the shard is."""
    source.execute("""
        CREATE TABLE a (id int PRIMARY KEY);
        CREATE TABLE b (a int);
        INSERT INTO b VALUES (7), (-1);
        ALTER TABLE b ADD FOREIGN KEY (a) REFERENCES a NOT VALID;
        ALTER TABLE b ADD CHECK (a > 0) NOT VALID;
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END';
        CREATE TRIGGER refuse BEFORE INSERT ON b FOR EACH ROW EXECUTE FUNCTION refuse();
        CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n FROM b;
    """)
    with sampled(database_url, cluster, 10) as (copy, _):
        assert one(copy, "SELECT n FROM m") == 2
        assert one(copy, "SELECT count(*) FROM pg_trigger WHERE tgname = 'refuse'") == 1


def test_the_shard_is_only_read_and_rows_come_from_one_moment(
    source: psycopg.Connection[tuple[int, ...]], database_url: str, cluster: Cluster
) -> None:
    """No sequence moves, no row changes; a table without columns and an empty one are no trouble."""
    source.execute("CREATE TABLE a (id serial); CREATE TABLE none (); CREATE TABLE empty (i int)")
    source.execute("INSERT INTO a DEFAULT VALUES")
    with sampled(database_url, cluster, 10) as (copy, counts):
        assert counts == {"public.a": 1}
        assert one(copy, "SELECT nextval('a_id_seq')") == 2
    assert one(source, "SELECT last_value FROM a_id_seq") == 1


def test_rows_hidden_by_row_security_are_an_error(
    source: psycopg.Connection[tuple[int, ...]], database_url: str, cluster: Cluster
) -> None:
    """Half of a shard would not satisfy its foreign keys; nothing is left out silently."""
    name = "sees_little"
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        admin.execute(f"DROP ROLE IF EXISTS {name}")
        admin.execute(f"CREATE ROLE {name} LOGIN CREATEDB")
    source.execute("CREATE TABLE a (id int); ALTER TABLE a ENABLE ROW LEVEL SECURITY")
    source.execute(f"GRANT SELECT ON a TO {name}")
    url = database_url.replace("postgres@", f"{name}@")
    with pytest.raises(psycopg.Error, match="row-level security"), sampled(url, cluster, 10):
        pass
    source.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_a_stop_cuts_it_short(source: psycopg.Connection[tuple[int, ...]], database_url: str, cluster: Cluster) -> None:
    """Nothing more is read once it is asked."""
    source.execute("CREATE TABLE a (id int); INSERT INTO a VALUES (1)")
    stop = StopRequest()
    stop.ask("enough")
    with sampled(database_url, cluster, 10, stop) as (copy, counts):
        assert counts == {}
        assert one(copy, "SELECT count(*) FROM a") == 0
