"""Alembic histories that nobody here wrote, over a fleet: online, and rendered where possible."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from histories.fetch import installed
from histories.public_fleet import (
    ARGILLA,
    CKAN,
    HEAT,
    MLFLOW,
    OPTUNA,
    PHOENIX,
    History,
    MakeFleet,
    PublicFleet,
    contents_of,
)
from shardwright.migration.ways import FROM_SHARDS

HISTORIES = [OPTUNA, MLFLOW, HEAT, ARGILLA, PHOENIX, CKAN]
USUAL_UP_AND_BACK, USUAL_RENDERED = [OPTUNA], [CKAN]  # in `make test`
RENDERED = re.compile(r"^(\d+) revisions are rendered", re.MULTILINE)
ONLINE = re.compile(r"^  \S+ runs online: ([^:\n]+)", re.MULTILINE)
ALL_ONLINE = re.compile(r"^! all revisions run online; \S+: (.+)$", re.MULTILINE)

pytestmark = [pytest.mark.history, pytest.mark.new_interpreter, pytest.mark.timeout(900)]


def these_of_all(usual: list[History]) -> list[Any]:
    """All histories, those that are not in `usual` for `make faults`."""
    marks = {history.name: () if history in usual else pytest.mark.faults for history in HISTORIES}
    return [pytest.param(history, id=history.name, marks=marks[history.name]) for history in HISTORIES]


@pytest.fixture
def make_fleet(tmp_path: Path, make_database: Callable[[], str]) -> MakeFleet:
    """Makes a fleet for a public history; skips where its package was not fetched."""

    def make(history: History, count: int = 3) -> PublicFleet:
        package = installed(history.name)
        if package is None:
            pytest.skip(f"{history.name} is not in .cache/histories: python tests/histories/fetch.py (needs PyPI)")
        shards = {f"shard_{number}": make_database() for number in range(count)}
        fleet = PublicFleet(history, package, tmp_path, shards, plain=make_database(), control=make_database())
        fleet.write()
        fleet.make_first_tables()
        return fleet

    return make


@pytest.mark.parametrize("history", these_of_all(USUAL_UP_AND_BACK))
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


@pytest.mark.parametrize("history", these_of_all(USUAL_RENDERED))
def test_what_can_be_rendered_does_what_plain_alembic_does(
    history: History, make_fleet: MakeFleet, record_property: Callable[[str, object], None]
) -> None:
    """From base to head over as many shards as are worth a proof: the rendered and the online revisions together give
    every shard the fingerprint and the rows that the `alembic` command gives one database. The end of the test run
    shows how many went which way."""
    fleet = make_fleet(history, FROM_SHARDS)
    words = fleet.words_of("migrate")
    assert fleet.differences_from(fleet.alembic("upgrade", "head")) == {}
    plain = contents_of(fleet.plain)
    assert [name for name, url in fleet.shards.items() if contents_of(url) != plain] == []
    reasons = ONLINE.findall(words)
    assert ([str(history.rendered)], history.online) == (
        RENDERED.findall(words) or ["0"],
        len(reasons) or history.online,
    )
    why = ", ".join(
        f"{count} {reason}"
        for reason, count in Counter(reasons or ALL_ONLINE.findall(words) * history.online).most_common()
    )
    record_property("history", f"{history.label}: {history.rendered} rendered, {history.online} online ({why or '-'})")


def test_a_downgrade_that_fails_leaves_the_shards_where_they_were(make_fleet: MakeFleet) -> None:
    """optuna's v3.0.0.c can't be undone: every shard stays at head as it was, and is named with the revision."""
    fleet = make_fleet(OPTUNA)
    fleet.shardwright("migrate")
    result = fleet.shardwright("rollback")
    assert result["exit_code"] == 2
    assert outcome(result) == {("failed", OPTUNA.head, OPTUNA.head)}
    broken = "downgrade v3.0.0.c (v3.0.0.c.py): AttributeError: "
    assert [shard["error"].startswith(broken) for shard in result["shards"]] == [True] * len(fleet.shards)
    assert fleet.differences_from(fleet.alembic("upgrade", "head")) == {}


def outcome(result: dict[str, Any]) -> set[tuple[str, str, str]]:
    """What became of the shards and from where to where they went: one entry where all are alike."""
    return {(shard["status"], shard["from"], shard["to"]) for shard in result["shards"]}
