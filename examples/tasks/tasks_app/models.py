"""The tables of one shard, as the newest revision leaves them.

Every table but `plans` belongs to an organization: `users`, `projects` and `tasks` name it themselves,
`comments` reach it through their task. Columns stand in the order in which the revisions made them.
"""

import datetime
import enum
import uuid

from sqlalchemy import (
    CheckConstraint,
    DateTime,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - read once by SQLAlchemy, which wants a plain dict
        str: Text,
        datetime.datetime: DateTime(timezone=True),
    }


def uuid_key() -> Mapped[uuid.UUID]:
    """A primary key that no other shard will draw: rows keep it when their organization moves."""
    return mapped_column(primary_key=True, default=uuid.uuid4, server_default=text("gen_random_uuid()"))


def creation_time() -> Mapped[datetime.datetime]:
    return mapped_column(server_default=func.now())


class TaskStatus(enum.StrEnum):
    TODO = "todo"
    DOING = "doing"
    DONE = "done"


class Priority(enum.StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    URGENT = "urgent"


class Plan(Base):
    """Shared: the same rows on every shard, written by revisions and by nobody else."""

    __tablename__ = "plans"
    __table_args__ = (CheckConstraint("monthly_cents >= 0", name="monthly_cents"),)

    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    monthly_cents: Mapped[int]


class Organization(Base):
    """The root: a row here is a tenant."""

    __tablename__ = "organizations"
    __table_args__ = (UniqueConstraint("slug"), Index(None, "plan_code"))

    id: Mapped[uuid.UUID] = uuid_key()
    name: Mapped[str]
    slug: Mapped[str]
    created_at: Mapped[datetime.datetime] = creation_time()
    plan_code: Mapped[str] = mapped_column(ForeignKey("plans.code"), server_default="free")

    plan: Mapped[Plan] = relationship()
    users: Mapped[list["User"]] = relationship(back_populates="organization")
    projects: Mapped[list["Project"]] = relationship(back_populates="organization")


class User(Base):
    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("organization_id", "email"),
        UniqueConstraint("organization_id", "id"),  # what tasks.assignee_id points at
    )

    id: Mapped[uuid.UUID] = uuid_key()
    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organizations.id"))
    email: Mapped[str]
    created_at: Mapped[datetime.datetime] = creation_time()
    display_name: Mapped[str]

    organization: Mapped[Organization] = relationship(back_populates="users")


class Project(Base):
    __tablename__ = "projects"
    __table_args__ = (
        UniqueConstraint("organization_id", "name"),
        UniqueConstraint("organization_id", "id"),  # what tasks.project_id points at
    )

    id: Mapped[uuid.UUID] = uuid_key()
    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organizations.id"))
    name: Mapped[str]
    created_at: Mapped[datetime.datetime] = creation_time()

    organization: Mapped[Organization] = relationship(back_populates="projects")
    tasks: Mapped[list["Task"]] = relationship(back_populates="project")


class Task(Base):
    """Its references carry the organization with them, so that none can lead to another tenant's row."""

    __tablename__ = "tasks"
    __table_args__ = (
        ForeignKeyConstraint(
            ["organization_id", "project_id"],
            ["projects.organization_id", "projects.id"],
        ),
        ForeignKeyConstraint(
            ["organization_id", "assignee_id"],
            ["users.organization_id", "users.id"],
        ),
        CheckConstraint("(status = 'done') = (completed_at IS NOT NULL)", name="completed_at"),
        CheckConstraint("priority IN ('low', 'medium', 'high', 'urgent')", name="priority"),
        Index(None, "organization_id", "project_id"),
        Index(None, "organization_id", "assignee_id"),
        Index(None, "organization_id", "priority"),
    )

    id: Mapped[uuid.UUID] = uuid_key()
    organization_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("organizations.id"))
    project_id: Mapped[uuid.UUID]
    title: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    due_on: Mapped[datetime.date | None]
    created_at: Mapped[datetime.datetime] = creation_time()
    completed_at: Mapped[datetime.datetime | None]
    status: Mapped[TaskStatus] = mapped_column(
        Enum(TaskStatus, name="task_status", values_callable=lambda statuses: [str(s) for s in statuses]),
        server_default="todo",
    )
    assignee_id: Mapped[uuid.UUID | None]
    priority: Mapped[str] = mapped_column(server_default="medium")  # one of Priority

    project: Mapped[Project] = relationship(back_populates="tasks")
    assignee: Mapped[User | None] = relationship(viewonly=True)  # set assignee_id
    comments: Mapped[list["Comment"]] = relationship(
        back_populates="task", cascade="all, delete-orphan", passive_deletes=True
    )


class Comment(Base):
    """Indirect: it belongs to whichever organization its task belongs to."""

    __tablename__ = "comments"
    __table_args__ = (Index(None, "task_id", "created_at"),)

    id: Mapped[uuid.UUID] = uuid_key()
    task_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("tasks.id", ondelete="CASCADE"))
    author: Mapped[str]  # the name as it was then: a comment outlives its writer's account
    body: Mapped[str]
    created_at: Mapped[datetime.datetime] = creation_time()

    task: Mapped[Task] = relationship(back_populates="comments")
