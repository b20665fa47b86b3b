"""A role with the grants of docs/howto/operations.md, no superuser, moves a tenant under an application's writes."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from kit import until
from pair import Pair, as_role
from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster
from shardwright.fleet import MoveOptions

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "operations.md"
SCHEMA = """
CREATE TABLE plans (code text PRIMARY KEY); INSERT INTO plans VALUES ('free');
CREATE TABLE orgs (id integer PRIMARY KEY, plan text REFERENCES plans);
CREATE TABLE tasks (id serial PRIMARY KEY, org_id integer NOT NULL REFERENCES orgs, title text);
CREATE TABLE remarks (id serial PRIMARY KEY, task integer NOT NULL REFERENCES tasks ON DELETE CASCADE, body text);
CREATE TABLE logs (org_id integer NOT NULL REFERENCES orgs, message text);
CREATE TABLE events (id integer GENERATED ALWAYS AS IDENTITY, org_id integer NOT NULL REFERENCES orgs, at date,
    PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events DEFAULT;
ALTER SEQUENCE tasks_id_seq INCREMENT 2; ALTER SEQUENCE remarks_id_seq INCREMENT 2;
ALTER SEQUENCE events_id_seq INCREMENT 2;
"""
OTHER_NUMBERS = "; ".join(f"ALTER SEQUENCE {name}_id_seq RESTART 2" for name in ("tasks", "remarks", "events"))
# Whatever PostgreSQL gives everybody unasked is taken away: what the page names has to be all that is needed.
NOTHING_FOR_ALL = "REVOKE ALL ON DATABASE {database} FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC"
APPLICATION = """
GRANT CONNECT ON DATABASE {database} TO {role}; GRANT USAGE ON SCHEMA public TO {role}, {owner};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}
"""
WRITES = """
INSERT INTO tasks (org_id, title) VALUES (1, '{0}'), (1, 'gone {0}');
INSERT INTO remarks (task, body) SELECT id, '{0}' FROM tasks WHERE title IN ('{0}', 'gone {0}');
UPDATE tasks SET org_id = 1 WHERE title = '{0}';
DELETE FROM tasks WHERE title = 'gone {0}';
INSERT INTO logs VALUES (1, '{0}');
INSERT INTO events (org_id, at) VALUES (1, '2024-01-01')
"""
WRITTEN = """SELECT title FROM tasks JOIN remarks ON task = tasks.id AND body = title JOIN logs ON message = title
             WHERE tasks.org_id = 1"""


def documented() -> str:
    """The statements of the page's section on moves."""
    section = re.search(r"\n### To move tenants\n(.*?)\n##", PAGE.read_text(), re.DOTALL)
    assert section is not None
    return "\n".join(re.findall(r"```sql\n(.*?)```", section[1], re.DOTALL))


def granted(pair: Pair, shard: str, roles: dict[str, str]) -> list[str]:
    """The page's statements for this shard and the test's roles, one right each."""
    names = {"shardwright": roles["mover"], "app_owner": roles["owner"], "shard_0": pair.database(shard)}
    statements = re.sub(r"\b(shardwright|app_owner|shard_0)\b", lambda found: names[found[0]], documented())
    grants = re.findall(r"GRANT (?:(.*?) )?(ON .*)?TO (.*);", statements)
    return [f"GRANT {right} {where}TO {role}" for rights, where, role in grants for right in rights.split(", ")]


@pytest.fixture
def roles(cluster: Cluster) -> Iterator[dict[str, str]]:
    """The mover, the owner of half of the tables, and the application."""
    made = {name: f"{name}_{os.getpid()}" for name in ("mover", "owner", "application")}
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        for role in made.values():
            admin.execute(f"CREATE ROLE {role} LOGIN".encode())
        yield made
        for role in made.values():
            admin.execute(f"DROP OWNED BY {role}".encode())
            admin.execute(f"DROP ROLE {role}".encode())


@pytest.fixture
def pair(cluster: Cluster, tmp_path: Path, roles: dict[str, str]) -> Iterator[Pair]:
    """Two shards that the mover works on with what it is said to need, and nothing else."""
    made = Pair(tmp_path, cluster, 'root = "orgs"\nkey = "org_id"\nshared = ["plans"]', role=roles["mover"])
    try:
        for shard in made.shards:
            database = made.database(shard)
            made.run(shard, SCHEMA, NOTHING_FOR_ALL.format(database=database))
            for table, owner in {
                "orgs": "mover",
                "tasks": "owner",
                "remarks": "mover",
                "logs": "owner",
                "events": "owner",
                "events_1": "owner",
            }.items():
                made.run(shard, f"ALTER TABLE {table} OWNER TO {roles[owner]}")
            made.run(shard, APPLICATION.format(database=database, role=roles["application"], owner=roles["owner"]))
            made.run(shard, *granted(made, shard, roles))
            made.run(shard, f"GRANT CONNECT ON DATABASE {database} TO {roles['mover']}")
        control = DatabaseUrl.parse(made.project.control).database
        with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
            admin.execute(f"GRANT CREATE ON DATABASE {control} TO {roles['mover']}".encode())
        made.run("home", "INSERT INTO orgs VALUES (1, 'free')", WRITES.format("first"))
        made.run("there", OTHER_NUMBERS)
        made.project.fleet().sync_tenants()
        yield made
    finally:
        made.drop()


class Application:
    """Writes for the tenant as a role of its own, goes where it is sent, and remembers what was acknowledged."""

    def __init__(self, pair: Pair, role: str) -> None:
        self.urls = {name: as_role(url, role) for name, url in pair.shards.items()}
        self.where = "home"
        self.acknowledged: list[str] = []
        self.faults: list[psycopg.Error] = []
        self.is_over = threading.Event()

    def write(self) -> None:
        """Without end."""
        while not self.is_over.wait(0.01):
            word = f"word {len(self.acknowledged)} {self.where}"
            try:
                with psycopg.connect(self.urls[self.where]) as connection:
                    connection.execute(WRITES.format(word).encode())
                self.acknowledged.append(word)
            except psycopg.Error as error:
                if error.sqlstate != "SW001":
                    self.faults.append(error)
                    return
                self.where = "there" if self.where == "home" else "home"

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """It writes before, during and after the block."""
        thread = threading.Thread(target=self.write)
        thread.start()
        try:
            self.goes_on()
            yield
            self.goes_on()
        finally:
            self.is_over.set()
            thread.join()

    def goes_on(self) -> None:
        """A few more were acknowledged."""
        enough = len(self.acknowledged) + 3
        until(lambda: len(self.acknowledged) >= enough or self.faults)


def test_the_documented_grants_are_enough(pair: Pair, roles: dict[str, str]) -> None:
    """There, back, and there for good, while an application of lesser rights writes; nothing is left, nothing lost."""
    application = Application(pair, roles["application"])
    fleet = pair.project.fleet()
    assert [each for each in fleet.plan_move("1", MoveOptions("there")).findings if each.severity != "note"] == []
    with application.at_work():
        pair.move("1")
        application.goes_on()
        assert fleet.verify_move("1").comparison.is_equal
        pair.undo("1")
        application.goes_on()
        pair.move("1")
        application.goes_on()
        pair.finish("1")
    assert application.faults == []
    written = {row[0] for row in pair.run("there", WRITTEN)}
    assert written == {"first", *application.acknowledged}
    assert any(word.endswith("there") for word in written)
    assert pair.rows("home") == {"public.plans": ["free\n"]}
    pair.leaves_nothing()
    owned = "SELECT count(*) FROM pg_class WHERE relowner = %s::regrole AND relkind = 'r' AND relname <> ALL (%s)"
    for url in pair.shards.values():
        with psycopg.connect(url) as connection:
            assert connection.execute(owned, [roles["mover"], ["orgs", "remarks"]]).fetchone() == (0,)


def test_each_documented_grant_is_needed(pair: Pair, roles: dict[str, str]) -> None:
    """Without any of them the plan has an error, before anything is touched."""
    options = MoveOptions("there")
    for shard in pair.shards:
        for each in granted(pair, shard, roles):
            grant = each + (f", {roles['owner']}" if "SCHEMA" in each else "")  # else the mover has it as a member
            pair.run(shard, re.sub(r"^GRANT (.*) TO ", r"REVOKE \1 FROM ", grant))
            found = pair.project.fleet().plan_move("1", options).errors
            assert found, grant
            pair.run(shard, grant)
    assert pair.project.fleet().plan_move("1", options).errors == ()
