"""The world that is planned from: placements as they are, loads as measured, and a word on what is not known."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kit import MakeProject
from rebalance.scales import SCHEMA, Scales
from shardwright.fleet import MoveOptions
from shardwright.rebalance.load import ensure_measured
from shardwright.rebalance.read import read_world
from shardwright.rebalance.world import TenantLoad, World

APART = "ALTER TABLE {0} ALTER COLUMN id SET GENERATED ALWAYS SET INCREMENT 2 RESTART {1}"


@pytest.fixture
def scales(make_project: MakeProject) -> Scales:
    """Two shards: tenants 1 and 2 on the first, 3 on the second, that may be moved."""
    made = Scales(make_project(2, limits={"keep": '"1h"'}))
    for number, shard in enumerate(made.project.shards, 1):
        made.sql(shard, SCHEMA, *(APART.format(table, number) for table in ("projects", "tasks")))
        made.sql(shard, "ALTER TABLE events ADD PRIMARY KEY (org_id, at)")
    made.tenant("shard_0", 1, notes=3000, tasks=500, events=90)
    made.tenant("shard_0", 2, notes=1000, tasks=100, events=40)
    made.tenant("shard_1", 3, notes=10)
    made.fleet.sync_tenants()
    return made


def world(scales: Scales) -> World:
    return read_world(scales.fleet.resolved)


def tenant(scales: Scales, name: str) -> TenantLoad:
    return next(each for each in world(scales).tenants if each.tenant == name)


def shard_bytes(scales: Scales) -> dict[str, int]:
    return {each.name: each.bytes for each in world(scales).shards}


def database_bytes(scales: Scales, shard: str) -> int:
    return int(scales.sql(shard, "SELECT pg_database_size(current_database())")[0][0])


def test_it_is_the_directory_with_what_was_measured(scales: Scales) -> None:
    """Shards with their size, host, disk, labels and whether they take new tenants."""
    host = scales.fleet.resolved.shards[0].host
    scales.write(f'[monitor.disk]\n"{host}" = "1GB"')
    scales.measure()
    scales.sql("control", "UPDATE shardwright.shard SET takes_new = false WHERE name = 'shard_1'")
    found = world(scales)
    assert {each.tenant: (each.shard, each.epoch) for each in found.tenants} == {
        "1": ("shard_0", 1), "2": ("shard_0", 1), "3": ("shard_1", 1),
    }  # fmt: skip
    lines = scales.read()
    assert {each.tenant: (each.rows, each.bytes) for each in found.tenants} == {
        name: (each.rows, each.bytes) for name, each in lines.items()
    }
    states = {each.name: each for each in found.shards}
    assert states["shard_0"].bytes == pytest.approx(database_bytes(scales, "shard_0"), rel=0.01)
    assert [(each.host, each.disk, each.takes_new) for each in found.shards] == [
        (host, 10**9, True), (host, 10**9, False),
    ]  # fmt: skip
    assert list(found.notes) == ["3 tenants are measured once, which says nothing of writes yet: 1, 2, 3"]


def test_a_tenant_that_nobody_measured_is_like_the_others(scales: Scales) -> None:
    """Mean rows, bytes and writes, the labels of the shard that it lives on; named in a note."""
    scales.measure()
    scales.backdate()
    scales.sql("shard_0", "UPDATE notes SET body = 'b'")
    scales.measure()
    scales.tenant("shard_1", 4)
    scales.fleet.sync_tenants()
    lines = scales.read().values()
    found = tenant(scales, "4")
    assert found.rows == round(sum(each.rows for each in lines) / 3)
    assert found.writes == pytest.approx(sum(each.writes or 0 for each in lines) / 3)
    assert found.measured_at is None
    notes = world(scales).notes
    assert list(notes) == ["1 tenant is taken for the mean of the fleet, since nobody measured them yet: 4"]


def test_nothing_was_ever_recorded(make_project: MakeProject) -> None:
    """No tenants, the shards of the file, and nothing is made."""
    project = make_project(2)
    found = read_world(project.fleet().resolved)
    assert (found.tenants, [each.name for each in found.shards]) == ((), ["shard_0", "shard_1"])
    assert project.sql("control", "SELECT to_regnamespace('shardwright')") == [(None,)]


def test_a_shard_that_is_away_is_as_large_as_it_was(scales: Scales, dead_url: str) -> None:
    """With a note that says so."""
    scales.measure()
    before = scales.shards()["shard_1"].database_bytes
    scales.project.shards["shard_1"] = dead_url
    scales.write("")
    assert shard_bytes(scales)["shard_1"] == before
    assert any(
        note.startswith("shard_1 does not answer, so its size is that of its last") for note in world(scales).notes
    )


def test_tenants_on_shards_that_the_file_no_longer_names_are_left_out(scales: Scales) -> None:
    """And named."""
    scales.measure()
    del scales.project.shards["shard_1"]
    scales.write("")
    found = world(scales)
    assert {each.tenant for each in found.tenants} == {"1", "2"}
    assert "1 tenant is on shards that are none of the fleet's (shard_1) and left out" in found.notes


def test_only_what_is_old_is_measured_anew(scales: Scales) -> None:
    """A shard at a time; nothing where all is young enough."""
    fleet = scales.fleet.resolved
    first = ensure_measured(fleet, timedelta(hours=1))
    assert first is not None
    assert [each.shard for each in first.shards] == ["shard_0", "shard_1"]
    assert ensure_measured(fleet, timedelta(hours=1)) is None
    scales.sql(
        "control",
        "UPDATE shardwright.load_shard SET measured_at = measured_at - interval '2 h' WHERE shard = 'shard_1'",
    )
    before = scales.read()
    again = ensure_measured(fleet, timedelta(hours=1))
    assert again is not None
    assert [each.shard for each in again.shards] == ["shard_1"]
    assert scales.read()["1"] == before["1"]
    assert scales.read()["3"].measured_at > before["3"].measured_at


# --- moves ----------------------------------------------------------------------------------------


def test_what_a_mover_writes_is_nobodys_load(scales: Scales) -> None:
    """A move with its way back open, and its clean-up: the tenant writes what it wrote, the others what they write."""
    scales.measure()
    scales.backdate()
    scales.sql("shard_0", "UPDATE notes SET body = 'b' WHERE org_id = 1 AND id % 10 = 0")
    scales.measure()
    assert scales.written() == {"1": 300, "2": 0, "3": 0}
    rows = scales.read()["1"].rows

    scales.backdate()
    scales.fleet.move("1", "shard_1")
    scales.sql("shard_1", "UPDATE notes SET body = 'c' WHERE org_id = 3")
    scales.measure()
    assert scales.written() == {"1": 300, "2": 0, "3": 10}
    line = scales.read()["1"]
    assert (line.shard, line.rows) == ("shard_1", rows)
    assert scales.shards()["shard_0"].strangers == 1
    assert tenant(scales, "1").is_moving
    assert tenant(scales, "1").shard == "shard_1"

    scales.backdate()
    scales.sql("shard_0", "UPDATE notes SET body = 'd' WHERE org_id = 2 AND id % 100 = 0")
    scales.fleet.finish_move("1")
    scales.measure()
    assert scales.written() == {"1": 300, "2": 10, "3": 0}
    assert not tenant(scales, "1").is_moving


def test_a_tenant_with_a_way_back_is_measured_where_it_is_now(scales: Scales) -> None:
    """Once both shards were measured after the switch, its writes count again."""
    scales.measure()
    scales.fleet.move("1", "shard_1")
    scales.sql("control", "UPDATE shardwright.load_shard SET counted_at = counted_at - interval '11 days'")
    scales.measure()
    scales.sql("control", "UPDATE shardwright.load_shard SET counted_at = counted_at - interval '1000000 s'")
    scales.sql(
        "shard_1", "UPDATE notes SET body = 'b' WHERE org_id = 1", "DELETE FROM notes WHERE org_id = 1 AND id % 2 = 0"
    )
    scales.measure()
    assert scales.written()["1"] == 4500


def test_a_move_that_has_still_to_copy_counts_on_both_shards(scales: Scales) -> None:
    """The room that it will take at its target is taken; once it is there, the database says so itself."""
    scales.measure()
    size = scales.read()["1"].bytes
    run = scales.fleet.start_move("1", MoveOptions("shard_1"))
    found = shard_bytes(scales)
    assert found["shard_1"] == pytest.approx(database_bytes(scales, "shard_1") + size, abs=100_000)
    assert found["shard_0"] == pytest.approx(database_bytes(scales, "shard_0"), abs=100_000)
    assert tenant(scales, "1").is_moving
    scales.fleet.carry_move("1", run)
    found = shard_bytes(scales)
    assert found["shard_1"] == pytest.approx(database_bytes(scales, "shard_1"), abs=100_000)
    scales.fleet.undo_move("1")
    assert not tenant(scales, "1").is_moving
