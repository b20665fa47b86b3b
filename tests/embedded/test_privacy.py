"""Nobody else can pose as the server, and any path will do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shardwright.embedded import Cluster
from shardwright.errors import DirectoryNotPrivate, DirectoryOutOfReach

MakeCluster = Callable[..., Cluster]
Query = Callable[[Cluster, str], object]


@pytest.mark.parametrize("name", ["d" * 120, "a,b", "with space", "quo'te\"", "ünï"])
def test_any_directory_name_will_do(name: str, stopped: MakeCluster, query: Query) -> None:
    """Too long for a socket, or a second host to libpq: the socket is in a short private folder instead."""
    cluster = stopped(name)
    cluster.start()
    assert query(cluster, "SHOW data_directory") == str(cluster.directory / "pgdata")
    assert not cluster.socket_directory.is_relative_to(cluster.directory)
    assert cluster.socket_directory.stat().st_mode & 0o777 == 0o700
    cluster.stop()
    assert not cluster.socket_directory.exists()


def test_the_socket_is_inside_where_it_fits(make_cluster: MakeCluster) -> None:
    """Below the cluster's private directory nobody can be there first."""
    cluster = make_cluster()
    assert cluster.socket_directory == cluster.directory / "socket"


def test_the_address_does_not_depend_on_tmpdir(
    make_cluster: MakeCluster, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later process with another TMPDIR finds the same server."""
    before = make_cluster("d" * 120).url("postgres")
    monkeypatch.setenv("TMPDIR", str(home))
    assert make_cluster("d" * 120).url("postgres") == before


def test_two_spellings_of_a_directory_are_one_cluster(make_cluster: MakeCluster, home: Path) -> None:
    """A link to the directory leads to the same server."""
    (home / "link").symlink_to(home / "main")
    assert make_cluster("link").url("postgres") == make_cluster("main").url("postgres")


@pytest.fixture
def outside(make_cluster: MakeCluster) -> Iterator[Cluster]:
    """A cluster whose socket directory is under /tmp, where others can make folders too."""
    cluster = make_cluster("d" * 120)
    yield cluster
    if cluster.socket_directory.is_symlink():
        cluster.socket_directory.unlink()
    shutil.rmtree(cluster.socket_directory, ignore_errors=True)


def test_a_socket_directory_open_to_others_is_refused(outside: Cluster) -> None:
    """Where others can enter, they could put a socket of theirs."""
    outside.socket_directory.mkdir()
    outside.socket_directory.chmod(0o777)
    (outside.socket_directory / "occupied").touch()
    with pytest.raises(DirectoryNotPrivate, match=r"others can enter it|it belongs to uid") as caught:
        outside.start()
    assert caught.value.hint.startswith(f"mv '{outside.socket_directory}'")


def test_a_socket_directory_that_is_a_link_is_refused_and_not_followed(outside: Cluster, home: Path) -> None:
    """Neither start nor stop touches what a planted link leads to."""
    (home / "theirs").mkdir()
    (home / "theirs/.s.PGSQL.5432").touch()
    outside.socket_directory.symlink_to(home / "theirs")
    with pytest.raises(DirectoryNotPrivate, match="it is not a directory"):
        outside.start()
    outside.stop()
    assert (home / "theirs/.s.PGSQL.5432").exists()


@pytest.mark.usefixtures("as_root")
def test_a_socket_directory_of_somebody_else_is_refused(outside: Cluster) -> None:
    """Mode 0700 is no comfort in a stranger's folder."""
    outside.socket_directory.mkdir(mode=0o700)
    os.chown(outside.socket_directory, 12345, 12345)
    with pytest.raises(DirectoryNotPrivate, match="it belongs to uid 12345"):
        outside.start()


@pytest.mark.usefixtures("as_root")
def test_a_cluster_directory_out_of_reach_is_named(make_cluster: MakeCluster, home: Path) -> None:
    """Root learns before initdb that its server could not get there, and where it could."""
    (home / "closed").mkdir(mode=0o700)
    with pytest.raises(DirectoryOutOfReach, match="closed/main is out of reach") as caught:
        make_cluster("closed/main").start()
    assert caught.value.hint == "export SHARDWRIGHT_STATE=/var/lib/shardwright"


@pytest.mark.usefixtures("as_root")
def test_roots_umask_does_not_close_the_way(make_cluster: MakeCluster) -> None:
    """The folders made on the way can be entered by the server's account under umask 077 too."""
    before = os.umask(0o077)
    try:
        cluster = make_cluster("new/folders/main")
        cluster.start()
    finally:
        os.umask(before)
    assert cluster.is_running()
