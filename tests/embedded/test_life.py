"""A cluster is made, started, used, stopped, taken away."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from kit import until
from shardwright.embedded import Binaries, Cluster, start_all
from shardwright.embedded.processes import is_there
from shardwright.errors import ClusterNotStarted, ClusterOfOtherVersion, ClustersFailed

MakeCluster = Callable[..., Cluster]
Query = Callable[[Cluster, str], object]
Observe = Callable[[Cluster], Callable[[], list[str]]]


@pytest.mark.parametrize("source", ["wheel", "debian_15"])
def test_stop_leaves_only_data(
    source: str, request: pytest.FixtureRequest, make_cluster: MakeCluster, remains: Observe, query: Query
) -> None:
    """After stop() there is no process, socket or shared memory; after a new start the data are there."""
    cluster = make_cluster(binaries=None if source == "wheel" else request.getfixturevalue(source))
    cluster.start()
    look = remains(cluster)
    query(cluster, "CREATE TABLE kept AS SELECT 42 AS value")
    assert look()
    cluster.stop()
    assert look() == []
    cluster.start()
    assert query(cluster, "SELECT value FROM kept") == 42


def test_every_act_can_be_repeated(stopped: MakeCluster, home: Path, remains: Observe) -> None:
    """start, stop and destroy do nothing where there is nothing to do, before and after."""
    nothing = Cluster(home / "nothing")
    nothing.stop()
    nothing.destroy()
    assert nothing.pid is None
    assert not nothing.is_running()
    cluster = stopped()
    cluster.start()
    pid, look = cluster.pid, remains(cluster)
    cluster.start()
    assert cluster.pid == pid
    cluster.stop()
    cluster.stop()
    cluster.destroy()
    cluster.destroy()
    assert look() == []
    assert not cluster.directory.exists()


def test_settings_are_those_of_a_shard_that_can_be_moved(stopped: MakeCluster, query: Query) -> None:
    """Always logical WAL, prepared transactions, commits that survive kill -9, UTF-8, no TCP, private socket."""
    cluster = stopped(settings={"max_connections": "17", "listen_addresses": "*"})
    cluster.start()
    shown = {
        "wal_level": "logical",
        "max_prepared_transactions": "64",
        "synchronous_commit": "on",
        "fsync": "off",
        "full_page_writes": "off",
        "max_connections": "17",
        "listen_addresses": "",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
        "lc_messages": "C",
    }
    assert {name: query(cluster, f"SHOW {name}") for name in shown} == shown
    assert query(cluster, "SELECT current_user") == "postgres"
    assert cluster.socket_directory.stat().st_mode & 0o777 == 0o700


def test_safe_keeps_what_postgresql_does_by_itself(home: Path, query: Query) -> None:
    """With safe=True the data survive a crash of the machine."""
    cluster = Cluster(home / "main", safe=True)
    try:
        cluster.start()
        assert query(cluster, "SHOW fsync") == "on"
        assert query(cluster, "SHOW full_page_writes") == "on"
    finally:
        cluster.destroy()


def test_the_environment_does_not_steer_it(
    make_cluster: MakeCluster, monkeypatch: pytest.MonkeyPatch, query: Query
) -> None:
    """Variables meant for other servers, and the locale and time zone of the user, change nothing."""
    for name, value in {"PGDATA": "/nowhere", "PGPORT": "1", "LC_ALL": "xx_XX", "TZ": "Asia/Tokyo"}.items():
        monkeypatch.setenv(name, value)
    cluster = make_cluster()
    cluster.start()
    assert query(cluster, "SHOW log_timezone") == "UTC"


def test_any_working_directory_will_do(
    make_cluster: MakeCluster, debian_15: Binaries, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    """One that the server's account cannot enter does not stop initdb, whose version 15 wants to go back there."""
    (home / "closed").mkdir(mode=0o700)
    monkeypatch.chdir(home / "closed")
    make_cluster(binaries=debian_15).start()


def test_an_address_in_the_environment_is_not_asked(home: Path, running: Cluster) -> None:
    """$PGHOSTADDR, which libpq puts before a socket, does not make another server's answer this one's."""
    os.environ["PGHOSTADDR"] = "127.0.0.1"
    try:
        assert running.is_running()
        assert not Cluster(home / "nothing").is_running()
    finally:
        del os.environ["PGHOSTADDR"]


def test_an_url_names_any_database(stopped: MakeCluster) -> None:
    """Names are quoted, and the address is the same before and after a start."""
    cluster = stopped()
    before = cluster.url("postgres")
    cluster.start()
    assert cluster.url("postgres") == before
    with psycopg.connect(before, autocommit=True) as connection:
        connection.execute('CREATE DATABASE "a/b?c=d&e f"')
    with psycopg.connect(cluster.url("a/b?c=d&e f")) as connection:
        assert connection.info.dbname == "a/b?c=d&e f"


def test_a_full_server_is_a_running_server(stopped: MakeCluster) -> None:
    """ "Too many clients" is an answer: a start beside it does not kill it."""
    cluster = stopped(settings={"max_connections": "2", "superuser_reserved_connections": "0", "max_wal_senders": "0"})
    cluster.start()

    def place() -> psycopg.Connection[object] | None:
        with contextlib.suppress(psycopg.OperationalError):  # whoever asked whether it runs may be there still
            return psycopg.connect(cluster.url("postgres"))
        return None

    one, other = until(place), until(place)
    assert one is not None
    assert other is not None
    with one, other:
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            psycopg.connect(cluster.url("postgres"))
        assert cluster.is_running()


def test_a_failed_start_shows_the_log(stopped: MakeCluster) -> None:
    """The error carries what the server said last, and leaves nothing running."""
    cluster = stopped(settings={"shared_buffers": "much"})
    with pytest.raises(ClusterNotStarted) as caught:
        cluster.start()
    assert 'invalid value for parameter "shared_buffers": "much"' in str(caught.value)
    assert caught.value.hint == f"tail -n 50 '{cluster.log}'"
    assert cluster.pid is None


def test_a_server_whose_title_cannot_be_read_yet_is_waited_for(
    stopped: MakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine a program that is being started shows no title for long: that is not its end."""
    cluster = stopped("untitled")
    monkeypatch.setattr(Cluster, "_alive", lambda *_: False)
    cluster.start()
    monkeypatch.undo()
    assert cluster.is_running()


def test_a_process_that_ended_is_not_there() -> None:
    """Also one that ended without anybody having asked for its exit code (a zombie)."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert is_there(os.getpid())
    assert not is_there(ended.pid)
    ended.wait()
    assert not is_there(ended.pid)


def test_a_start_that_cannot_even_write_its_log_is_explained(stopped: MakeCluster) -> None:
    """What stands in the way of the log is told in the log's stead."""
    cluster = stopped()
    cluster.log.unlink()
    cluster.log.mkdir()
    with pytest.raises(ClusterNotStarted, match=r"server\.log"):
        cluster.start()
    cluster.log.rmdir()


def test_the_log_of_an_earlier_start_is_not_shown(stopped: MakeCluster, home: Path) -> None:
    """Only what this start said explains this start."""
    stopped()
    with pytest.raises(ClusterNotStarted) as caught:
        Cluster(home / "main", settings={"wal_level": "none"}).start()
    assert "shut down" not in str(caught.value)


def test_data_of_another_version_are_not_touched(make_cluster: MakeCluster, debian_15: Binaries) -> None:
    """A cluster made by 15 is refused by 18, in words, and still starts with 15."""
    old = make_cluster(binaries=debian_15)
    old.start()
    old.stop()
    with pytest.raises(ClusterOfOtherVersion, match=r"made by PostgreSQL 15, the binaries found are \d\d"):
        make_cluster().start()
    old.start()


def test_an_interrupted_initdb_is_begun_again(stopped: MakeCluster) -> None:
    """Half a data directory is never taken for a whole one."""
    cluster = stopped()
    half = cluster.directory / "initdb-0badcafe"
    (cluster.directory / "pgdata").rename(half)
    cluster.start()
    assert not half.exists()


def test_destroy_leaves_files_of_others(stopped: MakeCluster, home: Path) -> None:
    """A directory that is no cluster's, and files beside a cluster's, are not taken away."""
    (home / "work/pgdata").mkdir(parents=True)
    Cluster(home / "work").destroy()
    assert (home / "work/pgdata").exists()
    cluster = stopped()
    (cluster.directory / "notes.txt").write_text("mine")
    cluster.destroy()
    assert [path.name for path in cluster.directory.iterdir()] == ["notes.txt"]


def test_many_start_at_once_and_all_failures_are_told(stopped: MakeCluster) -> None:
    """start_all() tries every cluster; its error names those that failed, the others run."""
    good, bad = stopped("good"), stopped("bad", settings={"fsync": "perhaps"})
    with pytest.raises(ClustersFailed) as caught:
        start_all([bad, good])
    assert list(caught.value.failures) == ["bad"]
    assert "bad: the PostgreSQL server in" in str(caught.value)
    assert caught.value.hint.startswith("tail")
    assert good.is_running()
