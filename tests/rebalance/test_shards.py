"""A shard that is drained, opened again, taken out of the fleet."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from rebalances import MakeEstate
from shardwright import errors
from shardwright.catalog.remove import plan_remove
from shardwright.config import load
from shardwright.rebalance.options import RebalanceOptions

OFF = RebalanceOptions(empty=("shard_1",))


def test_a_shard_is_drained_under_traffic_and_removed(make_estate: MakeEstate) -> None:
    """It takes no new tenants from the start, nobody is left on it, nothing is lost; once the way back is closed it
    goes out of the file, and its database stays."""
    estate = make_estate({"shard_0": (60,), "shard_1": (80, 60, 40)})
    estate.write()
    fleet = estate.project.fleet()
    _, run = fleet.drain(OFF)
    assert run is not None
    with pytest.raises(errors.ClosedToNew, match="shard_1 takes no new tenants"):
        fleet.add_tenant("00000000-0000-0000-0000-000000000001", shard="shard_1")
    found = fleet.carry_rebalance(run)
    assert (found.counts["moved"], found.exit_code) == (3, 0), estate.story(run)
    assert "shard_1" not in estate.places.values()
    with pytest.raises(errors.ShardInUse, match="way back") as refused:
        fleet.remove_shard("shard_1")
    assert refused.value.hint == "shardwright rebalance finish"
    fleet.finish_rebalance()
    estate.require_all()
    fleet.remove_shard("shard_1")
    assert [shard.name for shard in estate.project.fleet().resolved.shards] == ["shard_0", "shard_2"]
    assert estate.ask("control", "SELECT retired_at IS NOT NULL FROM shardwright.shard WHERE name = 'shard_1'") == [
        (True,)
    ]
    assert estate.ask("shard_1", "SELECT count(*) FROM org") == [(0,)]
    assert estate.project.fleet().verify_tenants().is_equal


def test_a_shard_is_not_opened_while_it_is_emptied(make_estate: MakeEstate) -> None:
    """Once that is cancelled it is; and takes new tenants again."""
    estate = make_estate({"shard_0": (10,), "shard_1": (10,)})
    fleet = estate.project.fleet()
    fleet.drain(OFF)
    with pytest.raises(errors.ShardInUse, match="is emptying it") as refused:
        fleet.undrain("shard_1")
    assert refused.value.hint == "shardwright rebalance cancel"
    fleet.ask_cancel_rebalance()
    fleet.undrain("shard_1")
    assert fleet.add_tenant("00000000-0000-0000-0000-000000000001", shard="shard_1").shard == "shard_1"


def test_an_empty_shard_is_only_closed(make_estate: MakeEstate) -> None:
    """There is nothing to move, so there is no run."""
    estate = make_estate({"shard_0": (10,)})
    proposal, run = estate.project.fleet().drain(OFF)
    assert (proposal.lines, run) == ((), None)
    estate.project.fleet().remove_shard("shard_1")


def test_the_last_shard_that_takes_tenants_is_not_drained(make_estate: MakeEstate) -> None:
    """New ones would have nowhere to go; nothing is closed."""
    estate = make_estate({"shard_0": (10,)}, shards=2)
    fleet = estate.project.fleet()
    fleet.drain(RebalanceOptions(empty=("shard_1",)))
    with pytest.raises(errors.ShardInUse, match="no other shard would take new tenants"):
        fleet.drain(RebalanceOptions(empty=("shard_0",)))
    assert fleet.add_tenant("00000000-0000-0000-0000-000000000001").shard == "shard_0"


def test_a_shard_that_is_needed_is_not_removed(make_estate: MakeEstate) -> None:
    """By the directory, by rows that the directory does not know, by a move: each is told with what helps, and both the
    file and the catalog are as they were."""
    estate = make_estate({"shard_0": (10,), "shard_1": (10,)}, shards=3)
    fleet, file = estate.project.fleet(), estate.project.path / "shardwright.toml"
    before = file.read_bytes()

    def refusal(name: str) -> tuple[str, str]:
        with pytest.raises(errors.ShardInUse) as refused:
            fleet.remove_shard(name)
        with pytest.raises(errors.ShardInUse):
            fleet.require_removable(name)
        return str(refused.value), refused.value.hint

    assert refusal("shard_1") == (
        "shard_1 can't be removed: the directory has 1 tenant on it", "shardwright shards drain shard_1"
    )  # fmt: skip
    estate.settle_in("shard_2", 1)
    told, cure = refusal("shard_2")
    assert ("whom the directory does not have there" in told, cure) == (True, "shardwright tenants verify")
    estate.ask("shard_2", "TRUNCATE org CASCADE")
    fleet.move(estate.tenants["shard_1.0"], "shard_0")
    told, cure = refusal("shard_1")
    assert "needs it" in told
    assert "shardwright move finish" in cure
    assert file.read_bytes() == before
    assert fleet.add_tenant("00000000-0000-0000-0000-000000000001", shard="shard_1").shard == "shard_1"


# --- the file -------------------------------------------------------------------------------------

FILE = """\
# The fleet of the shop.
[fleet]
control = "postgresql://nowhere/control"

# the first
[shards.shard_0]
url = "postgresql://nowhere/a"

[shards."shard_1"]  # in the cellar
url = "postgresql://nowhere/b"
# is to go
labels = { region = "eu" }

# What may be taken.
[limits]
keep = "1h"

[ shards . shard_2 ]
url = "postgresql://nowhere/c"
[shards.shard_2.labels]
region = "us"  # over there
"""


@pytest.mark.parametrize("name", ["shard_0", "shard_1", "shard_2"])
def test_a_shard_goes_out_of_the_file_and_all_else_stays(tmp_path: Path, name: str) -> None:
    """Comments too, but those between its own lines."""
    file = tmp_path / "shardwright.toml"
    file.write_text(FILE)
    after = plan_remove(load(file), name)
    expected = tomllib.loads(FILE)
    del expected["shards"][name]
    assert tomllib.loads(after) == expected
    lost = [line for line in FILE.splitlines() if line not in after.splitlines()]
    assert all(
        name in line or "url" in line or "labels" in line or "is to go" in line or "region" in line for line in lost
    )
    assert "\n\n\n" not in after


def test_a_shard_that_stands_in_one_line_with_others_is_left_to_its_owner(tmp_path: Path) -> None:
    """Nothing is written, and what is to be done is said."""
    file = tmp_path / "shardwright.toml"
    file.write_text(
        '[fleet]\ncontrol = "postgresql://nowhere/control"\n[shards]\n'
        'a = { url = "postgresql://nowhere/a" }\nb = { url = "postgresql://nowhere/b" }\n'
    )
    with pytest.raises(errors.UsageError, match="in a way that can't be taken out by itself"):
        plan_remove(load(file), "a")
