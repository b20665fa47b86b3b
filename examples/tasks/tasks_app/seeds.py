"""Rows to try things on: three organizations for each shard, always the same ones.

Ids are made from the shard's name and the dice are loaded with it, so a second run finds every row in
place and adds none. Rows that were changed since are left as they are.
"""

import datetime
import random
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from tasks_app.models import Base, Comment, Organization, Priority, Project, Task, TaskStatus, User

NAMESPACE = uuid.UUID("6c1f6a0e-52f5-4d0b-9a39-0c5c8f1f7a44")
FIRST_DAY = datetime.datetime(2025, 1, 6, 8, 0, tzinfo=datetime.UTC)

PEOPLE = (
    "Ada Lovelace",
    "Alan Turing",
    "Annie Easley",
    "Barbara Liskov",
    "Claude Shannon",
    "Donald Knuth",
    "Edsger Dijkstra",
    "Frances Allen",
    "Grace Hopper",
    "Hedy Lamarr",
    "Katherine Johnson",
    "Margaret Hamilton",
    "Mary Jackson",
    "Radia Perlman",
)
PROJECTS = ("Website", "Mobile app", "Onboarding", "Billing", "Reports", "Office move")
VERBS = ("Draft", "Review", "Fix", "Plan", "Measure", "Rewrite", "Test", "Translate", "Publish", "Retire")
THINGS = (
    "the price list",
    "the login page",
    "the welcome mail",
    "the yearly report",
    "the search index",
    "the terms of service",
    "the team calendar",
    "the help pages",
)
REMARKS = (
    "Looks good to me.",
    "Can we do this next week?",
    "Waiting for the supplier.",
    "Done on my side.",
    "I will take this one.",
    "Is this still needed?",
)

Row = dict[str, Any]


class Shard(Protocol):
    """The shard that is being filled, as the caller describes it."""

    @property
    def name(self) -> str: ...

    @property
    def labels(self) -> Mapping[str, str]: ...


class Size(NamedTuple):
    """How large an organization is to be."""

    name: str
    plan: str
    users: int
    projects: int
    tasks: int


SIZES = (
    Size("Alder Books", "free", users=3, projects=2, tasks=20),
    Size("Birch Logistics", "team", users=7, projects=4, tasks=60),
    Size("Cedar Health", "business", users=14, projects=6, tasks=120),
)


def seed(session: Session, shard: Shard) -> None:
    """Add the rows of the shard's three organizations that are missing; the caller commits."""
    for size in SIZES:
        for model, rows in organization_rows(shard.name, size):
            add_missing(session, model, rows)


def add_missing(session: Session, model: type[Base], rows: Sequence[Row]) -> None:
    session.execute(insert(model).on_conflict_do_nothing(index_elements=["id"]), rows)


def organization_rows(shard_name: str, size: Size) -> Iterator[tuple[type[Base], list[Row]]]:
    """Everything of one organization, parents before children."""
    path = f"{shard_name}/{size.name}"
    dice = random.Random(path)
    organization = organization_row(path, size, shard_name)
    users = [user_row(organization, path, name) for name in PEOPLE[: size.users]]
    projects = [project_row(organization, path, name) for name in PROJECTS[: size.projects]]
    tasks = [task_row(dice, f"{path}/task {n}", projects, users) for n in range(size.tasks)]
    yield Organization, [organization]
    yield User, users
    yield Project, projects
    yield Task, tasks
    yield Comment, [comment for task in tasks for comment in comment_rows(dice, task, users)]


def organization_row(path: str, size: Size, shard_name: str) -> Row:
    return {
        "id": id_of(path),
        "name": size.name,
        "slug": f"{dashed(size.name)}-{shard_name}",
        "plan_code": size.plan,
        "created_at": FIRST_DAY,
    }


def user_row(organization: Row, path: str, name: str) -> Row:
    return {
        "id": id_of(f"{path}/user {name}"),
        "organization_id": organization["id"],
        "email": f"{name.lower().replace(' ', '.')}@{dashed(organization['name'])}.example",
        "display_name": name,
        "created_at": FIRST_DAY,
    }


def project_row(organization: Row, path: str, name: str) -> Row:
    return {
        "id": id_of(f"{path}/project {name}"),
        "organization_id": organization["id"],
        "name": name,
        "created_at": FIRST_DAY,
    }


def task_row(dice: random.Random, path: str, projects: Sequence[Row], users: Sequence[Row]) -> Row:
    project = dice.choice(projects)
    created_at = FIRST_DAY + datetime.timedelta(hours=dice.randrange(24 * 90))
    status = dice.choice(list(TaskStatus))
    assignee = dice.choice([None, *users])
    return {
        "id": id_of(path),
        "organization_id": project["organization_id"],
        "project_id": project["id"],
        "title": f"{dice.choice(VERBS)} {dice.choice(THINGS)}",
        "description": "",
        "due_on": dice.choice([None, (created_at + datetime.timedelta(days=14)).date()]),
        "created_at": created_at,
        "completed_at": created_at + datetime.timedelta(days=5) if status is TaskStatus.DONE else None,
        "status": status,
        "assignee_id": assignee and assignee["id"],
        "priority": str(dice.choice(list(Priority))),
    }


def comment_rows(dice: random.Random, task: Row, users: Sequence[Row]) -> list[Row]:
    return [
        {
            "id": id_of(f"{task['id']}/comment {n}"),
            "task_id": task["id"],
            "author": dice.choice(users)["display_name"],
            "body": dice.choice(REMARKS),
            "created_at": task["created_at"] + datetime.timedelta(hours=n + 1),
        }
        for n in range(dice.randrange(4))
    ]


def id_of(path: str) -> uuid.UUID:
    return uuid.uuid5(NAMESPACE, path)


def dashed(name: str) -> str:
    return name.lower().replace(" ", "-")
