"""A shard's archive can be restored, and its database goes only where nothing needs it."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from shardwright import errors
from shardwright.bluegreen.shard_sets.archive import Archive, archive
from shardwright.bluegreen.shard_sets.drop import drop
from shardwright.catalog import placement
from shardwright.catalog.control import open_control
from shardwright.catalog.store import record_shards
from shardwright.dsn import DatabaseUrl
from shardwright.embedded import find_binaries
from shardwright.pg.contents import contents
from shardwright.pg.fingerprint import fingerprint
from shardwright.shard import Shard

SCHEMA = """
CREATE TYPE mood AS ENUM ('well', 'so so');
CREATE TABLE "Odd %s" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mood mood, body bytea, at timestamptz);
CREATE INDEX ON "Odd %s" (md5(body));
INSERT INTO "Odd %s" (mood, body, at) SELECT 'well', decode('00ff', 'hex'), '2020-02-02' FROM generate_series(1, 500);
"""


def run(url: DatabaseUrl, script: str) -> None:
    with psycopg.connect(url.conninfo, autocommit=True) as connection:
        for statement in script.strip().split(";\n"):
            connection.execute(statement.encode())


@pytest.fixture
def shard(make_database: Callable[[], str]) -> Shard:
    """A shard with rows."""
    shard = Shard("blue_0", DatabaseUrl.parse(make_database()), {})
    run(shard.url, SCHEMA)
    return shard


@pytest.fixture
def control(make_database: Callable[[], str], shard: Shard) -> Iterator[psycopg.Connection[Any]]:
    """A control database that knows the shard."""
    with open_control(DatabaseUrl.parse(make_database()), application_name="test") as connection:
        record_shards(connection, "main", [shard])
        yield connection


Programs = Callable[..., AbstractContextManager[Path]]


@pytest.fixture
def programs(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """pg_dump does something else than its work, or says another version; the other programs are what they are."""

    @contextmanager
    def replaced(*, pg_dump: str = "exit 1", version: str = "99.0") -> Iterator[Path]:
        folder, real = tmp_path_factory.mktemp("bin"), find_binaries()
        (folder / "pg_restore").symlink_to(real.bin / "pg_restore")
        (folder / "pg_dump").write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && {{ echo "pg_dump (PostgreSQL) {version}"; exit; }}\n{pg_dump}\n'
        )
        (folder / "pg_dump").chmod(0o755)
        with monkeypatch.context() as patch:
            patch.setattr("shardwright.bluegreen.shard_sets.archive.find_binaries", lambda: replace(real, bin=folder))
            yield folder

    return replaced


def is_there(shard: Shard) -> bool:
    try:
        psycopg.connect(shard.url.conninfo).close()
    except psycopg.OperationalError:
        return False
    return True


def test_what_was_archived_can_be_restored(shard: Shard, make_database: Callable[[], str], tmp_path: Path) -> None:
    """With pg_restore, into a new database: the same schema, the same rows, sequences where they were."""
    found = archive(shard, tmp_path / "new" / "folder")
    assert found == Archive("blue_0", tmp_path / "new" / "folder" / "blue_0.dump", found.file.stat().st_size)
    assert stat.S_IMODE(found.file.stat().st_mode) == 0o600
    assert list(found.file.parent.iterdir()) == [found.file]
    again = DatabaseUrl.parse(make_database())
    program = find_binaries().bin / "pg_restore"
    subprocess.run([program, f"--dbname={again.conninfo}", found.file], check=True)
    with psycopg.connect(shard.url.conninfo) as old, psycopg.connect(again.conninfo) as new:
        assert fingerprint(new) == fingerprint(old)
        assert contents(new) == contents(old)
        assert new.execute("SELECT nextval('\"Odd %%s_id_seq\"')", ()).fetchone() == (501,)


def test_an_archive_that_fails_leaves_the_older_one(shard: Shard, tmp_path: Path, programs: Programs) -> None:
    """Whole or not at all; what killed ones left beside it is taken away, and a newer one takes its place."""
    first = archive(shard, tmp_path).file.read_bytes()
    (tmp_path / ".blue_0.dump.xyz.unfinished").write_text("half")
    run(shard.url, "CREATE TABLE later AS SELECT generate_series(1, 10000) AS id")
    half = (
        'for each; do case $each in --file=*) echo half >"${each#--file=}";; esac; done; echo no more room >&2; exit 1'
    )
    with programs(pg_dump=half), pytest.raises(errors.NotArchived, match="blue_0 was not archived: no more room"):
        archive(shard, tmp_path)
    assert (tmp_path / "blue_0.dump").read_bytes() == first
    assert [each.name for each in tmp_path.iterdir()] == ["blue_0.dump"]
    archive(shard, tmp_path)
    assert (tmp_path / "blue_0.dump").read_bytes() != first


@pytest.mark.parametrize("content", ["somebody's", None])
def test_another_file_is_not_written_over(
    content: str | None, shard: Shard, make_database: Callable[[], str], tmp_path: Path
) -> None:
    """What is no archive, or that of another database of the same shard name, stays."""
    if content is None:
        archive(Shard("blue_0", DatabaseUrl.parse(make_database()), {}), tmp_path)
    else:
        (tmp_path / "blue_0.dump").write_text(content)
    before = (tmp_path / "blue_0.dump").read_bytes()
    with pytest.raises(errors.FileInTheWay, match=r"blue_0\.dump is there already"):
        archive(shard, tmp_path)
    assert (tmp_path / "blue_0.dump").read_bytes() == before


def test_an_older_pg_dump_is_refused_by_name(shard: Shard, tmp_path: Path, programs: Programs) -> None:
    """Before it begins, with the variable that names a newer one."""
    with programs(version="14.9") as folder, pytest.raises(errors.NotArchived) as refused:
        archive(shard, tmp_path / "to")
    assert f"{folder}/pg_dump is of PostgreSQL 14, and its server is 1" in str(refused.value)
    assert "SHARDWRIGHT_PG_BIN" in refused.value.hint
    assert not (tmp_path / "to").exists()


def test_no_secret_is_in_the_arguments(shard: Shard, tmp_path: Path, programs: Programs) -> None:
    """Neither the password nor a key's; the program gets both all the same."""
    seen = tmp_path / "seen"
    url = replace(shard.url, password="s3cret").with_parameter("sslpassword", "k3y")
    spy = f'{{ echo "$@"; echo "$PGPASSWORD"; cat "$PGSERVICEFILE"; }} >{seen}; exit 1'
    with programs(pg_dump=spy), pytest.raises(errors.NotArchived, match="no reason given"):
        archive(replace(shard, url=url), tmp_path / "to")
    arguments, password, *service = seen.read_text().splitlines()
    assert ("s3cret" in arguments, "k3y" in arguments, "service=shardwright" in arguments) == (False, False, True)
    assert (password, service) == ("s3cret", ["[shardwright]", "sslpassword=k3y"])


def test_a_shard_goes_once_it_is_archived(shard: Shard, control: psycopg.Connection[Any], tmp_path: Path) -> None:
    """Not before, with its sessions; and a second time there is nothing to do."""
    for folder in (None, tmp_path):
        with pytest.raises(errors.NotDropped, match=r"no folder with its archive|blue_0\.dump is not there"):
            drop(shard, control, "main", folder=folder)
    (tmp_path / "blue_0.dump").write_text("no archive")
    with pytest.raises(errors.NotDropped, match="is no archive"):
        drop(shard, control, "main", folder=tmp_path)
    (tmp_path / "blue_0.dump").unlink()
    archive(shard, tmp_path)
    with psycopg.connect(shard.url.conninfo):
        assert drop(shard, control, "main", folder=tmp_path)
    assert not is_there(shard)
    assert not drop(shard, control, "main", folder=tmp_path)


def test_a_shard_with_tenants_stays(shard: Shard, control: psycopg.Connection[Any]) -> None:
    """Whatever is said of its archive."""
    placement.place(control, "main", "acme", "blue_0", changed_by="test")
    with pytest.raises(errors.NotDropped, match="1 tenant is placed on it") as refused:
        drop(shard, control, "main", folder=None, without_archive=True)
    assert "--shard blue_0" in refused.value.hint
    assert is_there(shard)


def test_a_database_that_another_shard_lives_in_stays(shard: Shard, control: psycopg.Connection[Any]) -> None:
    """By another address, too; else the word is enough."""
    elsewhere = shard.url.with_parameter("application_name", "x")
    with pytest.raises(errors.NotDropped, match="another part of the fleet lives in it"):
        drop(shard, control, "main", folder=None, without_archive=True, spare=[elsewhere])
    assert is_there(shard)
    assert drop(shard, control, "main", folder=None, without_archive=True)
    assert not is_there(shard)
