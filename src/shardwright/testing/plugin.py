"""The pytest plugin: a clean fleet for each test that asks for one. Loaded by every pytest: it imports nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from shardwright.move.status import MoveStatus
    from shardwright.testing.fleet import TestFleet

_fleet = pytest.StashKey["TestFleet"]()
_touched = pytest.StashKey[bool]()
_VARIABLE = "SHARDWRIGHT_CONFIG"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The keys of pytest's own configuration file."""
    parser.addini("shardwright_config", "the project's shardwright.toml (default: the nearest upwards)", default="")
    parser.addini("shardwright_shards", "how many shards, or their names (default: as the file has them)", "args")
    parser.addini("shardwright_clusters", "how many PostgreSQL servers of its own (default: 1)", default="1")
    parser.addini("shardwright_seed", "whether every test finds the application's seed data", "bool", default=False)
    parser.addini("shardwright_servers", "URLs of servers to use instead, as a superuser", "args")


@pytest.fixture(scope="session")
def shardwright_session_fleet(pytestconfig: pytest.Config) -> TestFleet:
    """The fleet of this test process, made once; as the tests before have left it. With xdist each worker has its own.

    SHARDWRIGHT_CONFIG names its configuration from now on, for an application that looks for its own.
    """
    from shardwright.testing.fleet import TestFleet  # noqa: PLC0415 most tests of the world need none

    names = pytestconfig.getini("shardwright_shards")
    named = pytestconfig.getini("shardwright_config")
    fleet = TestFleet(
        (pytestconfig.inipath or pytestconfig.rootpath / "_").parent / named if named else _beside(pytestconfig),
        shards=int(names[0]) if len(names) == 1 and names[0].isdigit() else names or None,
        clusters=int(pytestconfig.getini("shardwright_clusters")),
        seed=pytestconfig.getini("shardwright_seed"),
        servers=pytestconfig.getini("shardwright_servers"),
    )
    pytestconfig.stash[_fleet] = fleet
    patch = pytest.MonkeyPatch()
    patch.setenv(_VARIABLE, str(fleet.config_file))
    pytestconfig.add_cleanup(patch.undo)
    pytestconfig.add_cleanup(fleet.close)
    return fleet


@pytest.fixture
def shardwright_fleet(shardwright_session_fleet: TestFleet, request: pytest.FixtureRequest) -> TestFleet:
    """A fleet that is clean: whatever the test leaves in it is gone after the test's other fixtures have ended."""
    request.node.stash[_touched] = True
    return shardwright_session_fleet


@pytest.fixture
def tenant(shardwright_fleet: TestFleet) -> Callable[..., Any]:
    """`tenant(id=None, *, shard=None, seed=None)`: makes tenants; see TestFleet.add_tenant."""
    return shardwright_fleet.add_tenant


@pytest.fixture
def move(shardwright_fleet: TestFleet) -> Callable[..., MoveStatus]:
    """`move(tenant, shard)`: moves a tenant; see TestFleet.move."""
    return shardwright_fleet.move


@pytest.fixture
def freeze_shard(shardwright_fleet: TestFleet) -> Callable[[str], AbstractContextManager[None]]:
    """`with freeze_shard(name):` that shard is down; see TestFleet.freeze_shard."""
    return shardwright_fleet.freeze_shard


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Behind the last of the test's fixtures, which may still have been at work in the fleet."""
    try:
        return (yield)
    finally:
        if item.stash.get(_touched, False):
            del item.stash[_touched]
            item.config.stash[_fleet].clean_all(test=item.nodeid)


def _beside(config: pytest.Config) -> Path | None:
    """The nearest configuration upwards from where pytest's own is, unless the environment names one."""
    if os.environ.get(_VARIABLE):
        return None
    from shardwright.config import find_file  # noqa: PLC0415 as above

    return find_file(start=config.rootpath)
