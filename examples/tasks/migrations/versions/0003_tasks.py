"""tasks

A task names its organization and its project in one reference, so that it cannot sit in another
organization's project.

Revision ID: aeae1180501c
Revises: 4bd21eccaf1d
Create Date: 2024-02-12 11:02:51.730554
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "aeae1180501c"
down_revision: str | Sequence[str] | None = "4bd21eccaf1d"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_tasks_organization_id")),
        sa.ForeignKeyConstraint(
            ["organization_id", "project_id"],
            ["projects.organization_id", "projects.id"],
            name=op.f("fk_tasks_organization_id_project_id"),
        ),
    )
    op.create_index(op.f("ix_tasks_organization_id_project_id"), "tasks", ["organization_id", "project_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_tasks_organization_id_project_id"), table_name="tasks")
    op.drop_table("tasks")
