"""Alembic histories that nobody here wrote: their own env.py, unchanged, over a fleet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from histories.fetch import installed
from histories.public_fleet import MLFLOW, OPTUNA, SHARDS, History, MakeFleet, PublicFleet

pytestmark = [pytest.mark.history, pytest.mark.timeout(900)]


@pytest.fixture
def make_fleet(tmp_path: Path, make_database: Callable[[], str]) -> MakeFleet:
    """Makes a fleet for a public history; skips where its package was not fetched."""

    def make(history: History) -> PublicFleet:
        package = installed(history.name)
        if package is None:
            pytest.skip(f"{history.name} is not in .cache/histories: python tests/histories/fetch.py (needs PyPI)")
        shards = {name: make_database() for name in SHARDS}
        fleet = PublicFleet(history, package, tmp_path, shards, plain=make_database(), control=make_database())
        fleet.write()
        fleet.make_first_tables()
        return fleet

    return make


@pytest.mark.parametrize("history", [OPTUNA, MLFLOW], ids=lambda history: history.name)
def test_a_fleet_goes_up_and_back_as_plain_alembic_does(history: History, make_fleet: MakeFleet) -> None:
    """To an early revision, to head, once more to head, back: each time every shard has the fingerprint that the
    `alembic` command gives one database."""
    fleet = make_fleet(history)
    assert outcome(fleet.shardwright("migrate", history.early)) == {("migrated", "base", history.early)}
    assert fleet.differences_from(fleet.alembic("upgrade", history.early)) == {}
    assert outcome(fleet.shardwright("migrate")) == {("migrated", history.early, history.head)}
    assert fleet.differences_from(head := fleet.alembic("upgrade", "head")) == {}
    assert outcome(fleet.shardwright("migrate")) == {("up_to_date", history.head, history.head)}
    assert fleet.differences_from(head) == {}
    assert outcome(fleet.shardwright("rollback", "--to", history.late)) == {("rolled_back", history.head, history.late)}
    assert fleet.differences_from(fleet.alembic("downgrade", history.late)) == {}


def test_a_downgrade_that_fails_leaves_the_shards_where_they_were(make_fleet: MakeFleet) -> None:
    """optuna's v3.0.0.c can't be undone: every shard stays at head as it was, and is named with the revision."""
    fleet = make_fleet(OPTUNA)
    fleet.shardwright("migrate")
    result = fleet.shardwright("rollback")
    assert result["exit_code"] == 2
    assert outcome(result) == {("failed", OPTUNA.head, OPTUNA.head)}
    broken = "downgrade v3.0.0.c (v3.0.0.c.py): AttributeError: "
    assert [shard["error"].startswith(broken) for shard in result["shards"]] == [True] * len(SHARDS)
    assert fleet.differences_from(fleet.alembic("upgrade", "head")) == {}


def outcome(result: dict[str, Any]) -> set[tuple[str, str, str]]:
    """What became of the shards and from where to where they went: one entry where all are alike."""
    assert [shard["shard"] for shard in result["shards"]] == list(SHARDS)
    return {(shard["status"], shard["from"], shard["to"]) for shard in result["shards"]}
