"""Moves under traffic, for tests: two shards on two servers, writers that never stop, a ledger of what they were told.

As a program: carries one run in the foreground of the current folder. Where the environment names a point
(`SW_DIES=before fence.close_for_writes 1`), it dies there as by kill -9; at `SW_STOPS` it is stopped.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from kit import Project, until
from ledger import Key, Ledger, State, differences
from points import OWNERS, struck
from shardwright.move import certificate
from shardwright.move.status import MoveStatus
from shardwright.move.store import Moves
from shardwright.runs.stopping import StopRequest
from stage import Stage

OWNERS |= {"Moves": Moves, "certificate": certificate}

SCHEMA = """
CREATE TABLE plan (code text PRIMARY KEY, price integer);
INSERT INTO plan VALUES ('free', 0), ('paid', 10);
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
CREATE TABLE node (
    id uuid PRIMARY KEY, n bigint,
    project_id uuid REFERENCES project ON DELETE CASCADE, parent uuid REFERENCES node ON DELETE CASCADE
);
CREATE TABLE seat (org_id uuid NOT NULL REFERENCES org, number integer, n bigint, PRIMARY KEY (org_id, number));
CREATE TABLE badge (id uuid PRIMARY KEY, org_id uuid NOT NULL REFERENCES org, n bigint UNIQUE);
CREATE TABLE log (org_id uuid NOT NULL REFERENCES org, message text, n bigint);
CREATE TABLE event (
    id uuid, at integer, org_id uuid NOT NULL REFERENCES org, n bigint, PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
CREATE TABLE event_early PARTITION OF event FOR VALUES FROM (0) TO (50);
CREATE TABLE event_late PARTITION OF event FOR VALUES FROM (50) TO (100);
CREATE INDEX ON task (project_id); CREATE INDEX ON remark (task_id);
"""
TENANTS = '[tenants]\nroot = "org"\nkey = "org_id"\nshared = ["plan"]'

# Each table's rows as (id, n), and how one row is named; n is what writers change.
ROWS = {
    "project": "SELECT id::text, n FROM project",
    "task": "SELECT id::text, n FROM task",
    "remark": "SELECT id::text, n FROM remark",
    "node": "SELECT id::text, n FROM node",
    "seat": "SELECT org_id || '/' || number, n FROM seat",
    "badge": "SELECT id::text, n FROM badge",
    "log": "SELECT message, n FROM log",
    "event": "SELECT id::text, n FROM event",
}
WHICH = {
    "seat": "org_id || '/' || number = %(id)s",
    "log": "message = %(id)s",
    **dict.fromkeys(("project", "task", "remark", "node", "badge", "event"), "id = %(id)s::uuid"),
}


# --- writers --------------------------------------------------------------------------------------


class Elsewhere(Exception):
    """The tenant's rows are not on this shard, or it does not take them."""


class Writer:
    """One client that writes for `tenant` without end; every row of its own, so that it knows what each should be.

    A router follows SW001 and asks the catalog; one who is no router knows a single shard, like somebody with psql.
    """

    def __init__(
        self, arena: Arena, tenant: str, seed: int, *, at: str, is_router: bool = True, acts: Sequence[str] = ()
    ) -> None:
        self.name = f"writer {seed}"
        self.thread = threading.Thread(target=self.run, daemon=True, name=self.name)
        self.chance = random.Random(seed)  # noqa: S311 repeatable, not secret
        self.arena, self.tenant, self.where, self.is_router = arena, tenant, at, is_router
        self.acts = acts or ACTS
        self.ledger = arena.ledger if tenant == arena.tenant else arena.others[at]
        self.mine: dict[Key, int] = {}
        self.above: dict[Key, set[Key]] = defaultdict(set)  # both names of a parent that was to get another
        self.faults: list[str] = []
        self.latencies: list[float] = []
        self.refused = 0
        self._connection: psycopg.Connection[Any] | None = None

    # --- the loop

    def run(self) -> None:
        while not self.arena.quiet.is_set():
            try:
                self._one()
            except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
                self._rollback()
            except (Elsewhere, psycopg.IntegrityError, psycopg.Error) as error:
                self._hear(error)
            time.sleep(self.chance.uniform(0.0, self.arena.pause))
        self._leave()

    def _one(self) -> None:
        act = self.chance.choice(self.acts)
        begun, slept = time.monotonic(), 0.0
        connection = self._connected()
        level = self.chance.choice(("READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"))
        connection.execute(f"BEGIN ISOLATION LEVEL {level}")
        if act == "long":
            connection.execute("SELECT 1 FROM org")  # the snapshot is old by the time that it writes
            time.sleep(slept := self.chance.uniform(0.05, 0.4))
        effects: dict[Key, int | None] = {}
        for _ in range(self.chance.randint(1, 3)):
            getattr(self, f"_{act}" if hasattr(self, f"_{act}") else "_insert")(connection, effects)
        if act == "prepared":
            self._two_phases(connection)
        else:
            try:
                connection.execute("COMMIT")
            except psycopg.OperationalError as error:
                if error.sqlstate is None or error.sqlstate.startswith("57"):  # no word, or the last one of a server
                    self._doubt(effects)
                raise
        self._know(effects)
        self.latencies.append(time.monotonic() - begun - slept)

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            self._connection = psycopg.connect(
                self.arena.direct[self.where], autocommit=True, application_name=self.name, connect_timeout=5
            )
        return self._connection

    def _rollback(self) -> None:
        with suppress(psycopg.Error):
            self._connected().execute("ROLLBACK")

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    # --- what it is told

    def _hear(self, error: Exception) -> None:
        code = getattr(error, "sqlstate", None)
        if code == "SW001":
            self.refused += 1
            self._follow(json.loads(error.diag.message_detail or "{}"))  # type: ignore[attr-defined]
        elif code in (None, "57P01", "57P02", "57P03", "53300") and isinstance(error, psycopg.OperationalError):
            self._leave()
            time.sleep(0.05)
        elif code in ("55P03", "57014", "53100"):  # a lock, a time limit, a full disk: theirs as everybody's
            self._rollback()
        elif not self.is_router:
            self._rollback()  # the tenant is not here: it may come back
            time.sleep(0.02)
        elif (right := self._ask()) is not None and right != self.where:
            self._go(right)
        else:
            self._rollback()
            self.faults.append(f"{self.name} on {self.where}: {error!r}")

    def _follow(self, told: Mapping[str, Any]) -> None:
        self._rollback()
        if self.is_router and told.get("shard"):
            self._go(told["shard"])
        elif self.is_router and (right := self._ask()) is not None:
            self._go(right)
        time.sleep(self.chance.uniform(0.002, 0.02))

    def _go(self, shard: str) -> None:
        if shard != self.where:
            self._leave()
            self.where = shard

    def _ask(self) -> str | None:
        with suppress(psycopg.Error):
            return self.arena.placement(self.tenant)
        return None

    # --- what it knows

    def _know(self, effects: State) -> None:
        self.ledger.write(effects)
        for key, value in effects.items():
            if value is None:
                self.mine.pop(key, None)
            else:
                self.mine[key] = value

    def _doubt(self, effects: State) -> None:
        self.ledger.doubt(effects)
        for key in effects:
            self.mine.pop(key, None)

    def _own(self, effects: State, *tables: str) -> Key | None:
        keys = [key for key in self.mine if key[0] in tables and key not in effects]
        return self.chance.choice(keys) if keys else None

    def _number(self) -> int:
        return self.chance.randrange(1, 1 << 60)

    # --- what it does; each notes what will be so once it is committed

    def _insert(self, connection: psycopg.Connection[Any], effects: dict[Key, int | None]) -> None:
        table = self.chance.choice(("project", "task", "task", "remark", "node", "badge", "log", "event"))
        parent = {"task": ("project",), "remark": ("task",), "node": ("project", "node")}.get(table)
        above = self._own(effects, *parent) if parent else None
        if parent and above is None:
            table = "project"
        key, n = (table, str(uuid.UUID(int=self.chance.getrandbits(128)))), self._number()
        values = {
            "id": key[1],
            "n": n,
            "org": self.tenant,
            "above": above and above[1],
            "at": self.chance.randrange(100),
        }
        if table == "node" and above:
            column = "parent" if above[0] == "node" else "project_id"
            connection.execute(f"INSERT INTO node (id, n, {column}) VALUES (%(id)s, %(n)s, %(above)s)", values)
        else:
            connection.execute(_INSERTS[table], values)
        if above and table != "project":
            self.above[key].add(above)
        effects[key] = n

    def _update(self, connection: psycopg.Connection[Any], effects: dict[Key, int | None]) -> None:
        if (key := self._own(effects, *ROWS)) is None:
            return self._insert(connection, effects)
        n = self._number()
        effects[key] = n
        self._changed(connection, f"UPDATE {key[0]} SET n = %(n)s WHERE {WHICH[key[0]]}", {"id": key[1], "n": n})
        return None

    def _delete(self, connection: psycopg.Connection[Any], effects: dict[Key, int | None]) -> None:
        """With all that hangs on it."""
        if (key := self._own(effects, *ROWS)) is None:
            return self._insert(connection, effects)
        self._changed(connection, f"DELETE FROM {key[0]} WHERE {WHICH[key[0]]}", {"id": key[1]})
        gone, ahead = set(), {key}
        while ahead:
            gone |= ahead
            ahead = {child for child, above in self.above.items() if above & ahead} - gone
        # Also what nobody has heard the end of; not what was never committed.
        effects |= {each: None for each in gone if each in self.ledger.rows or each in effects or each == key}
        return None

    def _swap(self, connection: psycopg.Connection[Any], effects: dict[Key, int | None]) -> None:
        """Two rows exchange a unique value."""
        badges = [key for key in self.mine if key[0] == "badge" and key not in effects]
        if len(badges) < 2:
            return self._insert(connection, effects)
        one, other = self.chance.sample(badges, 2)
        change = "UPDATE badge SET n = %(n)s WHERE id = %(id)s"
        self._changed(connection, change, {"id": one[1], "n": -self._number()})
        self._changed(connection, change, {"id": other[1], "n": self.mine[one]})
        self._changed(connection, change, {"id": one[1], "n": self.mine[other]})
        effects |= {one: self.mine[other], other: self.mine[one]}
        return None

    def _rename(self, connection: psycopg.Connection[Any], effects: dict[Key, int | None]) -> None:
        """A primary key changes; what refers to it changes with it."""
        if (key := self._own(effects, "task")) is None:
            return self._insert(connection, effects)
        new = ("task", str(uuid.UUID(int=self.chance.getrandbits(128))))
        self._changed(connection, "UPDATE task SET id = %(new)s WHERE id = %(id)s", {"id": key[1], "new": new[1]})
        effects |= {key: None, new: self.mine[key]}
        for above in list(self.above.values()):
            if key in above:
                above.add(new)
        self.above[new] |= self.above[key]
        return None

    def _copy(self, connection: psycopg.Connection[Any], effects: dict[Key, int | None]) -> None:
        table = self.chance.choice(("event", "event_late", "log"))
        columns = "org_id, message, n" if table == "log" else "org_id, id, n, at"
        with connection.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as rows:
            for _ in range(5):
                key, n = (table.partition("_")[0], str(uuid.UUID(int=self.chance.getrandbits(128)))), self._number()
                rows.write_row((self.tenant, key[1], n, *(() if table == "log" else (self.chance.randrange(50, 100),))))
                effects[key] = n

    def _replica(self, connection: psycopg.Connection[Any], effects: dict[Key, int | None]) -> None:
        """As if it were replicated to here: ordinary triggers do not fire, and references are not checked."""
        if self._own(effects, *ROWS) is None:
            return self._insert(connection, effects)
        connection.execute("SET LOCAL session_replication_role = replica")
        self._update(connection, effects)
        connection.execute("SET LOCAL session_replication_role = origin")
        return None

    def _upsert(self, connection: psycopg.Connection[Any], effects: dict[Key, int | None]) -> None:
        number, n = self.chance.randrange(20) + 100 * int(self.name.split()[-1]), self._number()
        connection.execute(
            "INSERT INTO seat VALUES (%s, %s, %s) ON CONFLICT (org_id, number) DO UPDATE SET n = excluded.n",
            [self.tenant, number, n],
        )
        effects["seat", f"{self.tenant}/{number}"] = n

    def _partition(self, connection: psycopg.Connection[Any], effects: dict[Key, int | None]) -> None:
        """Straight into a partition; and from one to the other."""
        if (key := self._own(effects, "event")) is not None and self.chance.random() < 0.5:
            n = self._number()
            change = "UPDATE event SET at = 99 - at, n = %(n)s WHERE id = %(id)s"
            self._changed(connection, change, {"id": key[1], "n": n})
        else:
            key, n = ("event", str(uuid.UUID(int=self.chance.getrandbits(128)))), self._number()
            connection.execute("INSERT INTO event_early VALUES (%s, %s, %s, %s)", [key[1], 7, self.tenant, n])
        effects[key] = n

    def _long(self, connection: psycopg.Connection[Any], effects: dict[Key, int | None]) -> None:
        self._update(connection, effects)

    def _prepared(self, connection: psycopg.Connection[Any], effects: dict[Key, int | None]) -> None:
        self._update(connection, effects)

    def _two_phases(self, connection: psycopg.Connection[Any]) -> None:
        name = f"writer_{os.getpid()}_{next(_numbers)}"
        try:
            connection.execute(f"PREPARE TRANSACTION '{name}'")
        except psycopg.OperationalError:
            self._end_prepared("ROLLBACK", name)
            raise
        time.sleep(self.chance.uniform(0.0, 0.1))
        self._end_prepared("COMMIT", name)

    def _end_prepared(self, how: str, name: str) -> None:
        """Until the server has answered: what is not there any more has ended so before."""
        while True:
            try:
                self._connected().execute(f"{how} PREPARED '{name}'")
            except psycopg.errors.UndefinedObject:
                return
            except psycopg.OperationalError:
                self._leave()
                time.sleep(0.05)
            else:
                return

    def _changed(self, connection: psycopg.Connection[Any], statement: str, values: Mapping[str, Any]) -> None:
        if (found := connection.execute(statement, values).rowcount) != 1:
            raise Elsewhere(f"{statement}, {values}: {found} rows")


_INSERTS = {
    "project": "INSERT INTO project (id, org_id, n) VALUES (%(id)s, %(org)s, %(n)s)",
    "task": "INSERT INTO task (id, project_id, n) VALUES (%(id)s, %(above)s, %(n)s)",
    "remark": "INSERT INTO remark (id, task_id, n) VALUES (%(id)s, %(above)s, %(n)s)",
    "badge": "INSERT INTO badge (id, org_id, n) VALUES (%(id)s, %(org)s, %(n)s)",
    "log": "INSERT INTO log (org_id, message, n) VALUES (%(org)s, %(id)s, %(n)s)",
    "event": "INSERT INTO event (id, at, org_id, n) VALUES (%(id)s, %(at)s, %(org)s, %(n)s)",
}
ACTS = (
    "insert", "insert", "update", "update", "delete", "swap", "rename", "copy", "replica", "upsert", "partition",
    "long", "prepared",
)  # fmt: skip
QUICK = tuple(act for act in ACTS if act not in ("long", "prepared"))
_numbers = itertools.count()


# --- the arena ------------------------------------------------------------------------------------


class Arena(Stage):
    """A fleet of two shards, a tenant on the first that may be moved, bystanders on both, and who writes for them."""

    program = __file__
    pause = 0.03  # seconds that a writer rests at most

    def __init__(self, path: Path, control: str, shards: Mapping[str, str], *, extra: str = "", **limits: str) -> None:
        runs = '[runs]\ntime_to_live = "2s"\nper_host = 8'
        usual = {"keep": '"1h"', "write_gap": '"2s"'}
        extra = f"{TENANTS}\n{runs}\n{extra}"
        super().__init__(Project(path, control, dict(shards), limits={**usual, **limits}, extra=extra))
        self.project.write()
        self.direct = dict(shards)  # what writers connect to, whatever the project has between itself and a shard
        self.home, self.there = shards
        self.ledger = Ledger()
        self.others = {shard: Ledger() for shard in shards}
        self.writers: list[Writer] = []
        self.tenant = str(uuid.uuid4())
        self.bystanders = {shard: [str(uuid.uuid4()) for _ in range(2)] for shard in shards}

    def fill(self, *, rows: int = 300, more: str = "") -> None:
        """The tenant has so many tasks, and some of all else; bystanders have a little. `more` goes into the schema."""
        for shard in self.direct:
            self.ask(shard, SCHEMA + more)
            for each in self.bystanders[shard]:
                self.ask(shard, "INSERT INTO org VALUES (%s, 1, 'free')", each)
        self.ask(self.home, "INSERT INTO org VALUES (%s, 1, 'free')", self.tenant)
        with psycopg.connect(self.direct[self.home]) as connection:
            for statement in _FILL:
                connection.execute(statement, {"org": self.tenant, "rows": rows})
        self.ledger.rows |= {key: set(found) for key, found in self.found(self.home).items()}
        self.project.fleet().sync_tenants()

    # --- traffic

    def write(self, routers: int = 3, ignorant: int = 1, bystanders: int = 1, acts: Sequence[str] = ()) -> None:
        """So many writers go to work, and have written; `bystanders` on each shard."""
        new = [Writer(self, self.tenant, next(_seeds), at=self.home, acts=acts) for _ in range(routers)]
        new += [
            Writer(self, self.tenant, next(_seeds), at=shard, is_router=False, acts=acts)
            for shard in (self.home, self.there)
            for _ in range(ignorant)
        ]
        new += [
            Writer(self, tenant, next(_seeds), at=shard, acts=QUICK)
            for shard, tenants in self.bystanders.items()
            for tenant in tenants[:bystanders]
        ]
        self.writers += new
        for writer in new:
            writer.thread.start()
        until(lambda: all(writer.latencies for writer in new if writer.is_router))

    def go_on(self, transactions: int = 20) -> None:
        """So many more are acknowledged."""
        enough = self.ledger.acknowledged + transactions
        until(lambda: self.ledger.acknowledged >= enough or self.writers == [])

    def settle(self) -> None:
        """Nobody writes any more."""
        self.quiet.set()
        for writer in self.writers:
            writer.thread.join(60)
            assert not writer.thread.is_alive(), writer.name

    @property
    def slowest_bystander(self) -> float:
        """The longest that a transaction of another tenant took, in seconds."""
        mine = [writer for writer in self.writers if writer.tenant != self.tenant]
        return max(max(writer.latencies) for writer in mine)

    # --- looking

    def ask(self, shard: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """What it gives on that shard (or "control"), committed."""
        url = self.project.control if shard == "control" else self.direct[shard]
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def placement(self, tenant: str) -> str:
        """Where the directory has it."""
        return str(self.ask("control", "SELECT shard FROM shardwright.placement WHERE tenant = %s", tenant)[0][0])

    def found(self, shard: str) -> dict[Key, list[int]]:
        """Every row on that shard that writers may have written, and what it is."""
        rows: dict[Key, list[int]] = defaultdict(list)
        for table, query in ROWS.items():
            for name, n in self.ask(shard, query):
                rows[table, name].append(n)
        return rows

    def require_all(self, where: str) -> None:
        """Every acknowledged write is there, none twice, none on the wrong shard; no writer met what it should not."""
        self.settle()
        faults = [fault for writer in self.writers for fault in writer.faults]
        assert faults == [], faults
        other = self.there if where == self.home else self.home
        for shard, own in ((where, self.ledger.rows), (other, {})):
            wrong = differences({**own, **self.others[shard].rows}, self.found(shard))
            assert wrong == [], f"{shard}: {len(wrong)} of {self.ledger.acknowledged}: {wrong[:8]}"
        assert self.rows_of_tenant(other) == 0
        assert self.placement(self.tenant) == where
        assert self.ask(where, "SELECT count(*) FROM org WHERE id = %s", self.tenant) == [(1,)]
        assert self.project.fleet().verify_tenants().is_equal

    def rows_of_tenant(self, shard: str) -> int:
        """How many rows of the tenant a shard has."""
        return int(self.ask(shard, _COUNT, self.tenant)[0][0])

    def require_nothing_left(self) -> None:
        """No schema, trigger, session, prepared transaction or lock of a move is on either shard."""
        for shard in self.direct:
            self.require_empty(shard)

    # --- moving

    def start(self, **options: Any) -> int:
        """The move to the other shard is in the queue; gives its run."""
        from shardwright.fleet import MoveOptions  # noqa: PLC0415 late, as the fleet needs DBOS

        return self.project.fleet().start_move(self.tenant, MoveOptions(**{"to": self.there, **options}))

    def carry(self, run: int, stop: StopRequest | None = None) -> MoveStatus:
        """By this process, as far as it goes by itself."""
        return self.project.fleet().carry_move(self.tenant, run, stop=stop)

    def move(self, **options: Any) -> MoveStatus:
        """Moved to the other shard, the way back open."""
        status = self.carry(self.start(**options))
        assert (status.run.state, status.move.phase) == ("waiting", "switched"), self.story(status.run.id)
        return status

    def undo(self) -> MoveStatus:
        """Taken back; nothing of it is left."""
        status = self.project.fleet().undo_move(self.tenant)
        assert (status.run.state, status.move.phase) == ("cancelled", "undone"), self.story(status.run.id)
        return status

    def finish(self) -> MoveStatus:
        """The source cleaned."""
        status = self.project.fleet().finish_move(self.tenant)
        assert (status.run.state, status.move.phase) == ("finished", "kept"), self.story(status.run.id)
        return status

    @contextmanager
    def carrying(self, run: int) -> Iterator[Future[MoveStatus]]:
        """`carry` in another thread, while the block does something to it."""
        stop = StopRequest()
        with ThreadPoolExecutor(1) as thread:
            carried = thread.submit(self.carry, run, stop)
            try:
                yield carried
            except BaseException:
                stop.ask("the test has failed")
                stop.ask("the test has failed")
                raise

    def mover(self, run: int, *, dies: str = "", stops: str = "") -> subprocess.Popen[str]:
        """A process that carries the run, and dies, or is stopped, at that point."""
        return self.carrier(self.tenant, str(run), dies=dies, stops=stops)

    def story(self, run: int) -> str:
        """All that is known of the run, for a failure's message."""
        with self.board() as board:
            steps = ", ".join(f"{step.name} {step.state}" for step in board.steps(run))
            return f"{board.run(run)}\n{steps}\n" + "\n".join(self.messages(run))


MakeArena = Callable[..., Arena]
_seeds = itertools.count()
_COUNT = """SELECT (SELECT count(*) FROM org WHERE id = o) + (SELECT count(*) FROM project WHERE org_id = o)
    + (SELECT count(*) FROM seat WHERE org_id = o) + (SELECT count(*) FROM badge WHERE org_id = o)
    + (SELECT count(*) FROM log WHERE org_id = o) + (SELECT count(*) FROM event WHERE org_id = o)
    FROM (SELECT %s::uuid AS o) AS _"""
_FILL = (
    "INSERT INTO project SELECT gen_random_uuid(), %(org)s, g FROM generate_series(1, 10) AS g",
    """INSERT INTO task SELECT gen_random_uuid(), g, (SELECT id FROM project WHERE org_id = %(org)s
       ORDER BY n OFFSET g %% 10 LIMIT 1) FROM generate_series(1, %(rows)s) AS g""",
    "INSERT INTO remark SELECT gen_random_uuid(), n, id FROM task WHERE n %% 3 = 0",
    """INSERT INTO node SELECT gen_random_uuid(), n, id, NULL FROM project WHERE org_id = %(org)s""",
    "INSERT INTO node SELECT gen_random_uuid(), n, NULL, id FROM node WHERE n < 5",
    "INSERT INTO node SELECT gen_random_uuid(), n, NULL, id FROM node WHERE parent IS NOT NULL",
    "INSERT INTO seat SELECT %(org)s, -g, g FROM generate_series(1, 20) AS g",
    "INSERT INTO badge SELECT gen_random_uuid(), %(org)s, g FROM generate_series(1, 20) AS g",
    "INSERT INTO log SELECT %(org)s, gen_random_uuid(), g FROM generate_series(1, 20) AS g",
    "INSERT INTO event SELECT gen_random_uuid(), g, %(org)s, g FROM generate_series(0, 99) AS g",
)


def _main() -> None:
    from shardwright.fleet import Fleet  # noqa: PLC0415 as above

    tenant, run = sys.argv[1], int(sys.argv[2])
    fleet = Fleet.from_config()
    with struck():
        print(fleet.carry_move(tenant, run), flush=True)  # noqa: T201 the log that tests read
    os._exit(0)


if __name__ == "__main__":
    _main()
