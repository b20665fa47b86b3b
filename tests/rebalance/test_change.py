"""Load while a blue-green change is open: each tenant is weighed where it is, and what the mover writes is nobody's."""

from __future__ import annotations

import pytest

from bluegreen.conftest import make_changing  # noqa: F401 a fixture
from changes import Changing, MakeChanging
from shardwright import errors
from shardwright.catalog.control import open_control
from shardwright.rebalance.load import measure
from shardwright.rebalance.load_store import Loads, Measured
from shardwright.rebalance.read import read_world

COUNT = """SELECT (SELECT count(*) FROM org WHERE id = o) + (SELECT count(*) FROM project WHERE org_id = o)
    + (SELECT count(*) FROM task JOIN project AS p ON p.id = project_id WHERE org_id = o)
    + (SELECT count(*) FROM remark JOIN task AS t ON t.id = task_id JOIN project AS p ON p.id = project_id
       WHERE org_id = o)
    + (SELECT count(*) FROM log WHERE org_id = o) + (SELECT count(*) FROM person WHERE org_id = o)
    FROM (SELECT %s::uuid AS o) AS _"""


def lines(arena: Changing) -> dict[str, Measured]:
    with open_control(arena.project.fleet().resolved.control, application_name="test") as control:
        return Loads(control, "main").tenants()


def test_a_tenant_is_weighed_on_blue_and_then_on_green(make_changing: MakeChanging) -> None:  # noqa: F811
    """Green's copies are strangers until a tenant is switched; no tenant is said to write what was copied for it."""
    arena = make_changing(1, 1, tenants=3)
    arena.begin()
    fleet = arena.project.fleet().resolved
    assert measure(fleet).exit_code == 0
    exact = {tenant: arena.ask("blue_0", COUNT, tenant)[0][0] for tenant in arena.tenants}
    assert {tenant: each.rows for tenant, each in lines(arena).items()} == exact
    with pytest.raises(errors.ChangeUnderWay):
        read_world(fleet)
    arena.ask("control", "UPDATE shardwright.load_shard SET counted_at = counted_at - interval '1 h'")
    arena.switch([arena.tenants[0]])
    measure(fleet)
    found = lines(arena)
    assert {tenant: each.rows for tenant, each in found.items()} == exact
    assert [found[tenant].shard for tenant in arena.tenants] == ["green_0", "blue_0", "blue_0"]
    assert [found[tenant].writes for tenant in arena.tenants] == [None, None, None]
    arena.undo()
    arena.require_nothing_left()
    assert {each.tenant for each in read_world(fleet).tenants} == set(arena.tenants)
