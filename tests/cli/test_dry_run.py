"""--dry-run of every command that changes something: it tells, and nothing has changed."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import Cli
from kit import Project
from shardwright.embedded import find_binaries

COMMANDS = {
    "migrate": "migrate to r2: 2 shards to do",
    "migrate --rehearse-rows 5": "rehearsed on a copy of shard_0 with 1 row of 1 table",
    "migrate r1 --shards shard_0": "migrate to r1: 0 shards to do",
    "rollback": "rollback to the revisions before run 1: 2 shards to do",
    "rollback --to base": "rollback to base: 2 shards to do",
    "seed": "would run app_seeds:seed on shard_0, shard_1",
    "reset --seed": "would drop, create, migrate and seed: shard_0",
    "dev up": "create if missing: shard_0",
    "dev reset": "would drop, create, migrate and seed: shard_1",
    "shards add new postgresql://h/new": "would add new",
    "init": "left alone: shardwright.toml",
}


@pytest.fixture
def everything(project: Project) -> Callable[[], dict[str, str]]:
    """All there is of a project: each database as pg_dump writes it, and each file."""
    pg_dump = find_binaries().bin / "pg_dump"

    def dump(url: str) -> str:
        done = subprocess.run([pg_dump, f"--dbname={url}"], check=True, capture_output=True, text=True)
        return "\n".join(line for line in done.stdout.splitlines() if "restrict" not in line)

    def snapshot() -> dict[str, str]:
        files = (path for path in project.path.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {
            **{name: dump(url) for name, url in {**project.shards, "control": project.control}.items()},
            **{str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        }

    return snapshot


def test_nothing_has_changed_after_any_of_them(
    project: Project, cli: Cli, everything: Callable[[], dict[str, str]]
) -> None:
    """On a fleet with a history, rows and a ledger: each tells what it would do, as text and as a document."""
    project.extra = 'seed = "app_seeds:seed"'
    project.write()
    project.migrate()
    project.table("r2", "b")
    project.sql("shard_0", "INSERT INTO a VALUES (1)")
    before = everything()
    for words, said in COMMANDS.items():
        done = cli(*words.split(), "--dry-run")
        assert (done.code, said in done.out) == (0, True), f"{words}: {done.out}{done.err}"
        assert cli(*words.split(), "--dry-run", "--json").document is not None
    assert everything() == before


def test_nothing_is_made_on_a_fresh_control_database(
    project: Project, cli: Cli, everything: Callable[[], dict[str, str]]
) -> None:
    """Before anything was ever recorded: readers say so, refuse what needs a record, and make no schema."""
    before = everything()
    assert cli("runs").out == "the ledger is empty\n"
    assert cli("runs", "--json").document == {"runs": []}
    assert "the ledger has no run 1" in cli("runs", "show", "1").err
    assert "nothing to roll back" in cli("rollback", "--dry-run").err
    assert "the ledger has no run 7" in cli("rollback", "--run", "7", "--dry-run").err
    assert cli("rollback", "--to", "base", "--dry-run").out.startswith("rollback to base: 0 shards to do")
    assert cli("migrate", "--dry-run").code == 0
    assert (cli("status").code, cli("shards").code, cli("shards", "check").code) == (1, 0, 0)
    assert everything() == before


def test_the_sql_is_shown(project: Project, cli: Cli) -> None:
    """What would be sent to each shard, once for all of them."""
    done = cli("migrate", "--dry-run")
    assert "wave 1: shard_0: base → r1 (1 revision)" in done.out
    assert done.out.count("CREATE TABLE a (") == 1
    assert "CREATE TABLE a" in cli("migrate", "--dry-run", "--json").document["sql"]["r1"]


def test_what_would_fail_is_told_and_counts(project: Project, cli: Cli) -> None:
    """A shard out of reach makes the plan's exit code 1, as it would the rollout's."""
    project.shards["away"] = "postgresql://postgres@/x?host=/nowhere"
    project.write()
    done = cli("migrate", "--dry-run")
    assert (done.code, "✗ away: " in done.out) == (1, True)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("shards add shard_0 postgresql://h/x", 64, "has a shard shard_0 already"),
        ("shards add new postgresql://u:hunter2@h/x", 64, "holds a password"),
        ("shards add new ${NOT_SET_HERE}", 78, "NOT_SET_HERE"),
        ("seed", 2, "has no fleet.seed"),
        ("dev up --shards 2", 64, "names the shards itself"),
        ("dev down", 64, "the servers are yours"),
        ("migrate nowhere", 2, "nowhere"),
        ("init not_there", 64, "there is no folder not_there"),
    ],
)
def test_what_would_be_refused_is_refused(words: str, code: int, said: str, project: Project, cli: Cli) -> None:
    """With the same words and the same exit code as without --dry-run."""
    dry, real = cli(*words.split(), "--dry-run"), cli(*words.split())
    assert (dry.code, said in dry.err) == (code, True), dry.err
    assert (real.code, real.err) == (dry.code, dry.err)


def test_an_embedded_fleet_is_not_started(cli: Cli, tmp_path: Path, state: Path) -> None:
    """`dev up` and `dev down` tell; the state directory stays empty."""
    cli("init")
    assert "start cluster_0 with shard_0, shard_1, shard_2" in cli("dev", "up", "--dry-run").out
    assert cli("dev", "down", "--dry-run").out == "nothing would be done\n"
    assert cli("dev", "down", "--destroy", "--dry-run").code == 0
    assert list(state.iterdir()) == []
