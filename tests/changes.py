"""Blue-green changes under traffic, for tests: blue shards on one server, green ones on another, writers that never
stop, a ledger of what they were told.

As a program: carries one change in the foreground of the current folder. Where the environment names a point
(`SW_DIES=before Switching._decide 1`), it dies there as by kill -9; at `SW_STOPS` it is stopped.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy.exc
from psycopg.conninfo import conninfo_to_dict

from kit import Project, until
from ledger import Key, Ledger, differences
from points import OWNERS, struck
from shardwright import Tenants
from shardwright.bluegreen import steps
from shardwright.bluegreen.follow import Conductor, Follower
from shardwright.bluegreen.group import Group
from shardwright.bluegreen.shard_sets import create
from shardwright.bluegreen.status import ChangeStatus
from shardwright.bluegreen.store import Changes
from shardwright.bluegreen.switching import Switching
from shardwright.catalog import placement
from shardwright.errors import ShardwrightError
from shardwright.transfer import everyone
from stage import Stage
from stalls import Network

OWNERS |= {
    "Changes": Changes, "Conductor": Conductor, "Follower": Follower, "Group": Group, "Switching": Switching,
    "create": create, "everyone": everyone, "steps": steps,
}  # fmt: skip

SCHEMA = """
CREATE TABLE plan (code text PRIMARY KEY, price integer);
CREATE TABLE org (id uuid PRIMARY KEY, n bigint, plan text REFERENCES plan);
CREATE TABLE project (id uuid PRIMARY KEY, org_id uuid NOT NULL REFERENCES org, n bigint);
CREATE TABLE task (
    id uuid PRIMARY KEY, n bigint,
    project_id uuid NOT NULL REFERENCES project ON DELETE CASCADE
);
CREATE TABLE remark (
    id uuid PRIMARY KEY, n bigint,
    task_id uuid NOT NULL REFERENCES task ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE TABLE log (org_id uuid NOT NULL REFERENCES org, message text, n bigint);
CREATE TABLE person (
    id uuid PRIMARY KEY, org_id uuid NOT NULL REFERENCES org, n bigint NOT NULL, name text NOT NULL
);
CREATE INDEX ON task (project_id); CREATE INDEX ON remark (task_id);
"""
# A table split in two, a column renamed and of another type; and one that only green has.
SPLIT = """
CREATE TABLE face (person_id uuid PRIMARY KEY REFERENCES person ON DELETE CASCADE, name text NOT NULL);
INSERT INTO face SELECT id, name FROM person;
ALTER TABLE person DROP COLUMN name;
ALTER TABLE person RENAME COLUMN n TO number;
ALTER TABLE person ALTER COLUMN number TYPE numeric(30);
CREATE TABLE setting (name text PRIMARY KEY, value text);
INSERT INTO setting VALUES ('colour', 'green');
"""
SHAPES = """
[bluegreen.tables.person]
select = "SELECT id, org_id, n AS number FROM person"
from = { person = ["id"] }
[bluegreen.tables.face]
select = "SELECT id AS person_id, name FROM person"
from = { person = ["id"] }
[bluegreen.back.person]
select = "SELECT p.id, p.org_id, p.number AS n, f.name FROM person AS p JOIN face AS f ON f.person_id = p.id"
from = { person = ["id"], face = ["person_id"] }
"""
TENANTS = '[tenants]\nroot = "org"\nkey = "org_id"\nshared = ["plan"]'

# Each table's rows as (tenant, id, n). A person's name says its n as well: -1 where it does not.
_ROWS = {
    "org": "SELECT id::text, id::text, n FROM org",
    "project": "SELECT org_id::text, id::text, n FROM project",
    "task": """SELECT p.org_id::text, t.id::text, t.n FROM task AS t LEFT JOIN project AS p ON p.id = t.project_id""",
    "remark": """SELECT p.org_id::text, r.id::text, r.n FROM remark AS r LEFT JOIN task AS t ON t.id = r.task_id
                 LEFT JOIN project AS p ON p.id = t.project_id""",
    "log": "SELECT org_id::text, message, n FROM log",
}
_PERSON = "SELECT org_id::text, id::text, CASE WHEN name = n::text THEN n ELSE -1 END FROM person"
_PERSON_SPLIT = """SELECT p.org_id::text, coalesce(p.id, f.person_id)::text,
    CASE WHEN f.name = p.number::text THEN p.number::bigint ELSE -1 END
    FROM person AS p FULL JOIN face AS f ON f.person_id = p.id"""
_WHICH = {"log": "message = %(id)s", **dict.fromkeys(("project", "task", "remark", "person"), "id = %(id)s::uuid")}
_INSERTS = {
    "project": "INSERT INTO project (id, org_id, n) VALUES (%(id)s, %(org)s, %(n)s)",
    "task": "INSERT INTO task (id, project_id, n) VALUES (%(id)s, %(above)s, %(n)s)",
    "remark": "INSERT INTO remark (id, task_id, n) VALUES (%(id)s, %(above)s, %(n)s)",
    "log": "INSERT INTO log (org_id, message, n) VALUES (%(org)s, %(id)s, %(n)s)",
    "person": "INSERT INTO person (id, org_id, n, name) VALUES (%(id)s, %(org)s, %(n)s, %(n)s::bigint::text)",
}
_SPLIT_INSERT = """WITH new AS (INSERT INTO person (id, org_id, number) VALUES (%(id)s, %(org)s, %(n)s) RETURNING id)
    INSERT INTO face SELECT id, %(n)s::bigint::text FROM new"""
_SPLIT_UPDATE = """WITH new AS (UPDATE person SET number = %(n)s WHERE id = %(id)s::uuid RETURNING id)
    UPDATE face SET name = %(n)s::bigint::text FROM new WHERE person_id = new.id"""
Execute = Callable[[str, Mapping[str, Any]], Any]
Effects = dict[Key, "int | None"]


# --- writers --------------------------------------------------------------------------------------


class Elsewhere(Exception):
    """The tenant's rows are not on this shard."""


class Writer:
    """One client that writes for all tenants without end; every row of its own, so that it knows what each should be.

    With `tenants` it goes by the library's router; without, it knows nothing of the library: it asks the directory
    where the tenant is, and takes every error for a no.
    """

    def __init__(self, arena: Changing, seed: int, tenants: Tenants | None, acts: Sequence[str]) -> None:
        self.name = f"writer {seed}"
        self.thread = threading.Thread(target=self.run, daemon=True, name=self.name)
        self.chance = random.Random(seed)  # noqa: S311 repeatable, not secret
        self.arena, self.tenants, self.acts = arena, tenants, acts
        self.mine: dict[str, dict[Key, int]] = defaultdict(dict)
        self.above: dict[Key, Key] = {}
        self.done = 0
        self.errors: list[str] = []
        self._connections: dict[str, psycopg.Connection[Any]] = {}

    # --- the loop

    def run(self) -> None:
        while not self.arena.quiet.is_set():
            tenant = self.chance.choice(self.arena.tenants)
            effects: Effects = {}
            try:
                (self._routed if self.tenants else self._direct)(tenant, self.chance.choice(self.acts), effects)
            except (Elsewhere, ShardwrightError) as error:
                self.errors.append(repr(error))
            except (psycopg.Error, sqlalchemy.exc.SQLAlchemyError) as error:
                self._hear(tenant, effects, error)
            else:
                self._know(tenant, effects)
            time.sleep(self.chance.uniform(0.0, self.arena.pause))
        for connection in self._connections.values():
            connection.close()

    def _routed(self, tenant: str, act: str, effects: Effects) -> None:
        def write(session: Any) -> None:
            effects.clear()
            connection = session.connection()
            self._act(tenant, act, connection.exec_driver_sql, effects)

        assert self.tenants is not None
        self.tenants.run(tenant, write)

    def _direct(self, tenant: str, act: str, effects: Effects) -> None:
        shard = self.arena.placement(tenant)
        connection = self._connections.get(shard)
        if connection is None or connection.closed:
            connection = psycopg.connect(
                self.arena.url(shard), autocommit=True, application_name=self.name, connect_timeout=5
            )
            self._connections[shard] = connection
        try:
            connection.execute(f"BEGIN ISOLATION LEVEL {self.chance.choice(_LEVELS)}")
            if act == "long":
                connection.execute("SELECT 1 FROM org")  # the snapshot is old by the time that it writes
                time.sleep(self.chance.uniform(0.05, 0.2))
            self._act(tenant, act, connection.execute, effects)
            connection.execute("COMMIT")
        except BaseException:
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")
            raise

    def _hear(self, tenant: str, effects: Effects, error: Exception) -> None:
        cause = getattr(error, "orig", None) or error
        code = getattr(cause, "sqlstate", None)
        if isinstance(cause, psycopg.OperationalError) and (code is None or code.startswith("57")):
            self.arena.ledger.doubt(effects)  # no word, or the last one of a server: it may be committed
            for key in effects:
                self.mine[tenant].pop(key, None)
            time.sleep(0.05)
        self.errors.append(repr(cause))

    def _know(self, tenant: str, effects: Effects) -> None:
        self.arena.ledger.write(effects)
        self.done += 1
        for key, value in effects.items():
            if value is None:
                self.mine[tenant].pop(key, None)
            else:
                self.mine[tenant][key] = value

    # --- what it does; each notes what will be so once it is committed

    def _act(self, tenant: str, act: str, execute: Execute, effects: Effects) -> None:
        is_split = execute("SELECT to_regclass('face') IS NOT NULL", {}).fetchone()[0]
        for _ in range(self.chance.randint(1, 3)):
            getattr(self, f"_{act}", self._update)(tenant, execute, effects, is_split=is_split)

    def _own(self, tenant: str, effects: Effects, *tables: str) -> Key | None:
        keys = [key for key in self.mine[tenant] if key[0] in tables and key not in effects]
        return self.chance.choice(keys) if keys else None

    def _insert(self, tenant: str, execute: Execute, effects: Effects, *, is_split: bool) -> None:
        table = self.chance.choice(("project", "task", "task", "remark", "log", "person"))
        above = self._own(tenant, effects, *_ABOVE[table]) if table in _ABOVE else None
        if table in _ABOVE and above is None:
            table = "project"
        key, n = (table, str(uuid.UUID(int=self.chance.getrandbits(128)))), self._number()
        statement = _SPLIT_INSERT if is_split and table == "person" else _INSERTS[table]
        execute(statement, {"id": key[1], "n": n, "org": tenant, "above": above and above[1]})
        if above and table in _ABOVE:
            self.above[key] = above
        effects[key] = n

    def _update(self, tenant: str, execute: Execute, effects: Effects, *, is_split: bool) -> None:
        if (key := self._own(tenant, effects, *_WHICH)) is None:
            return self._insert(tenant, execute, effects, is_split=is_split)
        n = self._number()
        change = f"UPDATE {key[0]} SET n = %(n)s WHERE {_WHICH[key[0]]}"
        if key[0] == "person":
            change = _SPLIT_UPDATE if is_split else "UPDATE person SET n = %(n)s, name = %(n)s WHERE id = %(id)s::uuid"
        self._changed(execute, change, {"id": key[1], "n": n})
        effects[key] = n
        return None

    def _delete(self, tenant: str, execute: Execute, effects: Effects, *, is_split: bool) -> None:
        """With all that hangs on it."""
        if (key := self._own(tenant, effects, *_WHICH)) is None:
            return self._insert(tenant, execute, effects, is_split=is_split)
        self._changed(execute, f"DELETE FROM {key[0]} WHERE {_WHICH[key[0]]}", {"id": key[1]})
        gone = {key}
        for _ in _ABOVE:
            gone |= {child for child, above in self.above.items() if above in gone}
        effects |= {each: None for each in gone if each in self.mine[tenant] or each in effects}
        return None

    def _rename(self, tenant: str, execute: Execute, effects: Effects, *, is_split: bool) -> None:
        """A primary key changes; what refers to it changes with it."""
        if effects or (key := self._own(tenant, effects, "task")) is None:
            return self._insert(tenant, execute, effects, is_split=is_split)
        new = ("task", str(uuid.UUID(int=self.chance.getrandbits(128))))
        self._changed(execute, "UPDATE task SET id = %(new)s WHERE id = %(id)s::uuid", {"id": key[1], "new": new[1]})
        effects |= {key: None, new: self.mine[tenant][key]}
        self.above[new] = self.above[key]
        self.above |= {child: new for child, above in self.above.items() if above == key}
        return None

    def _replica(self, tenant: str, execute: Execute, effects: Effects, *, is_split: bool) -> None:
        """As if it were replicated to here: ordinary triggers do not fire, and references are not checked."""
        execute("SET LOCAL session_replication_role = replica", {})
        self._update(tenant, execute, effects, is_split=is_split)
        execute("SET LOCAL session_replication_role = origin", {})

    def _number(self) -> int:
        return self.chance.randrange(1, 1 << 60)

    def _changed(self, execute: Execute, statement: str, values: Mapping[str, Any]) -> None:
        if (found := execute(statement, values).rowcount) != 1:
            raise Elsewhere(f"{statement}, {values}: {found} rows")


_ABOVE = {"task": ("project",), "remark": ("task",)}
_LEVELS = ("READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")
ACTS = ("insert", "insert", "update", "update", "delete", "rename", "replica")


# --- the arena ------------------------------------------------------------------------------------


class Changing(Stage):
    """A fleet of blue shards with tenants, the green ones that are to take their place, and who writes for them."""

    program = __file__
    pause = 0.05  # seconds that a writer rests at most

    def __init__(
        self, path: Path, control: str, blue: Mapping[str, str], green: Mapping[str, str],
        *, shaped: bool = False, policy: str = "least_loaded", more: str = "", **limits: str,
    ) -> None:  # fmt: skip
        self.control, self.blue, self.green, self.shaped = control, dict(blue), dict(green), shaped
        sections = "".join(f'\n[bluegreen.shards.{name}]\nurl = "{url}"' for name, url in green.items())
        extra = f'{TENANTS}\n[runs]\ntime_to_live = "2s"\n[bluegreen]\nplacement = "{policy}"\n{sections}'
        extra += f"{SHAPES if shaped else ''}\n{more}"
        usual = {"keep": '"1h"', "write_gap": '"2s"'}
        super().__init__(Project(path, control, dict(blue), limits={**usual, **limits}, extra=extra))
        self.project.write()
        self.ledger = Ledger()
        self.tenants: list[str] = []
        self.writers: list[Writer] = []
        self._stack = ExitStack()
        self.told: list[str] = []

    def go_through(self, networks: Mapping[str, Network]) -> None:
        """From now on the project's way to each database is through the network of its name; writers go as before."""
        self.project.control = networks["control"].url
        self.project.shards = {name: networks[name].url for name in self.blue}
        for name, url in self.green.items():
            self.project.extra = self.project.extra.replace(url, networks[name].url)
        self.project.write()

    def fill(self, *, tenants: int = 4) -> None:
        """So many tenants, on the blue shards in turn, with a few rows each."""
        self.project.revision("one", f'op.execute("""{SCHEMA}""")')
        if self.shaped:
            self.project.revision("two", f'op.execute("""{SPLIT}""")')
        self.project.stamp("one", SCHEMA + "INSERT INTO plan VALUES ('free', 0), ('paid', 10)")
        for number, shard in zip(range(tenants), itertools.cycle(self.blue)):
            self.tenants.append(str(uuid.UUID(int=number + 1)))
            self.make_tenant(shard, self.tenants[-1])
        self.project.fleet().sync_tenants()

    def make_green(self, revision: str, schema: str) -> None:
        """The databases of green are there before the change, empty and at that revision."""
        for url in self.green.values():
            admin = psycopg.conninfo.make_conninfo(url, dbname="postgres")
            with psycopg.connect(admin, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {conninfo_to_dict(url)['dbname']}".encode())
            with psycopg.connect(url) as connection:
                connection.execute(f"{schema}; CREATE TABLE alembic_version (version_num text PRIMARY KEY)".encode())
                connection.execute("INSERT INTO alembic_version VALUES (%s)", [revision])

    def make_tenant(self, shard: str, tenant: str) -> None:
        """It is on that shard, with a few rows; no writer knows of it yet."""
        with psycopg.connect(self.url(shard)) as connection:
            for statement in _FILL:
                connection.execute(statement, {"org": tenant})
        for owner, key, n in self.rows(shard):
            if owner == tenant:
                self.ledger.rows[key] = {n}

    def place(self, tenant: str, shard: str) -> None:
        """The directory has it there, and no shard a row of it."""
        with psycopg.connect(self.control, autocommit=True) as control:
            placement.place(control, "main", tenant, shard, changed_by="somebody")

    # --- traffic

    def write(self, routers: int = 2, ignorant: int = 2, acts: Sequence[str] = ACTS) -> None:
        """So many writers go to work, and have written."""
        tenants = self._stack.enter_context(Tenants.from_config(self.project.path / "shardwright.toml", patience="60s"))
        new = [Writer(self, next(_seeds), tenants, acts) for _ in range(routers)]
        new += [Writer(self, next(_seeds), None, (*acts, "long")) for _ in range(ignorant)]
        self.writers += new
        for writer in new:
            writer.thread.start()
        until(lambda: all(writer.done for writer in new))

    def go_on(self, transactions: int = 5) -> None:
        """Every writer has so many more acknowledged."""
        enough = {writer: writer.done + transactions for writer in self.writers}
        until(lambda: all(writer.done >= wanted for writer, wanted in enough.items()))

    def settle(self) -> None:
        """Nobody writes any more."""
        self.quiet.set()
        for writer in self.writers:
            writer.thread.join(70)
            assert not writer.thread.is_alive(), writer.name
        self._stack.close()

    def end(self) -> None:
        """Nothing of the arena is at work."""
        super().end()
        self.settle()

    # --- looking

    @property
    def blue_and_green(self) -> tuple[str, ...]:
        """The names of all shards."""
        return (*self.blue, *self.green)

    def url(self, shard: str) -> str:
        """Of any database, by its name."""
        return {**self.blue, **self.green, "control": self.control}[shard]

    def ask(self, shard: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """What it gives on that shard (or "control"), committed."""
        with psycopg.connect(self.url(shard), autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def refused(self, shard: str, statement: str, *values: Any) -> str | None:
        """The SQLSTATE with which the shard refuses that; None where it has done it."""
        try:
            self.ask(shard, statement, *values)
        except psycopg.Error as error:
            if error.sqlstate is None:  # it has not answered at all
                raise
            return error.sqlstate
        return None

    def placement(self, tenant: str) -> str:
        """Where the directory has it. Raises Elsewhere where nobody has told it of the tenant yet."""
        found = self.ask("control", "SELECT shard FROM shardwright.placement WHERE tenant = %s", tenant)
        if not found:
            raise Elsewhere(f"{tenant} is not in the directory")
        return str(found[0][0])

    def rows(self, shard: str) -> Iterator[tuple[str | None, Key, int]]:
        """Every row on that shard: whose it is, its name, its value."""
        is_split = self.ask(shard, "SELECT to_regclass('face') IS NOT NULL")[0][0]
        for table, query in {**_ROWS, "person": _PERSON_SPLIT if is_split else _PERSON}.items():
            for owner, name, n in self.ask(shard, query):
                yield owner, (table, name), n

    def noted(self, shard: str) -> int:
        """How many keys are in the shard's queues."""
        names = self.ask(shard, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'queue%'")
        return sum(self.ask(shard, f"SELECT count(*) FROM shardwright.{name}")[0][0] for [name] in names)

    def is_there(self, shard: str) -> bool:
        """Whether the database is."""
        known = conninfo_to_dict(self.url(shard))
        admin = psycopg.conninfo.make_conninfo(self.url(shard), dbname="postgres")
        with psycopg.connect(admin) as connection:
            found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [known["dbname"]])
            return found.fetchone() is not None

    def require_all(self, *, at_green: bool | None = None) -> None:
        """Every acknowledged write is on its tenant's shard, and once; with `at_green`, that is on that side."""
        self.settle()
        where = {tenant: self.placement(tenant) for tenant in self.tenants}
        if at_green is not None:
            wrong_side = {t: shard for t, shard in where.items() if (shard in self.green) != at_green}
            assert not wrong_side
        found: dict[Key, list[int]] = defaultdict(list)
        for shard in {*where.values()}:
            for owner, key, n in self.rows(shard):
                if where.get(str(owner)) == shard or owner is None:
                    found[key].append(n)
        wrong = differences(self.ledger.rows, found)
        assert wrong == [], f"{len(wrong)} of {self.ledger.acknowledged}: {wrong[:8]}"

    def require_mirrored(self) -> None:
        """The side that a tenant is not written on has the same rows, once what is on the way has come."""
        self.settle()
        pairs = self.ask("control", "SELECT tenant, blue, green FROM shardwright.bluegreen_tenant")

        def of(shard: str, tenant: str) -> dict[Key, int]:
            return {key: n for owner, key, n in self.rows(shard) if owner == tenant}

        for tenant, blue, green in pairs:
            with suppress(AssertionError):
                until(lambda: of(blue, tenant) == of(green, tenant), seconds=10)  # noqa: B023 asked at once
            assert of(blue, tenant) == of(green, tenant), tenant

    def require_one_side(self) -> None:
        """Of each tenant, one shard of its pair takes writes, and it is where the directory has it."""
        for tenant, blue, green in self.ask("control", "SELECT tenant, blue, green FROM shardwright.bluegreen_tenant"):
            touch = "UPDATE org SET n = n WHERE id = %s"
            taking = [shard for shard in (blue, green) if self.refused(shard, touch, tenant) is None]
            assert taking == [self.placement(tenant)]

    def require_nothing_left(self) -> None:
        """No schema, trigger, session, prepared transaction or lock of a change is on any shard."""
        for shard in self.blue_and_green:
            if self.is_there(shard):
                self.require_empty(shard)

    def require_proven(self) -> None:
        """Every tenant that was switched has the proof that both sides held the same rows."""
        query = """SELECT tenant, certificate FROM shardwright.bluegreen_tenant
                   WHERE switched_at IS NOT NULL AND (certificate->>'equal')::boolean IS NOT TRUE"""
        assert self.ask("control", query) == []

    # --- changing

    def start(self, **options: Any) -> int:
        """The change is in the queue; gives its run."""
        fleet = self.project.fleet()
        return fleet.start_bluegreen(fleet.plan_bluegreen(**options))

    def carry(self, run: int, until: Callable[[ChangeStatus], bool] = lambda _: False) -> ChangeStatus:
        """By this process, until that is so or it can't go on by itself."""
        return self.project.fleet().carry_bluegreen(run, until=until, tell=self._hear)

    def _hear(self, event: Any) -> None:
        self.told.append(f"{event.kind} {event.data}")

    def begin(self, **options: Any) -> int:
        """Green is in step with blue; gives the run."""
        run = self.start(**options)
        self.come_to(run, "in_step")
        return run

    def come_to(self, run: int, *phases: str) -> ChangeStatus:
        """It is in one of these phases, and nothing is left to be done by order."""
        status = self.carry(run, lambda found: found.change.phase in phases and not found.orders)
        assert status.change.phase in phases, self.story(run)
        return status

    def switch(self, tenants: Sequence[str] | None = None, share: float | None = None, *, home: bool = False) -> None:
        """So ordered, and done."""
        fleet = self.project.fleet()
        run, order = fleet.switch_bluegreen(tenants=tenants, share=share, home=home)
        status = self.carry(run, lambda _: fleet.bluegreen_order_ended(order))
        assert fleet.bluegreen_order_ended(order), self.story(run)
        if tenants is None and share is None:
            self.come_to(status.run.id, "switched")

    def undo(self) -> None:
        """Taken back; nothing of it is left."""
        status = self.project.fleet().undo_bluegreen(tell=self._hear)
        assert (status.run.state, status.change.phase) == ("cancelled", "undone"), self.story(status.run.id)

    def finish(self) -> None:
        """Blue is let go."""
        status = self.project.fleet().finish_bluegreen(tell=self._hear)
        assert (status.run.state, status.change.phase) == ("finished", "done"), self.story(status.run.id)

    @property
    def at_green(self) -> set[str]:
        """The tenants that are written there."""
        return {tenant for tenant in self.tenants if self.placement(tenant) in self.green}

    @contextmanager
    def carrying(self, run: int, until: Callable[[ChangeStatus], bool] = lambda _: False) -> Iterator[None]:
        """`carry` in another thread, let go when the block ends."""
        over = threading.Event()
        thread = threading.Thread(target=self.carry, args=(run, lambda found: over.is_set() or until(found)))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def story(self, run: int) -> str:
        """All that is known of the run, for a failure's message."""
        with self.board() as board:
            steps = ", ".join(f"{step.name} {step.state}" for step in board.steps(run))
            errors = [writer.errors[-3:] for writer in self.writers]
            orders = self.ask("control", "SELECT kind, done_at, note FROM shardwright.bluegreen_order")
            return "\n".join([str(board.run(run)), steps, *self.messages(run), str(orders), *map(str, errors)])


MakeChanging = Callable[..., Changing]
_seeds = itertools.count()
_FILL = (
    "INSERT INTO org VALUES (%(org)s, 1, 'free')",
    "INSERT INTO project SELECT gen_random_uuid(), %(org)s, g FROM generate_series(1, 2) AS g",
    """INSERT INTO task SELECT gen_random_uuid(), 10 * p.n + g, p.id FROM project AS p, generate_series(1, 3) AS g
       WHERE org_id = %(org)s""",
    """INSERT INTO remark SELECT gen_random_uuid(), t.n, t.id FROM task AS t JOIN project AS p ON p.id = project_id
       WHERE org_id = %(org)s AND t.n %% 2 = 0""",
    "INSERT INTO log SELECT %(org)s, gen_random_uuid(), g FROM generate_series(1, 3) AS g",
    "INSERT INTO person SELECT gen_random_uuid(), %(org)s, g, g::text FROM generate_series(1, 3) AS g",
)


def _main() -> None:
    from shardwright.fleet import Fleet  # noqa: PLC0415 late, as the fleet needs DBOS

    with struck():
        print(Fleet.from_config().carry_bluegreen(int(sys.argv[1])), flush=True)  # noqa: T201 the log that tests read
    os._exit(0)


if __name__ == "__main__":
    _main()
