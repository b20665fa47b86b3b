"""projects

The second unique constraint is what a task's reference will point at: organization and project together.

Revision ID: 4bd21eccaf1d
Revises: 71b1a2f2aaf9
Create Date: 2024-02-06 15:40:07.119268
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "4bd21eccaf1d"
down_revision: str | Sequence[str] | None = "71b1a2f2aaf9"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "projects",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name=op.f("fk_projects_organization_id")),
        sa.UniqueConstraint("organization_id", "name", name=op.f("uq_projects_organization_id_name")),
        sa.UniqueConstraint("organization_id", "id", name=op.f("uq_projects_organization_id_id")),
    )


def downgrade() -> None:
    op.drop_table("projects")
