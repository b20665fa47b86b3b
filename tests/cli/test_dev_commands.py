"""`init` and `dev` as a developer types them, on a laptop without PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from cli.conftest import Cli


def test_a_first_morning(cli: Cli, tmp_path: Path, state: Path) -> None:
    """init, dev up, dev reset, dev down: each says what it did and what comes next."""
    assert cli("init").out.splitlines()[-1] == "next: shardwright dev up"
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "1.sql").write_text("CREATE TABLE IF NOT EXISTS a (id int); INSERT INTO a VALUES (1);")
    up = cli("dev", "up", "--shards", "1")
    assert (up.code, up.err) == (0, "")
    shown = up.out.splitlines()
    assert ("1 up to date · run 1" in shown, "1 seeded · run 2" in shown) == (True, True)
    assert shown[-1].startswith("  shard_0  postgresql://postgres@/shard_0?host=")
    refused = cli("dev", "reset")
    assert (refused.code, "repeat the command with --yes" in refused.err) == (64, True)
    assert cli("dev", "reset", "--yes").out.splitlines()[-1] == "1 reset · run 5"
    assert cli("dev", "down").out == "stopped: cluster_0\n"
    assert cli("dev", "down", "--destroy").code == 64
    assert cli("dev", "down", "--destroy", "--yes").out == "stopped and deleted: cluster_0\n"
    assert cli("dev", "down").out == "there is no embedded fleet to stop\n"
    assert list(state.iterdir()) == []


def test_dev_up_is_a_document(cli: Cli, state: Path) -> None:
    """Where the shards are, for scripts; and a second time nothing is created."""
    cli("init")
    first = cli("dev", "up", "--shards", "1", "--json").document
    assert (first["created"], list(first["urls"])) == (["control", "shard_0"], ["shard_0"])
    assert (first["migrate"]["summary"], first["seed"]) == ({"up_to_date": 1}, None)
    assert cli("dev", "up", "--json").document["created"] == []
    less = cli("dev", "up", "--clusters", "2", "--shards", "1")
    assert less.code == 0
    assert "none is taken away silently" in cli("dev", "up", "--clusters", "1").err


def test_a_production_fleet_without_shards_is_told_both_ways(cli: Cli, tmp_path: Path, state: Path) -> None:
    """`dev up` would refuse there, so the hint does not end with it."""
    (tmp_path / "shardwright.toml").write_text('[fleet]\ncontrol = "embedded"\n')
    done = cli("status")
    assert done.code == 2
    assert "shardwright shards add NAME URL" in done.err
    assert "marked production" in cli("dev", "up").err
