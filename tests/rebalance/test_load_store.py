"""What was measured is kept, thinned with its age: a year of it is no more than its bounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from shardwright.catalog.control import open_control
from shardwright.dsn import DatabaseUrl
from shardwright.rebalance.load_store import Loads, Measured, MeasuredShard
from shardwright.rebalance.rates import Baseline

NOON = datetime(2026, 7, 15, 12, 20, tzinfo=UTC)


@pytest.fixture
def loads(database_url: str) -> Iterator[Loads]:
    with open_control(DatabaseUrl.parse(database_url), application_name="test") as control:
        yield Loads(control, "main")


def write(loads: Loads, at: datetime, rows: int = 1, *, tenant: str = "a", shard: str = "s") -> None:
    """One tenant on one shard, measured then."""
    measured = MeasuredShard(shard, at, 0.1, 10, 1, rows, 8, 0.5, 0.0)
    line = Measured(tenant, shard, rows, 8, None, 0.0, {}, at, {"t": rows})
    loads.write(
        at,
        {shard: (measured, Baseline(shard, at, at, 5, {"t": (1, 2, 3)}))},
        [line],
        known=["a", "b"],
        fleet=["s", shard],
    )


def test_the_last_of_each_hour_day_and_month_is_kept(loads: Loads) -> None:
    """Hours for a day; days for thirty, of a shard for ninety; of a shard months for ever."""
    moments = [NOON - timedelta(days=400 - day) for day in range(0, 400, 4)]
    moments += [NOON - timedelta(days=100 - day) for day in range(98)]
    moments += [NOON - timedelta(minutes=30 * (96 - each)) for each in range(97)]
    for number, at in enumerate(sorted(moments)):
        write(loads, at, number)
    tenant, shard = loads.history_of_tenant("a"), loads.history_of_shard("s")
    assert Counter(each.grain for each in tenant) == {"hour": 24, "day": 30}
    assert Counter(each.grain for each in shard) == {"hour": 24, "day": 90, "month": 14}
    by_hour = {each.at: each.rows for each in tenant if each.grain == "hour"}
    assert by_hour[NOON.replace(minute=0)] == len(moments) - 1
    assert by_hour[NOON.replace(hour=11, minute=0)] == len(moments) - 2  # 11:50, and not 11:20
    assert [each.at for each in shard] == sorted(each.at for each in shard)
    assert tenant[0].writes is None
    assert shard[0].writes == 0.5


def test_an_older_measurement_does_not_replace_a_newer_one(loads: Loads) -> None:
    """Of two at once the one that was begun later stands, with its counters."""
    write(loads, NOON, 7)
    write(loads, NOON - timedelta(minutes=1), 3)
    assert loads.tenants()["a"].rows == 7
    assert loads.shards()["s"].rows == 7
    assert loads.baselines()["s"].since == NOON


def test_what_is_no_more_in_directory_or_fleet_is_forgotten(loads: Loads) -> None:
    """But for its history, which ages."""
    write(loads, NOON, tenant="gone")
    write(loads, NOON, shard="old", tenant="b")
    write(loads, NOON + timedelta(minutes=1))
    assert (set(loads.tenants()), set(loads.shards())) == ({"a", "b"}, {"s"})
    assert loads.history_of_shard("old") != []


def test_another_set_is_left_alone(loads: Loads, database_url: str) -> None:
    """One control database may hold several."""
    write(loads, NOON)
    with open_control(DatabaseUrl.parse(database_url), application_name="test") as control:
        other = Loads(control, "other")
        write(other, NOON + timedelta(days=500))
        assert set(other.tenants()) == {"a"}
    assert loads.tenants()["a"].measured_at == NOON
    assert len(loads.history_of_tenant("a")) == 2
