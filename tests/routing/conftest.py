"""Banks, on servers that stay and on one that a test may take down."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bank import TENANTS, Bank
from kit import MakeProject
from shardwright.routing.hearing import Listener


@pytest.fixture
def bank(make_project: MakeProject) -> Iterator[Bank]:
    """A bank with one account, `acme`, on shard_0."""
    bank = Bank(make_project(2, extra=TENANTS))
    bank.add("acme")
    yield bank
    bank.close()


@pytest.fixture
def frail_bank(make_project: MakeProject, make_frail_database: Callable[[], str]) -> Iterator[Bank]:
    """The same, with its control database on the server that a test may take down."""
    project = make_project(2, extra=TENANTS)
    project.control = make_frail_database()
    project.write()
    bank = Bank(project)
    bank.add("acme")
    yield bank
    bank.close()


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can listen to the control database: a pooler stands before it, perhaps."""

    def start(_: Listener) -> None:
        pass

    monkeypatch.setattr(Listener, "start", start)
