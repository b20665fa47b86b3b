"""The tests of the application, on two real shards that are clean for each of them."""

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from shardwright.testing import TestFleet
from tasks_app.models import Comment, Organization, Project, Task
from tasks_app.seeds import seed

MakeTenant = Callable[..., uuid.UUID]


def sign_up(session: Session, organization: uuid.UUID) -> None:
    """An organization with a project and a task that somebody has an opinion on."""
    session.add(Organization(id=organization, name="Alder", slug=str(organization)))
    session.flush()
    project = Project(organization_id=organization, name="Website")
    task = Task(project=project, title="Draft")
    task.comments.append(Comment(author="A", body="Soon."))
    session.add_all([project, task])


def count(fleet: TestFleet, shard: str, table: type[Any]) -> int:
    with fleet.engine(shard).connect() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def test_each_organization_is_on_its_own_shard(tenant: MakeTenant, shardwright_fleet: TestFleet) -> None:
    one, two = tenant(shard="shard_0", seed=sign_up), tenant(shard="shard_1", seed=sign_up)
    for organization in (one, two):
        with shardwright_fleet.tenants.session(organization) as session:
            assert session.scalars(select(Task.organization_id)).all() == [organization]


def test_nothing_is_left_of_the_test_before(shardwright_fleet: TestFleet) -> None:
    assert [count(shardwright_fleet, shard, Organization) for shard in shardwright_fleet.shards] == [0, 0]


def test_a_move_takes_comments_along(
    tenant: MakeTenant, move: Callable[..., Any], shardwright_fleet: TestFleet
) -> None:
    organization = tenant(shard="shard_0", seed=sign_up)
    move(organization, "shard_1")
    shardwright_fleet.fleet.finish_move(str(organization))
    assert [count(shardwright_fleet, shard, Comment) for shard in ("shard_0", "shard_1")] == [0, 1]


def test_others_work_on_while_a_shard_is_down(
    tenant: MakeTenant, freeze_shard: Callable[[str], AbstractContextManager[None]], shardwright_fleet: TestFleet
) -> None:
    away, here = tenant(shard="shard_0", seed=sign_up), tenant(shard="shard_1", seed=sign_up)
    tenants = shardwright_fleet.tenants
    with freeze_shard("shard_0"):
        with tenants.session(here) as session:
            assert session.scalar(select(Task.title)) == "Draft"
        with pytest.raises(OperationalError), tenants.session(away) as session:
            session.scalar(select(Task.title))


def test_the_seed_fills_a_shard(shardwright_fleet: TestFleet) -> None:
    shard = shardwright_fleet.fleet.resolved.shards[0]
    with Session(shardwright_fleet.engine(shard.name)) as session:
        seed(session, shard)
        session.commit()
    assert count(shardwright_fleet, shard.name, Task) == 200
