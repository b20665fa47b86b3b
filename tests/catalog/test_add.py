"""`shards add`: the file gets the shard whole or not at all, and keeps everything else to the byte."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kit import MakeProject
from shardwright import errors
from shardwright.catalog.add import add_shard, plan_add
from shardwright.config import Config, load
from shardwright.dsn import DatabaseUrl
from shardwright.fleet import Fleet

TEXT = """\
# ours, do not touch
[fleet]
control = "postgresql://h/control"   # the ledger
[shards.a]
url = "postgresql://h/a"
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "shardwright.toml").write_text(TEXT)
    return load(tmp_path / "shardwright.toml")


def test_the_shard_is_appended_and_all_else_stays(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comments and order are the owner's; `${NAME}` is written as it was given, not as what it stands for."""
    monkeypatch.setenv("B_URL", "postgresql://app:hunter2@h/b")
    after = add_shard(config, "b", "${B_URL}", {"region": "eu", "odd key": 'say "ß"'})
    text = config.file.read_text()
    assert text.startswith(TEXT)
    assert text.removeprefix(TEXT) == (
        '\n[shards.b]\nurl = "${B_URL}"\nlabels = { region = "eu", "odd key" = "say \\"ß\\"" }\n'
    )
    assert (after.shards[1].url.password, after.shards[1].labels["odd key"]) == ("hunter2", 'say "ß"')


def test_a_pyproject_gets_a_section_of_the_tool(tmp_path: Path) -> None:
    """Under [tool.shardwright], with a name that needs quotes in quotes."""
    file = tmp_path / "pyproject.toml"
    file.write_text('[project]\nname = "x"\n[tool.shardwright.fleet]\ncontrol = "embedded"')
    add_shard(load(file), "eu.1", "postgresql://h/b", {})
    assert '\n\n[tool.shardwright.shards."eu.1"]\nurl = ' in file.read_text()
    assert tomllib.loads(file.read_text())["project"] == {"name": "x"}


def test_line_ends_mode_and_byte_order_mark_are_kept(config: Config) -> None:
    """A file written on Windows stays one; a file that only its owner may read stays so."""
    windows = b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode()
    config.file.write_bytes(windows)
    config.file.chmod(0o600)
    add_shard(config, "b", "postgresql://h/b", {})
    added = config.file.read_bytes().removeprefix(windows)
    assert added == b'\r\n[shards.b]\r\nurl = "postgresql://h/b"\r\n'
    assert config.file.stat().st_mode & 0o777 == 0o600


def test_a_link_stays_a_link(config: Config, tmp_path: Path) -> None:
    """The file it points to is what changes."""
    (tmp_path / "link").mkdir()
    link = tmp_path / "link" / "shardwright.toml"
    link.symlink_to(config.file)
    add_shard(load(link), "b", "postgresql://h/b", {})
    assert link.is_symlink()
    assert "[shards.b]" in config.file.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write a file that another owns, and keep it theirs")
def test_the_owner_stays_the_owner(config: Config) -> None:
    """An operator who is root must not take the file from its owner."""
    os.chown(config.file, 12345, 12345)
    add_shard(config, "b", "postgresql://h/b", {})
    assert (config.file.stat().st_uid, config.file.stat().st_gid) == (12345, 12345)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:hunter2@h/b",
        "postgresql://app:hunter2@${HOST}/b",
        "postgresql://${USER}:x${REST}@h/b",
        "postgresql://app@h/b?password=hunter2",
        "postgresql://h/b?sslmode=require&sslpassword=hunter2",
    ],
)
def test_a_password_does_not_get_into_the_file(url: str, config: Config) -> None:
    """The command that does it right is proposed, and shows no secret itself."""
    with pytest.raises(
        errors.UsageError, match=r"holds a password, which does not belong into shardwright\.toml"
    ) as no:
        add_shard(config, "eu.b", url, {})
    assert "export EU_B_URL=" in no.value.hint
    assert "shardwright shards add eu.b '${EU_B_URL}'" in no.value.hint
    assert "hunter2" not in f"{no.value} {no.value.hint}"
    assert config.file.read_text() == TEXT


@pytest.mark.parametrize("url", ["postgresql://app:${PW}@h/b", "postgresql://h:5432/b?user=a@b"])
def test_a_url_without_a_secret_is_none(url: str, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password from the environment, or an @ elsewhere, is no password in the file."""
    monkeypatch.setenv("PW", "hunter2")
    assert plan_add(config, "b", url, {}).shard.name == "b"


@pytest.mark.parametrize(
    ("name", "url", "kind", "word"),
    [
        ("a", "postgresql://h/b", errors.UsageError, "has a shard a already"),
        ("b c", "postgresql://h/b", errors.BadValue, "letters, digits"),
        ("-b", "postgresql://h/b", errors.BadValue, "letters, digits"),
        ('x"]\nurl="y', "postgresql://h/b", errors.BadValue, "letters, digits"),
        ("b", "postgresql://h/a", errors.DuplicateDatabase, "same database"),
        ("b", "postgresql://me@h/control", errors.DuplicateDatabase, "fleet.control"),
        ("b", "mysql://h/b", errors.BadValue, "postgresql://"),
        ("b", "${NOT_SET}", errors.MissingVariable, "NOT_SET"),
    ],
)
def test_what_would_not_be_valid_is_not_written(
    name: str, url: str, kind: type[errors.ShardwrightError], word: str, config: Config
) -> None:
    """The error names the file that was meant, not one beside it; and no byte has changed."""
    with pytest.raises(kind) as refused:
        add_shard(config, name, url, {})
    assert word in str(refused.value)
    assert str(config.file) in str(refused.value)
    assert config.file.read_text() == TEXT
    assert [path.name for path in config.project.iterdir()] == ["shardwright.toml"]


def test_a_file_that_cannot_be_added_to_is_left_alone(tmp_path: Path) -> None:
    """Shards in one inline table can't be continued at the end of the file; the way out is told."""
    file = tmp_path / "shardwright.toml"
    file.write_text(text := 'fleet = { control = "embedded" }\nshards = { a = { url = "postgresql://h/a" } }\n')
    with pytest.raises(errors.UsageError, match="can't be added to at its end") as refused:
        add_shard(load(file), "b", "postgresql://h/b", {})
    assert "[shards.NAME]" in refused.value.hint
    assert file.read_text() == text


def test_of_those_who_add_at_once_none_is_lost(config: Config) -> None:
    """A script that makes shards in parallel gets them all."""
    names = [f"n{number}" for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: add_shard(config, name, f"postgresql://h/{name}", {}), names))
    assert {shard.name for shard in load(config.file).shards} == {"a", *names}


def test_an_added_shard_is_looked_at(make_project: MakeProject, make_database: Callable[[], str]) -> None:
    """The fleet has it at once, and says whether it is fit: it is no error that one is not there yet."""
    fleet = make_project(shards=1).fleet()
    assert fleet.add_shard("new", make_database(), labels={"region": "eu"}).is_well
    assert [shard.name for shard in fleet.resolved.select("region=eu")] == ["new"]
    away = fleet.add_shard("away", "postgresql://postgres@/x?host=/nowhere")
    assert "No such file or directory" in away.findings[0].fact


def test_an_added_shard_that_is_one_of_the_fleet_is_named(make_project: MakeProject, tmp_path: Path) -> None:
    """By another way to the same database: the health says so before anything runs on it twice."""
    project = make_project(shards=1)
    url = DatabaseUrl.parse(project.shards["shard_0"])
    (tmp_path / "link").symlink_to(url.host)
    health = project.fleet().add_shard("twin", str(DatabaseUrl(**{**vars(url), "host": str(tmp_path / "link")})))
    assert health.findings[0].fact == "it is the same database as shard_0"


def test_a_shard_does_not_take_the_place_of_embedded_ones(tmp_path: Path, state: Path) -> None:
    """With shards of its own in the file the embedded ones would be out of the fleet, data and all."""
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "env.py").write_text("")
    file = tmp_path / "shardwright.toml"
    file.write_text('[fleet]\ncontrol = "embedded"\nenvironment = "development"\n')
    fleet = Fleet.from_config(file)
    fleet.dev_up(shards=2)
    for add in (fleet.add_shard, fleet.plan_add_shard):
        with pytest.raises(errors.UsageError, match="2 embedded shards, and mine would take their place") as refused:
            add("mine", "postgresql://h/mine")
        assert "dev up --shards 3" in refused.value.hint
