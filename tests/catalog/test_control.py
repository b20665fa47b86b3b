"""The control database: its schema is made once, upgraded once, read without being touched, refused when newer."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql

from kit import MakeProject
from shardwright import errors
from shardwright.catalog import control
from shardwright.catalog.control import open_control, read_control
from shardwright.catalog.store import known_shards, record_shards
from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster
from shardwright.pg.locks import CLASS
from shardwright.runs.store import Ledger
from shardwright.shard import Shard

NAME = "shardwright test"
LATEST = control.versions()[-1].number
FIRST = control.versions()[:1]
UPGRADE = """
import sys
from shardwright.catalog.control import open_control
from shardwright.dsn import DatabaseUrl
sys.stdin.readline()
with open_control(DatabaseUrl.parse(sys.argv[1]), application_name="test"):
    pass
"""


@pytest.fixture
def url(database_url: str) -> DatabaseUrl:
    return DatabaseUrl.parse(database_url)


def ask(url: DatabaseUrl, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url.conninfo, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def upgrade(url: DatabaseUrl, before: Callable[[], object] = int) -> int:
    with psycopg.connect(url.conninfo, autocommit=True) as connection:
        before()
        return control.upgrade(connection)


def applied(url: DatabaseUrl) -> list[tuple[object, ...]]:
    return ask(url, "SELECT version FROM shardwright.schema_version ORDER BY version")


def test_the_schema_is_made_when_somebody_acts(url: DatabaseUrl) -> None:
    """Every numbered file is applied, in order, and recorded."""
    with open_control(url, application_name=NAME) as connection:
        assert control.version(connection) == LATEST
        assert control.upgrade(connection) == 0
    assert applied(url) == [(number,) for number in range(1, LATEST + 1)]


def test_the_files_are_numbered_without_gaps() -> None:
    """A file that somebody forgot, or numbered twice, would be passed over by databases that are ahead of it."""
    assert [version.number for version in control.versions()] == list(range(1, LATEST + 1))


def test_reading_makes_nothing(url: DatabaseUrl) -> None:
    """Before anything was recorded there is nothing to read, and reading leaves it so."""
    with read_control(url, application_name=NAME) as connection:
        assert connection is None
    assert ask(url, "SELECT nspname FROM pg_namespace WHERE nspname = 'shardwright'") == []


def test_who_reads_cannot_write(url: DatabaseUrl) -> None:
    """The server itself keeps the promise."""
    with open_control(url, application_name=NAME):
        pass
    with read_control(url, application_name=NAME) as connection:
        assert connection is not None
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("INSERT INTO shardwright.shard_set (name) VALUES ('x')")


def test_two_threads_upgrade_it_once(url: DatabaseUrl) -> None:
    """Both wait at the start line; each file is applied by one of them, and both go on."""
    line = threading.Barrier(4)

    with ThreadPoolExecutor(4) as pool:
        counts = [future.result() for future in [pool.submit(upgrade, url, line.wait) for _ in range(4)]]
    assert sorted(counts) == [0, 0, 0, LATEST]


def test_two_processes_upgrade_it_once(url: DatabaseUrl) -> None:
    """As when two operators begin on the same evening."""
    command = [sys.executable, "-c", UPGRADE, url.conninfo]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    both = [subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        process.communicate("go\n")
    assert [process.returncode for process in both] == [0, 0]
    assert applied(url) == [(number,) for number in range(1, LATEST + 1)]


def test_an_upgrade_waits_for_the_one_under_way(url: DatabaseUrl) -> None:
    """It finds the work done when its turn comes: the schema is looked at again behind the lock."""
    with psycopg.connect(url.conninfo) as first, ThreadPoolExecutor(1) as pool:
        first.execute("SELECT pg_advisory_xact_lock(%s, %s)", (CLASS, control.SCHEMA_LOCK))
        first.execute("CREATE SCHEMA shardwright")
        first.execute("CREATE TABLE shardwright.schema_version (version int, name text)")
        first.execute("INSERT INTO shardwright.schema_version VALUES (%s, 'all')", (LATEST,))
        second = pool.submit(upgrade, url)
        waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
        while not ask(url, waiting):
            assert not second.done()
        first.commit()
        assert second.result() == 0


def test_a_failed_upgrade_leaves_nothing(url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    """All files in one transaction: either the schema is at this version, or it is as it was."""
    broken = [*control.versions(), control.Version(LATEST + 1, "broken", "SELECT nonsense")]
    monkeypatch.setattr(control, "versions", lambda: broken)
    with pytest.raises(errors.ControlUnavailable, match="nonsense"), open_control(url, application_name=NAME):
        pass
    assert ask(url, "SELECT nspname FROM pg_namespace WHERE nspname = 'shardwright'") == []


def test_an_older_schema_is_upgraded_and_keeps_its_rows(url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is missing is applied."""
    with monkeypatch.context() as earlier:
        earlier.setattr(control, "versions", lambda: FIRST)
        with open_control(url, application_name=NAME) as connection:
            connection.execute("INSERT INTO shardwright.shard_set (name) VALUES ('main')")
    with pytest.raises(errors.ControlTooOld, match="at version 1"), read_control(url, application_name=NAME):
        pass
    with open_control(url, application_name=NAME):
        pass
    assert applied(url)[-1] == (LATEST,)
    assert ask(url, "SELECT name FROM shardwright.shard_set") == [("main",)]


@pytest.mark.parametrize("way", [open_control, read_control])
def test_a_schema_newer_than_the_tool_is_refused(way: Callable[..., object], url: DatabaseUrl) -> None:
    """Its rows may mean something that this version does not know; both versions are named."""
    with open_control(url, application_name=NAME):
        ask(url, f"INSERT INTO shardwright.schema_version VALUES ({LATEST + 1}, 'future')")
    with pytest.raises(errors.ControlTooNew, match=f"version {LATEST + 1}, this shardwright knows {LATEST}"):
        way(url, application_name=NAME).__enter__()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"database": "not_there"}, "does not exist"),
        ({"host": "/nowhere"}, "No such file or directory"),
        ({"user": "stranger"}, "role"),
    ],
)
def test_a_control_database_that_is_away_is_named_with_the_reason(
    change: dict[str, str], word: str, url: DatabaseUrl
) -> None:
    """Exit 2, the URL without its password, what the server said, and what helps."""
    away = DatabaseUrl(**{**vars(url), "password": "hunter2", **change})
    with pytest.raises(errors.ControlUnavailable, match=word) as refused, open_control(away, application_name=NAME):
        pass
    assert refused.value.exit_code == 2
    assert away.redacted in str(refused.value)
    assert "hunter2" not in f"{refused.value} {refused.value.hint}"


def test_a_control_database_that_dies_meanwhile_is_named_too(url: DatabaseUrl) -> None:
    """Whatever statement of the ledger it was that met the end."""
    with open_control(url, application_name=NAME):
        pass

    def list_runs() -> None:
        with open_control(url, application_name=NAME) as connection:
            ask(url, f"SELECT pg_terminate_backend({connection.info.backend_pid})")
            Ledger(connection, "main").runs()

    with pytest.raises(errors.ControlUnavailable, match="terminating connection"):
        list_runs()


@pytest.fixture
def reader(cluster: Cluster, url: DatabaseUrl) -> Iterator[DatabaseUrl]:
    """A role that may connect and nothing else."""
    role = f"reader_{url.database}"
    ask(url, f"CREATE ROLE {role} LOGIN")
    yield DatabaseUrl(**{**vars(url), "user": role})
    ask(url, f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_role_that_may_not_write_is_told_so(reader: DatabaseUrl) -> None:
    """The missing privilege is in the message, and what helps in the hint."""
    with pytest.raises(errors.ControlUnavailable, match="permission denied for database") as refused:
        open_control(reader, application_name=NAME).__enter__()
    assert "grant the role the privilege" in refused.value.hint


def test_a_role_that_may_only_read_can_read(url: DatabaseUrl, reader: DatabaseUrl) -> None:
    """Monitoring needs no more than SELECT."""
    with open_control(url, application_name=NAME):
        pass
    ask(url, f"GRANT USAGE ON SCHEMA shardwright TO {reader.user}")
    ask(url, f"GRANT SELECT ON ALL TABLES IN SCHEMA shardwright TO {reader.user}")
    with read_control(reader, application_name=NAME) as connection:
        assert connection is not None
        assert Ledger(connection, "main").runs() == []


def test_a_strict_database_default_does_not_spoil_the_upgrade(url: DatabaseUrl) -> None:
    """With SERIALIZABLE as the default, a snapshot from before the lock would see the schema as it was."""
    name = sql.Identifier(url.database).as_string()
    ask(url, f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    with open_control(url, application_name=NAME) as connection:
        assert control.version(connection) == LATEST
        row = connection.execute("SHOW transaction_isolation").fetchone()
    assert row == ("serializable",)  # outside of a transaction the default is nobody's business


# --- what the catalog remembers ------------------------------------------------------------------


def test_the_catalog_lists_the_shards_that_were_worked_on(url: DatabaseUrl) -> None:
    """Each with host, database and labels, and never with its URL, which holds secrets."""
    shard = Shard("a", DatabaseUrl.parse("postgresql://u:hunter2@h:6/a"), {"region": "eu"})
    with open_control(url, application_name=NAME) as connection:
        record_shards(connection, "main", [shard])
        (known,) = known_shards(connection, "main")
    assert (known.name, known.host, known.database, known.labels) == ("a", "h:6", "a", {"region": "eu"})
    assert "hunter2" not in str(ask(url, "SELECT shard::text FROM shardwright.shard"))


def test_a_shard_that_is_gone_is_retired_and_may_come_back(url: DatabaseUrl) -> None:
    """The ledger still speaks of it, so it is marked and not deleted; other sets are left alone."""
    one, two = (Shard(name, DatabaseUrl.parse(f"postgresql://h/{name}"), {}) for name in "ab")
    with open_control(url, application_name=NAME) as connection:
        record_shards(connection, "blue", [two])
        record_shards(connection, "main", [one, two])
        record_shards(connection, "main", [one])
        retired = {shard.name: shard.retired_at is not None for shard in known_shards(connection, "main")}
        record_shards(connection, "main", [one, two])
        back = {shard.name: shard.retired_at is not None for shard in known_shards(connection, "main")}
        assert all(shard.retired_at is None for shard in known_shards(connection, "blue"))
    assert (retired, back) == ({"a": False, "b": True}, {"a": False, "b": False})


def test_a_rollout_records_its_shards(make_project: MakeProject) -> None:
    """Whoever acts records: after a migration the catalog knows the fleet."""
    project = make_project(shards=2)
    project.table("r1", "a")
    project.migrate()
    assert project.sql("control", "SELECT name FROM shardwright.shard ORDER BY 1") == [("shard_0",), ("shard_1",)]
