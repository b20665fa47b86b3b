"""Tables of every shape move exactly while their rows change, there, back, and for good; hostile names and ids too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from pair import Pair, meanwhile
from shardwright.embedded import Cluster

LONG = "ü" * 31 + "x"  # 63 bytes
ROOT, KEY = """Org's "%s" {x}""", """org '%s' "{}" id"""
TENANT, NEIGHBOUR, STRANGER = "it's", "its", "other's"

# Rows of the tenant have an n below 900, all others one from 900 on. @O: the root, @K: the tenant's id in a row.
SCHEMA = """
CREATE SCHEMA "b%s{}";
CREATE TABLE @O (id text PRIMARY KEY, n integer);

CREATE TABLE by_range (id integer, at date, @K NOT NULL REFERENCES @O, n integer, PRIMARY KEY (id, at))
    PARTITION BY RANGE (at);
CREATE TABLE by_range_1 PARTITION OF by_range FOR VALUES FROM ('2024-01-01') TO ('2025-01-01') PARTITION BY HASH (id);
CREATE TABLE by_range_1_0 PARTITION OF by_range_1 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE "by %s range's {1}" PARTITION OF by_range_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE by_range_2 (n integer, gone text, at date NOT NULL, @K NOT NULL, id integer NOT NULL);
ALTER TABLE by_range_2 DROP COLUMN gone;
ALTER TABLE by_range ATTACH PARTITION by_range_2 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE by_range_else PARTITION OF by_range DEFAULT;
CREATE TABLE by_list (id integer, kind text, n integer, @K NOT NULL REFERENCES @O, PRIMARY KEY (id, kind))
    PARTITION BY LIST (kind);
CREATE TABLE by_list_a PARTITION OF by_list FOR VALUES IN ('a');
CREATE TABLE by_list_b PARTITION OF by_list FOR VALUES IN ('b', NULL);
CREATE TABLE by_hash (id integer PRIMARY KEY, n integer, @K NOT NULL REFERENCES @O) PARTITION BY HASH (id);
CREATE TABLE by_hash_0 PARTITION OF by_hash FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE by_hash_1 PARTITION OF by_hash FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE by_tenant (id integer, n integer, @K REFERENCES @O, PRIMARY KEY (@C, id)) PARTITION BY LIST (@C);
CREATE TABLE by_tenant_1 PARTITION OF by_tenant FOR VALUES IN ('it''s');
CREATE TABLE by_tenant_else PARTITION OF by_tenant DEFAULT;
CREATE TABLE keyless_parts (id integer, n integer, @K NOT NULL REFERENCES @O) PARTITION BY HASH (id);
CREATE TABLE keyless_parts_0 PARTITION OF keyless_parts FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE TABLE below_parts (
    id integer PRIMARY KEY, range_id integer NOT NULL, at date NOT NULL, n integer,
    FOREIGN KEY (range_id, at) REFERENCES by_range ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE TABLE parts_below (id integer PRIMARY KEY, n integer, hash_id integer NOT NULL REFERENCES by_hash
    ON DELETE CASCADE ON UPDATE CASCADE) PARTITION BY RANGE (id);
CREATE TABLE parts_below_1 PARTITION OF parts_below FOR VALUES FROM (0) TO (5);
CREATE TABLE parts_below_else PARTITION OF parts_below DEFAULT;

CREATE TABLE teams (id integer PRIMARY KEY, n integer, @K NOT NULL REFERENCES @O, lead integer);
CREATE TABLE people (
    id integer PRIMARY KEY, n integer, @K NOT NULL REFERENCES @O,
    team integer NOT NULL REFERENCES teams DEFERRABLE INITIALLY DEFERRED, boss integer REFERENCES people
);
ALTER TABLE teams ADD FOREIGN KEY (lead) REFERENCES people;
CREATE TABLE nodes (
    id integer PRIMARY KEY, n integer, team integer REFERENCES teams ON DELETE CASCADE,
    parent integer REFERENCES nodes ON DELETE CASCADE
);
CREATE TABLE remarks (id integer PRIMARY KEY, n integer, person integer REFERENCES people ON DELETE SET NULL);
CREATE TABLE either (
    id integer PRIMARY KEY, n integer, person integer REFERENCES people ON DELETE SET NULL,
    team integer REFERENCES teams ON DELETE SET NULL
);
CREATE TABLE docs (id integer, n integer, @K REFERENCES @O, PRIMARY KEY (@C, id));
CREATE TABLE pages (
    org text, doc integer, number integer, n integer, PRIMARY KEY (org, doc, number),
    FOREIGN KEY (org, doc) REFERENCES docs ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE TABLE lines (
    id integer PRIMARY KEY, org text NOT NULL, doc integer NOT NULL, number integer NOT NULL, n integer,
    FOREIGN KEY (org, doc, number) REFERENCES pages ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE TABLE logs (n integer, message text, @K NOT NULL REFERENCES @O);
CREATE TABLE hits (n integer, person integer NOT NULL REFERENCES people ON DELETE CASCADE);
CREATE TABLE badges (n integer, code text NOT NULL UNIQUE, name text UNIQUE, @K NOT NULL REFERENCES @O);
CREATE TABLE "b%s{}".people (id integer PRIMARY KEY, n integer, @K NOT NULL REFERENCES @O);
CREATE TABLE "b%s{}"."%s's ""table"" {0} %(x)s" (
    "select" integer PRIMARY KEY, n integer, "%s ""{}'" text, person integer NOT NULL REFERENCES "b%s{}".people
);
CREATE TABLE "@LONG" (n integer, "@LONG" integer PRIMARY KEY, @K NOT NULL REFERENCES @O);
CREATE TABLE ancestors (id integer PRIMARY KEY, n integer, @K NOT NULL REFERENCES @O);
CREATE TABLE heirs (more text) INHERITS (ancestors);
CREATE TABLE kept (id integer PRIMARY KEY, n integer, @K NOT NULL REFERENCES @O, is_gone boolean DEFAULT false);
CREATE RULE never_deleted AS ON DELETE TO kept DO INSTEAD UPDATE kept SET is_gone = true WHERE id = OLD.id;
CREATE RULE never_inserted AS ON INSERT TO kept WHERE NEW.n = 1 DO INSTEAD NOTHING;
CREATE TABLE secrets (id integer PRIMARY KEY, n integer, @K NOT NULL REFERENCES @O);
ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;
CREATE POLICY nothing ON secrets USING (false);

CREATE TABLE fired (at bigint GENERATED ALWAYS AS IDENTITY, what text, n integer);
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.fired (what) VALUES (TG_TABLE_NAME || TG_OP);
    IF TG_WHEN = 'BEFORE' AND TG_OP = 'INSERT' THEN RETURN NULL; END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
"""
MEDDLES = """DO $$ DECLARE name regclass; BEGIN
    FOR name IN SELECT oid FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'fired'
        AND relnamespace IN ('public'::regnamespace, '"b%s{}"'::regnamespace) LOOP
    EXECUTE format(
        'CREATE TRIGGER meddles AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION meddle()', name);
    END LOOP; END $$"""
# It would swallow a row that the mover brings; writers insert none like it.
SWALLOWS = "CREATE TRIGGER swallows BEFORE INSERT ON people FOR EACH ROW WHEN (NEW.n = 3) EXECUTE FUNCTION meddle()"
ROWS = """
INSERT INTO @O VALUES (@T, @N);
INSERT INTO by_range SELECT @B + i, date '2023-12-30' + 100 * i, @T, @N + i FROM generate_series(1, 9) AS i;
INSERT INTO by_list SELECT @B + i, CASE i % 2 WHEN 0 THEN 'a' ELSE 'b' END, @N + i, @T FROM generate_series(1, 6) AS i;
INSERT INTO by_hash SELECT @B + i, @N + i, @T FROM generate_series(1, 6) AS i;
INSERT INTO by_tenant SELECT @B + i, @N + i, @T FROM generate_series(1, 4) AS i;
INSERT INTO keyless_parts SELECT 1, @N, @T FROM generate_series(1, 3) AS i;
INSERT INTO below_parts SELECT 10 * id, id, at, n FROM by_range WHERE id > @B;
INSERT INTO parts_below SELECT id, n, id FROM by_hash WHERE id > @B;
INSERT INTO teams SELECT @B + i, @N + i, @T FROM generate_series(1, 4) AS i;
INSERT INTO people SELECT @B + i, @N + i, @T, @B + 1 + i % 4, nullif(@B + i - 1, @B) FROM generate_series(1, 8) AS i;
UPDATE teams SET lead = id + 1 WHERE id > @B;
INSERT INTO nodes VALUES (@B + 1, @N, @B + 1, NULL), (@B + 2, @N, NULL, @B + 1), (@B + 3, @N, NULL, @B + 2),
    (@B + 4, @N, NULL, @B + 3), (@B + 5, @N, @B + 2, NULL), (@B + 6, @N, NULL, @B + 5), (@B + 7, @N, @B + 3, @B + 1);
INSERT INTO remarks SELECT @B + i, @N + i, @B + i FROM generate_series(1, 7) AS i;
INSERT INTO either SELECT @B + i, @N + i, @B + i, CASE i % 2 WHEN 0 THEN @B + 1 END FROM generate_series(1, 7) AS i;
INSERT INTO docs SELECT i, @N + i, @T FROM generate_series(1, 4) AS i;
INSERT INTO pages SELECT @T, 1 + i % 4, i, @N + i FROM generate_series(1, 8) AS i;
INSERT INTO lines SELECT @B + i, @T, 1 + i % 4, i, @N + i FROM generate_series(1, 8) AS i;
INSERT INTO logs SELECT @N, 'well', @T FROM generate_series(1, 3) AS i;
INSERT INTO hits SELECT @N, @B + i FROM generate_series(1, 3) AS i, generate_series(1, 2);
INSERT INTO badges SELECT @N + i, @B + i, 'name ' || @B + i, @T FROM generate_series(1, 4) AS i;
INSERT INTO "b%s{}".people SELECT @B + i, @N + i, @T FROM generate_series(1, 3) AS i;
INSERT INTO "b%s{}"."%s's ""table"" {0} %(x)s" SELECT id, n, 'it''s %s', id FROM "b%s{}".people WHERE id > @B;
INSERT INTO "@LONG" SELECT @N + i, @B + i, @T FROM generate_series(1, 3) AS i;
INSERT INTO ancestors SELECT @B + i, @N + i, @T FROM generate_series(1, 3) AS i;
INSERT INTO heirs SELECT @B + i, @N + i, @T, 'more' FROM generate_series(1, 3) AS i;
INSERT INTO kept SELECT @B + i, @N + 1 + i, @T FROM generate_series(1, 4) AS i;
INSERT INTO secrets SELECT @B + i, @N + i, @T FROM generate_series(1, 3) AS i
"""
NOBODYS = """
INSERT INTO remarks VALUES (90, 990, NULL), (91, 991, NULL);
INSERT INTO either VALUES (90, 990, NULL, NULL);
INSERT INTO nodes VALUES (90, 990, NULL, NULL), (91, 991, NULL, 90)"""
CHANGES = {
    "copied": """
INSERT INTO by_range_2 VALUES (50, '2025-05-05', @T, 5);
INSERT INTO by_range SELECT 51, '2030-01-01', @T, 5;
UPDATE by_range SET at = '2025-06-06' WHERE id = 1;
DELETE FROM "by %s range's {1}" WHERE id = (SELECT min(id) FROM "by %s range's {1}" WHERE n < 900);
UPDATE by_list SET kind = CASE kind WHEN 'a' THEN 'b' ELSE 'a' END WHERE id <= 3;
UPDATE by_hash SET id = id + 20 WHERE id IN (1, 2);
UPDATE by_tenant SET id = id + 50 WHERE id = 1 AND n < 900;
INSERT INTO keyless_parts_0 VALUES (1, 1, @T);
DELETE FROM keyless_parts_0 WHERE ctid = (SELECT min(ctid) FROM keyless_parts_0 WHERE n < 900);
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO people VALUES (20, 2, @T, 20, NULL); INSERT INTO teams VALUES (20, 2, @T, 20);
UPDATE people SET boss = 8 WHERE id = 1;
UPDATE nodes SET parent = 5 WHERE id = 3;
DELETE FROM nodes WHERE id = 1;
UPDATE remarks SET person = 3, n = 3 WHERE id = 90;
UPDATE pages SET number = number + 100 WHERE number = 1 AND n < 900;
DELETE FROM docs WHERE id = 3 AND n < 900;
INSERT INTO logs VALUES (5, 'late', @T); DELETE FROM logs WHERE ctid = (SELECT min(ctid) FROM logs WHERE n < 900);
INSERT INTO hits VALUES (7, 1);
UPDATE badges SET code = 'new' WHERE code = '1';
UPDATE "b%s{}"."%s's ""table"" {0} %(x)s" SET "%s ""{}'" = '{0} %' WHERE "select" = 1;
UPDATE "b%s{}".people SET n = 7 WHERE id = 2;
UPDATE "@LONG" SET "@LONG" = 77 WHERE "@LONG" = 1;
UPDATE ancestors SET n = 7 WHERE id = 2; UPDATE ONLY ancestors SET n = 8 WHERE id = 3;
DELETE FROM kept WHERE id = 2;
UPDATE secrets SET n = 5 WHERE id = 1
""",
    "last": """
SET LOCAL session_replication_role = replica;
INSERT INTO by_range_else VALUES (60, '2031-01-01', @T, 6);
UPDATE by_list_a SET n = 7 WHERE n < 900;
UPDATE parts_below_1 SET n = 8 WHERE n < 900;
UPDATE parts_below_else SET n = 9 WHERE n < 900;
SET LOCAL session_replication_role = origin;
UPDATE by_range SET at = '2029-01-01' WHERE id = 2; UPDATE by_range SET id = 70 WHERE id = 3;
DELETE FROM by_range WHERE id = 5;
DELETE FROM by_hash WHERE id = 3;
UPDATE teams SET lead = NULL WHERE lead = 8; UPDATE people SET boss = NULL WHERE boss IN (7, 8);
UPDATE either SET n = 900 WHERE id = 7; UPDATE remarks SET n = 907 WHERE id = 7; DELETE FROM people WHERE id = 7;
UPDATE people SET team = 2 WHERE team = 4;
UPDATE teams SET lead = NULL WHERE id = 4; UPDATE nodes SET team = NULL WHERE team = 4; DELETE FROM teams WHERE id = 4;
UPDATE nodes SET n = 12 WHERE parent = 5;
DELETE FROM nodes WHERE id = 6;
UPDATE docs SET id = 9 WHERE id = 2 AND n < 900;
UPDATE badges SET name = CASE code WHEN '2' THEN 'x' ELSE name END WHERE n < 900;
UPDATE badges SET name = 'name 2' WHERE code = '3';
UPDATE logs SET message = message || '!' WHERE n < 900;
DELETE FROM hits WHERE person = 2;
INSERT INTO heirs VALUES (40, 4, @T, 'new'); DELETE FROM heirs WHERE id = 1;
DELETE FROM "b%s{}"."%s's ""table"" {0} %(x)s" WHERE "select" = 2;
UPDATE kept SET n = n + 10 WHERE n < 900
""",
    "back": """
UPDATE by_range SET at = '2024-06-06' WHERE id = 1; INSERT INTO by_range_1 VALUES (80, '2024-02-02', @T, 6);
DELETE FROM by_range WHERE id = 70;
UPDATE by_list SET kind = 'a' WHERE n < 900; UPDATE by_hash SET id = 1 WHERE id = 21;
DELETE FROM by_tenant WHERE id = 2 AND n < 900;
DELETE FROM keyless_parts WHERE n < 900;
UPDATE people SET boss = NULL WHERE boss = 6; UPDATE teams SET lead = NULL WHERE lead = 6;
UPDATE remarks SET n = 906 WHERE id = 6; DELETE FROM people WHERE id = 6;
INSERT INTO nodes VALUES (30, 3, NULL, 3), (31, 3, NULL, 30);
DELETE FROM docs WHERE id = 9 AND n < 900; INSERT INTO docs VALUES (3, 3, @T); INSERT INTO pages VALUES (@T, 3, 1, 3);
INSERT INTO logs VALUES (8, 'back', @T); DELETE FROM hits WHERE person = 1; DELETE FROM kept WHERE id = 1;
DELETE FROM heirs WHERE id = 40; UPDATE "@LONG" SET n = 44 WHERE "@LONG" = 77; DELETE FROM secrets WHERE id = 2
""",
}


def spelt(script: str, *, tenant: str = TENANT, first: int = 0, n: int = 0) -> list[str]:
    """The statements with the names and ids they are about."""
    names = {
        "@O": sql.Identifier(ROOT).as_string(),
        "@C": sql.Identifier(KEY).as_string(),
        "@K": sql.Identifier(KEY).as_string() + " text",
        "@T": sql.Literal(tenant).as_string(),
        "@B": str(first),
        "@N": str(n),
        "@LONG": LONG,
    }
    for word in sorted(names, key=len, reverse=True):
        script = script.replace(word, names[word])
    return [script]


@dataclass
class Walk:
    """The tenant's rows and those of all others, on both shards, at each stop of the walk; how often triggers fired."""

    mine: dict[str, dict[str, dict[str, list[str]]]] = field(default_factory=dict)
    others: dict[str, dict[str, dict[str, list[str]]]] = field(default_factory=dict)
    fired: dict[str, dict[str, int]] = field(default_factory=dict)
    is_equal: bool = False

    def stop(self, name: str, pair: Pair) -> None:
        """What is there now."""
        shards = list(pair.shards)
        self.mine[name] = {shard: pair.rows(shard, "n < 900") for shard in shards}
        self.others[name] = {shard: pair.rows(shard, "n >= 900") for shard in shards}
        self.fired[name] = {shard: pair.run(shard, "SELECT count(*) FROM fired")[0][0] for shard in shards}


@pytest.fixture(scope="module")
def pair(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """The tables on two shards: the tenant and another at home, a third one there."""
    config = f'root = {json.dumps(ROOT)}\nkey = {json.dumps(KEY)}\nignored = ["fired"]'
    made = Pair(tmp_path_factory.mktemp("shapes"), cluster, config)
    made.both(*spelt(SCHEMA))
    made.run("home", *spelt(ROWS), *spelt(ROWS, tenant=NEIGHBOUR, first=1000, n=900), NOBODYS)
    made.run("there", *spelt(ROWS, tenant=STRANGER, first=2000, n=900))
    made.both(MEDDLES, SWALLOWS)
    made.project.fleet().sync_tenants()
    yield made
    made.drop()


@pytest.fixture(scope="module")
def walk(pair: Pair) -> Walk:
    """The tenant goes there and back, goes again, and stays; rows change all the while."""

    def change(phase: str, shard: str) -> None:
        pair.run(shard, *spelt(CHANGES[phase]))

    walked = Walk()
    walked.stop("start", pair)
    with meanwhile(copied=[lambda: change("copied", "home")], last=[lambda: change("last", "home")]):
        pair.move(TENANT)
    walked.stop("moved", pair)
    walked.is_equal = pair.project.fleet().verify_move(TENANT).comparison.is_equal
    change("back", "there")
    walked.stop("changed", pair)
    pair.undo(TENANT)
    walked.stop("undone", pair)
    pair.leaves_nothing()
    pair.move(TENANT)
    walked.stop("moved again", pair)
    pair.finish(TENANT)
    walked.stop("finished", pair)
    pair.leaves_nothing()
    return walked


def test_every_table_is_there(walk: Walk) -> None:
    """As the source has it, every row in its partition; each table had rows, and changed."""
    assert_same(walk.mine["moved"]["there"], walk.mine["moved"]["home"])
    before, after = walk.mine["start"]["home"], walk.mine["moved"]["home"]
    assert {table for table in before if before[table] == after.get(table)} <= {f"public.{ROOT}"}
    assert walk.is_equal


def test_every_table_comes_back(walk: Walk) -> None:
    """With what was changed there."""
    assert_same(walk.mine["undone"]["home"], walk.mine["changed"]["there"])
    assert walk.mine["undone"]["there"] == {}
    assert walk.mine["changed"]["there"] != walk.mine["moved"]["there"]


def test_every_table_goes_for_good(walk: Walk) -> None:
    """The source keeps nothing, whatever rules it has for deletes."""
    assert_same(walk.mine["finished"]["there"], walk.mine["undone"]["home"])
    assert walk.mine["finished"]["home"] == {}


def test_rows_of_others_and_of_nobody_stay(walk: Walk) -> None:
    """A row that a foreign key's SET NULL has left to nobody stays where that was."""
    for before, after in (("moved", "changed"), ("undone", "moved again"), ("moved again", "finished")):
        assert_same(walk.others[after]["home"], walk.others[before]["home"])
        if after != "changed":
            assert_same(walk.others[after]["there"], walk.others[before]["there"])
    assert_same(walk.others["moved"]["there"], walk.others["start"]["there"])
    assert_same(walk.others["undone"]["there"], walk.others["changed"]["there"])
    assert "6\t906\t\\N\n" in walk.others["finished"]["there"]["public.remarks"]
    assert "7\t907\t\\N\n" in walk.others["finished"]["home"]["public.remarks"]


def test_no_trigger_fires_for_the_mover(walk: Walk) -> None:
    """Neither where rows arrive, nor where they are brought up to date, nor where they are taken away."""
    fired = walk.fired
    assert fired["moved"]["home"] > fired["start"]["home"]
    assert fired["moved"]["there"] == fired["start"]["there"]
    assert fired["undone"] == fired["changed"]
    assert fired["finished"] == fired["undone"]


def assert_same(found: dict[str, list[str]], expected: dict[str, list[str]]) -> None:
    """Every table, row by row."""
    assert found.keys() == expected.keys()
    for table, rows in expected.items():
        assert (table, found[table]) == (table, rows)


# --- ids ------------------------------------------------------------------------------------------

IDS = (
    "'; DROP TABLE orgs; -- $$ $1 %s %% %(tenant)s {} {0} \\ \\' \" ",
    "\u202e𝄞é\t\n\r\x01 ",
    "ü" * 1000,
    "NULL",
)


@pytest.fixture(scope="module")
def of_ids(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Tenants whose ids might be taken for something else; each has a direct, an indirect and a keyless table."""
    made = Pair(tmp_path_factory.mktemp("ids"), cluster, 'root = "orgs"\nkey = "org"')
    made.both(
        """CREATE TABLE orgs (id text PRIMARY KEY);
           CREATE TABLE tasks (id serial PRIMARY KEY, org varchar NOT NULL REFERENCES orgs, title text);
           CREATE TABLE remarks (task integer NOT NULL REFERENCES tasks ON DELETE CASCADE, body text);
           ALTER SEQUENCE tasks_id_seq INCREMENT 2"""
    )
    made.run("there", "ALTER SEQUENCE tasks_id_seq RESTART 2")
    for tenant in IDS:
        made.run("home", *task_of(tenant, insert_tenant=True), *task_of(tenant))
    made.project.fleet().sync_tenants()
    yield made
    made.drop()


def task_of(tenant: str, *, insert_tenant: bool = False) -> Iterator[str]:
    """A task of the tenant, with a remark."""
    literal = sql.Literal(tenant).as_string()
    if insert_tenant:
        yield f"INSERT INTO orgs VALUES ({literal})"
    yield f"INSERT INTO tasks (org, title) VALUES ({literal}, 'x')"
    yield f"INSERT INTO remarks SELECT max(id), 'y' FROM tasks WHERE org = {literal}"


@pytest.mark.parametrize("number", range(len(IDS)))
def test_an_id_that_looks_like_something_else(of_ids: Pair, number: int) -> None:
    """It is the id and nothing else, in every statement, name and message on the way."""
    tenant = IDS[number]
    literal = sql.Literal(tenant).as_string()
    mine = f"SELECT t.id, body FROM tasks AS t LEFT JOIN remarks ON task = t.id WHERE org = {literal} ORDER BY 1"
    others = f"SELECT * FROM tasks WHERE org <> {literal} ORDER BY id"
    stays = of_ids.run("home", others)
    with meanwhile(
        copied=[lambda: of_ids.run("home", *task_of(tenant))], last=[lambda: of_ids.run("home", *task_of(tenant))]
    ):
        of_ids.move(tenant)
    assert len(of_ids.run("there", mine)) == 4
    assert of_ids.run("there", mine) == of_ids.run("home", mine)
    with pytest.raises(psycopg.DatabaseError, match="is not written on this shard") as refused:
        of_ids.run("home", *task_of(tenant))
    assert json.loads(str(refused.value.diag.message_detail)) == {"tenant": tenant, "shard": "there", "epoch": 2}
    of_ids.run("there", *task_of(tenant))
    came = of_ids.run("there", mine)
    of_ids.undo(tenant)
    assert of_ids.run("home", mine) == came
    assert of_ids.run("home", others) == stays
    assert of_ids.rows("there") == {}


KEYS = {
    "uuid": ("6F9619FF-8B86-D011-B42D-00C04FC964FF", ("uuid", "text", "varchar(36)", "char(36)", "citext", "a_uuid")),
    "bigint": ("9007199254740993", ("bigint", "numeric", "text", "varchar", "citext")),
    "citext": ("Acme's", ("citext", "text", "varchar", "name")),
    "timestamptz": ("2024-10-27 00:30:00+00", ("timestamptz", "text")),
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_tenant_key_of_another_type_than_the_root_s(cluster: Cluster, tmp_path: Path, kind: str) -> None:
    """Each table's own type is compared with the tenant's id, as the root writes it."""
    given, kinds = KEYS[kind]
    pair = Pair(tmp_path, cluster, 'root = "orgs"\nkey = "org"')
    try:
        pair.both(
            "CREATE EXTENSION citext", "CREATE DOMAIN a_uuid AS uuid", f"CREATE TABLE orgs (id {kind} PRIMARY KEY)"
        )
        for number, each in enumerate(kinds):
            reference = " REFERENCES orgs" if each == kind else ""
            pair.both(f"CREATE TABLE rows_{number} (id integer PRIMARY KEY, org {each} NOT NULL{reference})")
            pair.both(
                f"CREATE TABLE below_{number} (id integer PRIMARY KEY, above integer NOT NULL REFERENCES rows_{number})"
            )
        pair.run("home", "SET TimeZone = 'UTC'", f"INSERT INTO orgs VALUES ({sql.Literal(given).as_string()})")
        ((tenant,),) = pair.run("home", "SET TimeZone = 'UTC'", "SELECT id::text FROM orgs")
        literal = sql.Literal(tenant).as_string()

        def write(first: int) -> None:
            for number in range(len(kinds)):
                pair.run(
                    "home",
                    "SET TimeZone = 'Asia/Kolkata'",
                    "SET DateStyle = 'SQL, DMY'",
                    f"INSERT INTO rows_{number} VALUES ({first}, {literal})",
                    f"INSERT INTO below_{number} VALUES ({first}, {first})",
                )

        write(1)
        pair.project.fleet().sync_tenants()
        with meanwhile(copied=[lambda: write(2)], last=[lambda: write(3)]):
            pair.move(tenant)
        assert pair.rows("there") == pair.rows("home")
        assert {len(rows) for table, rows in pair.rows("there").items() if table != "public.orgs"} == {3}
        pair.finish(tenant)
        assert pair.rows("home") == {}
    finally:
        pair.drop()


def test_an_error_of_a_shard_is_told_as_the_shard_s(cluster: Cluster, tmp_path: Path) -> None:
    """Also where it comes in the middle of the switch, while the control database is asked; the tenant works on."""
    pair = Pair(tmp_path, cluster, 'root = "orgs"\nkey = "org"')
    try:
        pair.both(
            "CREATE TABLE orgs (id integer PRIMARY KEY)",
            "CREATE TABLE rows (id integer PRIMARY KEY, org integer NOT NULL REFERENCES orgs)",
        )
        pair.run("home", "INSERT INTO orgs VALUES (1)")
        pair.project.fleet().sync_tenants()

        def collide() -> None:
            pair.run("there", "INSERT INTO orgs VALUES (2)", "INSERT INTO rows VALUES (1, 2)")
            pair.run("home", "INSERT INTO rows VALUES (1, 1)")

        with meanwhile(last=[collide]):
            status = pair.project.fleet().move("1", "there")
        assert (status.run.state, status.move.phase) == ("parked", "moving")
        assert "duplicate key value" in str(status.run.note)
        assert "control" not in str(status.run.note)
        pair.run("home", "INSERT INTO rows VALUES (2, 1)")
        pair.project.fleet().cancel_move("1")
        assert pair.run("home", "SELECT id FROM rows ORDER BY id") == [(1,), (2,)]
        assert pair.run("there", "SELECT * FROM rows") == [(1, 2)]
        pair.leaves_nothing()
    finally:
        pair.drop()
