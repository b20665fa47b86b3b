"""The Python face: what the command line does, without it."""

from __future__ import annotations

from datetime import timedelta

import pytest

import shardwright
from kit import MakeProject
from shardwright import errors


def test_the_fleet_is_found_from_the_working_directory(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the commands find it; the public name is enough."""
    project = make_project(shards=1)
    monkeypatch.chdir(project.path)
    assert [shard.name for shard in shardwright.Fleet.from_config().resolved.shards] == ["shard_0"]
    with pytest.raises(shardwright.ShardwrightError):
        shardwright.Fleet.from_config("not_there.toml")


def test_durations_are_text_or_timedelta(make_project: MakeProject) -> None:
    """What is neither is wrong usage, and nothing is begun."""
    project = make_project(shards=1)
    project.table("r1", "a")
    fleet = project.fleet()
    with pytest.raises(errors.UsageError, match="not a duration"):
        fleet.migrate(timeout="soon")
    assert fleet.runs() == []
    assert fleet.migrate(timeout="30s", lock_timeout=timedelta(seconds=1)).succeeded
    assert fleet.run(1)[0].kind == "migrate"


def test_a_name_that_is_not_public_is_not_there() -> None:
    """The package has what `__all__` says, imported when it is asked for."""
    assert {name for name in shardwright.__all__ if getattr(shardwright, name)} == {
        "AsyncTenants",
        "Fleet",
        "ShardwrightError",
        "Tenants",
        "__version__",
    }
    with pytest.raises(AttributeError):
        _ = shardwright.nonsense
