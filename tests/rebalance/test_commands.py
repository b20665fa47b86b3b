"""`rebalance` and `shards drain` on the command line: what is told, and what comes of it."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from rebalances import Estate, MakeEstate
from shardwright.embedded import find_binaries


def told(estate: Estate, *words: str, code: int = 0) -> str:
    """What the command prints."""
    done = estate.project.cli(*words)
    assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def document(estate: Estate, *words: str) -> Any:
    """Its JSON document."""
    return json.loads(told(estate, *words, "--json"))


def test_a_rebalance_from_the_plan_to_the_end(make_estate: MakeEstate) -> None:
    """Each command says what was done and what may be done next; the document has every move."""
    estate = make_estate()
    plan = told(estate, "rebalance", "plan")
    assert "round 1" in plan
    assert "carries" in plan  # why this tenant
    assert "imbalance" in plan
    assert "the best possible is" in plan
    assert {move["source"] for move in document(estate, "rebalance", "plan")["moves"]} == {"shard_0"}
    started = told(estate, "rebalance", "start")
    assert "moved, the way back is open" in started
    assert "try: shardwright rebalance finish, or: shardwright rebalance undo" in started
    status = document(estate, "rebalance", "status")
    assert (status["phase"], {move["state"] for move in status["moves"]}) == ("moved", {"moved"})
    assert "rebalance 1 is open" in told(estate, "rebalance", "plan", code=2)
    assert "is moved, and can't cancel" in told(estate, "rebalance", "cancel", code=2)
    assert "  done  finished" in told(estate, "rebalance", "finish")
    assert "there is no such rebalance" in told(estate, "rebalance", "undo", code=2)
    assert "nothing to move" in told(estate, "rebalance", "start")


def test_a_tenant_larger_than_a_shard_is_not_blamed_on_the_plan(make_estate: MakeEstate) -> None:
    """What nobody can even out is told apart from what a rebalance can."""
    estate = make_estate({"shard_0": (400, 20, 20), "shard_1": (20,)})
    assert "for one of its tenants is more than a full shard" in told(estate, "rebalance", "plan")


def test_a_dry_run_changes_nothing(make_estate: MakeEstate) -> None:
    """It measures nothing either: databases and file are as they were."""
    estate = make_estate()
    told(estate, "rebalance", "plan")  # measures
    before = snapshot(estate)
    assert "moves in" in told(estate, "rebalance", "start", "--dry-run")
    assert "round 1" in told(estate, "shards", "drain", "shard_1", "--dry-run")
    assert "would take new tenants" in told(estate, "shards", "undrain", "shard_1", "--dry-run")
    assert "would take shard_2 out" in told(estate, "shards", "remove", "shard_2", "--dry-run")
    assert snapshot(estate) == before
    run = estate.start()
    before = snapshot(estate)
    for action in ("cancel", "undo", "finish"):
        assert f"run {run}  moving tenants" in told(estate, "rebalance", action, "--dry-run")
    assert snapshot(estate) == before


def test_a_shard_is_drained_and_removed_by_command(make_estate: MakeEstate) -> None:
    """With what to do next at each turn."""
    estate = make_estate({"shard_0": (20,), "shard_1": (20,)})
    drained = told(estate, "shards", "drain", "shard_1", "--keep", "1h")
    assert drained.startswith("shard_1 takes no new tenants")
    assert "to empty shard_1  moved, the way back is open" in drained
    assert "try: shardwright rebalance finish" in told(estate, "shards", "remove", "shard_1", code=2)
    told(estate, "rebalance", "finish")
    assert "took shard_1 out of" in told(estate, "shards", "remove", "shard_1")
    assert document(estate, "shards")["shards"][-1]["shard"] == "shard_2"


def snapshot(estate: Estate) -> dict[str, str]:
    """All there is: each database as pg_dump writes it, and the file."""
    pg_dump = find_binaries().bin / "pg_dump"

    def dump(url: str) -> str:
        done = subprocess.run([pg_dump, f"--dbname={url}"], check=True, capture_output=True, text=True)
        return "\n".join(line for line in done.stdout.splitlines() if "restrict" not in line)

    urls = {**estate.direct, "control": estate.project.control}
    file = (estate.project.path / "shardwright.toml").read_text()
    return {**{name: dump(url) for name, url in urls.items()}, "file": file}
