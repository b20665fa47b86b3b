"""The engine between admission and workers, with real workers: one process each, since DBOS is one per process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from kit import until
from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster
from shardwright.runs.engine import SCHEMA, Engine

ROLE = "shardwright_engine_user"

# Writes down what it executes; a run of 100 or more waits until the file of its number is there; run 13 fails.
WORKER = """
import os, re, sys, time
from pathlib import Path
from shardwright.dsn import DatabaseUrl
from shardwright.runs.engine import Engine

url, name, at_once, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])

def note(*words):
    with open(folder / "log", "a") as log:
        log.write(" ".join(map(str, words)) + "\\n")

def execute(run, runner):
    note("begun", run, runner, name)
    if run == 13:
        raise ValueError("the password is hunter2")
    while run >= 100 and not (folder / str(run)).exists():
        time.sleep(0.02)
    note("done", run, runner, name)

def ports():
    inodes = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            inodes |= set(re.findall(r"socket:\\[(\\d+)\\]", os.readlink(f"/proc/self/fd/{number}")))
        except FileNotFoundError:
            pass
    lines = [line.split() for file in ("tcp", "tcp6") for line in open(f"/proc/self/net/{file}").readlines()[1:]]
    return sum(line[3] == "0A" and line[9] in inodes for line in lines)

engine = Engine(DatabaseUrl.parse(url), worker=name, execute=execute, at_once=at_once)
engine.start()
note("ready", name)
sys.stdin.read()
note("listening", ports())
engine.stop(wait=10)
os._exit(0)
"""

# An application that uses DBOS itself, as its documentation says, with a queue of the same name.
APPLICATION = """
import sys
from dbos import DBOS
DBOS(config={"name": "application", "system_database_url": sys.argv[1], "log_level": "ERROR"})

@DBOS.workflow()
def double(number):
    return DBOS.run_step(None, lambda: 2 * number)

DBOS.launch()
DBOS.register_queue("shardwright", polling_interval_sec=0.1)
for number in range(5):
    assert DBOS.enqueue_workflow("shardwright", double, number).get_result(polling_interval_sec=0.1) == 2 * number
print(len(DBOS.list_workflows()))
DBOS.destroy()
"""

TWO_IN_ONE_PROCESS = """
import sys
from dbos import DBOS
from shardwright.dsn import DatabaseUrl
from shardwright.runs.engine import Engine
DBOS(config={"name": "application", "system_database_url": sys.argv[1], "log_level": "ERROR"})
try:
    Engine(DatabaseUrl.parse(sys.argv[1]), worker="w", execute=lambda run, runner: None, at_once=1).start()
except RuntimeError as refusal:
    print(refusal)
"""


def _nothing(run: int, runner: int) -> None:
    raise AssertionError("who has not started takes no runs")


class Workers:
    """Worker processes on one control database, and what they have written down."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.processes: list[subprocess.Popen[str]] = []
        self.engine = Engine(DatabaseUrl.parse(url), worker="submitter", execute=_nothing, at_once=1)
        (folder / "log").touch()

    def start(self, name: str, *, at_once: int = 1, url: str | None = None) -> subprocess.Popen[str]:
        """A worker that has begun to take runs."""
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, url or self.url, name, str(at_once), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.processes.append(process)
        until(lambda: f"ready {name}" in self.log() or process.poll() is not None)
        return process

    def log(self) -> list[str]:
        """What was written down so far, in order."""
        return (self.folder / "log").read_text().splitlines()

    def wait_for(self, *lines: str) -> None:
        """All of this is written down."""
        until(lambda: set(lines) <= set(self.log()))

    def begun(self) -> list[str]:
        """`run runner` of every execution so far, in no order."""
        return sorted(" ".join(line.split()[1:3]) for line in self.log() if line.startswith("begun"))

    def let(self, run: int) -> None:
        """The run that waits may end."""
        (self.folder / str(run)).touch()

    def status(self, run: int, runner: int) -> str:
        """What the engine's own table says of a pair."""
        with psycopg.connect(self.url) as connection:
            query = sql.SQL("SELECT status FROM {}.workflow_status WHERE workflow_uuid = %s").format(
                sql.Identifier(SCHEMA)
            )
            row = connection.execute(query, [f"run-{run}-{runner}"]).fetchone()
        return str(row and row[0])

    def end(self) -> None:
        """All workers have ended; whatever happened, none of them has said anything or listened to a port."""
        for process in self.processes:
            process.stdin.close()  # type: ignore[union-attr]
        said = []
        for process in self.processes:
            with process.stdout as output:  # type: ignore[union-attr]
                said.append(output.read())
        codes = [process.wait(30) for process in self.processes]
        self.engine.stop()
        assert said == [""] * len(said)
        assert set(codes) <= {0, -signal.SIGKILL}
        assert {line for line in self.log() if line.startswith("listening")} <= {"listening 0"}


@pytest.fixture
def make_workers(tmp_path: Path) -> Iterator[Callable[[str], Workers]]:
    made: list[Workers] = []

    def make(url: str) -> Workers:
        made.append(Workers(url, tmp_path))
        return made[-1]

    yield make
    for workers in made:
        workers.end()


@pytest.fixture
def workers(make_workers: Callable[[str], Workers], database_url: str) -> Workers:
    return make_workers(database_url)


def test_a_run_is_executed_in_another_process_once(workers: Workers) -> None:
    """Submitted twice by one process and once more by another, before and after it was executed."""
    workers.engine.submit(7, 3)
    second = Engine(DatabaseUrl.parse(workers.url), worker="second", execute=_nothing, at_once=1)
    second.submit(7, 3)
    workers.start("a")
    workers.wait_for("done 7 3 a")
    workers.engine.submit(7, 3)
    workers.engine.submit(8, 1)
    workers.wait_for("done 8 1 a")
    second.stop()
    assert workers.begun() == ["7 3", "8 1"]


def test_workers_share_the_queue_each_with_a_limit_of_its_own(workers: Workers) -> None:
    """One place in the first, two in the second: three runs are under way, the fourth waits for a place."""
    workers.start("a", at_once=1)
    workers.start("b", at_once=2)
    for run in (101, 102, 103, 104):
        workers.engine.submit(run, 1)
    until(lambda: len(workers.begun()) == 3)
    assert sorted(line.split()[3] for line in workers.log() if line.startswith("begun")) == ["a", "b", "b"]
    for run in (101, 102, 103, 104):
        workers.let(run)
    until(lambda: sum(line.startswith("done") for line in workers.log()) == 4)
    assert workers.begun() == ["101 1", "102 1", "103 1", "104 1"]


def test_what_a_killed_worker_had_is_taken_over_only_under_a_new_number(workers: Workers) -> None:
    """Neither a living worker nor a new one begins it again by itself; discarded, it never comes back."""
    killed = workers.start("a")
    workers.engine.submit(100, 1)
    workers.wait_for("begun 100 1 a")
    killed.kill()
    killed.wait()
    workers.start("b")
    workers.engine.submit(1, 1)  # goes through the queue after whatever would be taken over
    workers.wait_for("done 1 1 b")
    assert workers.status(100, 1) == "PENDING"
    workers.engine.discard(100, 1)
    workers.engine.submit(100, 1)
    workers.engine.submit(100, 2)
    workers.let(100)
    workers.wait_for("done 100 2 b")
    assert workers.begun() == ["1 1", "100 1", "100 2"]


def test_what_was_discarded_is_never_begun(workers: Workers) -> None:
    """Discarding is repeatable, also of what was never submitted."""
    for run in (1, 2):
        workers.engine.submit(run, 1)
    for run in (1, 1, 99):
        workers.engine.discard(run, 1)
    workers.engine.submit(1, 1)
    workers.start("a")
    workers.wait_for("done 2 1 a")
    assert workers.begun() == ["2 1"]


def test_an_error_ends_that_run_and_is_not_told(workers: Workers) -> None:
    """Nothing is tried again, and of the error the engine keeps its class, not its text."""
    workers.start("a")
    workers.engine.submit(13, 1)
    until(lambda: workers.status(13, 1) == "ERROR")
    workers.engine.submit(14, 1)
    workers.wait_for("done 14 1 a")
    assert workers.begun() == ["13 1", "14 1"]
    with psycopg.connect(workers.url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [SCHEMA]).fetchall()
        parts = [sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(SCHEMA, name)) for (name,) in tables]
        kept = str(connection.execute(sql.SQL(" UNION ALL ").join(parts)).fetchall())
    assert "ValueError" in kept
    assert "hunter2" not in kept


def test_stop_waits_for_what_was_begun_and_takes_nothing_new(workers: Workers) -> None:
    """The run that is under way ends, the one behind it is left for others."""
    worker = workers.start("a")
    workers.engine.submit(100, 1)
    workers.wait_for("begun 100 1 a")
    workers.engine.submit(1, 1)
    worker.stdin.close()  # type: ignore[union-attr]
    workers.wait_for("listening 0")
    workers.let(100)
    worker.wait(30)
    assert (workers.status(100, 1), workers.status(1, 1)) == ("SUCCESS", "ENQUEUED")


def test_a_shard_set_takes_only_its_own_runs(workers: Workers) -> None:
    """Two that share a control database have a queue each."""
    other = Engine(DatabaseUrl.parse(workers.url), worker="other", execute=_nothing, at_once=1, shard_set="eu")
    workers.start("a", at_once=2)
    other.submit(1, 1)
    workers.engine.submit(2, 1)
    workers.wait_for("done 2 1 a")
    other.stop()
    assert (workers.begun(), workers.status(1, 1)) == (["2 1"], "ENQUEUED")


def test_the_control_server_is_killed_and_comes_back(
    other_cluster: Cluster,
    make_frail_database: Callable[[], str],
    make_workers: Callable[[str], Workers],
) -> None:
    """What is executed meanwhile goes on; its place is free at once when the worker, by itself, takes runs again."""
    workers = make_workers(make_frail_database())
    workers.start("a", at_once=1)
    workers.engine.submit(100, 1)
    workers.wait_for("begun 100 1 a")
    os.kill(other_cluster.pid or 0, signal.SIGQUIT)
    until(lambda: other_cluster.pid is None)
    with pytest.raises(psycopg.OperationalError):
        workers.engine.submit(2, 1)
    workers.let(100)
    workers.wait_for("done 100 1 a")
    other_cluster.start()
    workers.engine.submit(2, 1)
    workers.wait_for("done 2 1 a")
    assert workers.begun() == ["100 1", "2 1"]


def test_an_application_that_uses_dbos_in_the_same_database_is_not_disturbed(workers: Workers) -> None:
    """Its schema, its queue of the same name and ours know nothing of each other."""
    workers.start("a", at_once=2)
    application = subprocess.Popen(
        [sys.executable, "-c", APPLICATION, DatabaseUrl.parse(workers.url).sqlalchemy()],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for run in range(20):
        workers.engine.submit(50 + run, 1)
    said, _ = application.communicate(timeout=60)
    assert said == "5\n"
    workers.wait_for(*(f"done {50 + run} 1 a" for run in range(20)))
    with psycopg.connect(workers.url) as connection:
        count = sql.SQL("SELECT count(*) FROM {}.workflow_status").format(sql.Identifier(SCHEMA))
        assert connection.execute(count).fetchall() == [(20,)]


def test_an_idle_worker_holds_neither_a_lock_nor_a_transaction(workers: Workers) -> None:
    """CREATE INDEX CONCURRENTLY in the same database, an application's migration, does not wait for it."""
    workers.start("a")
    query = """SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
               WHERE locktype = 'advisory' AND datname = current_database()"""
    with psycopg.connect(workers.url, autocommit=True) as connection:
        until(lambda: {connection.execute(query).fetchone() for _ in range(100)} == {(0,)})


def test_a_process_that_runs_dbos_for_itself_can_not_be_a_worker(database_url: str) -> None:
    """DBOS would silently go on with the application's settings."""
    command = [sys.executable, "-c", TWO_IN_ONE_PROCESS, DatabaseUrl.parse(database_url).sqlalchemy()]
    refused = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "runs DBOS already" in refused.stdout


@pytest.fixture
def role(cluster: Cluster, database_url: str) -> Iterator[str]:
    """An ordinary role that owns nothing; may create a schema in the test's database."""
    database = sql.Identifier(DatabaseUrl.parse(database_url).database)
    name = sql.Identifier(ROLE)
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN NOCREATEDB").format(name))
        admin.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(database, name))
    yield database_url.replace("postgres@", f"{ROLE}@")
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(name))
        admin.execute(sql.SQL("DROP ROLE {}").format(name))


def test_a_role_that_may_create_a_schema_needs_nothing_more(role: str, workers: Workers) -> None:
    """No CREATEDB, and no look into another database."""
    workers.start("a", url=role)
    workers.engine.submit(1, 1)
    workers.wait_for("done 1 1 a")


def test_a_role_that_only_reads_and_writes_can_work_in_a_schema_that_is_there(role: str, workers: Workers) -> None:
    """Without CREATE anywhere."""
    workers.engine.submit(1, 1)
    names = {"schema": sql.Identifier(SCHEMA), "role": sql.Identifier(ROLE)}
    with psycopg.connect(workers.url, autocommit=True) as admin:
        database = sql.Identifier(admin.info.dbname)
        for statement in (
            sql.SQL("REVOKE CREATE ON DATABASE {database} FROM {role}").format(database=database, **names),
            sql.SQL("GRANT USAGE ON SCHEMA {schema} TO {role}").format(**names),
            sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}").format(**names),
        ):
            admin.execute(statement)
    workers.start("a", url=role)
    workers.wait_for("done 1 1 a")


def test_an_unreachable_control_database_is_said_without_its_password() -> None:
    """Whoever submits gets psycopg's error, and soon."""
    url = DatabaseUrl.parse("postgresql://somebody:hunter2@127.0.0.1:1/control")
    engine = Engine(url, worker="w", execute=_nothing, at_once=1)
    before = time.monotonic()
    with pytest.raises(psycopg.OperationalError) as caught:
        engine.submit(1, 1)
    assert time.monotonic() - before < 60
    assert "hunter2" not in f"{caught.value!r} {engine!r} {vars(engine)!r}"
