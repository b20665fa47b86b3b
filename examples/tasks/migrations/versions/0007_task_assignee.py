"""tasks have an assignee

The foreign key is added NOT VALID: it holds for every new row at once, and nobody waits while the old
rows of a large table are read. A later revision validates it.

Revision ID: 59ada07ac9eb
Revises: 74abf0c99e90
Create Date: 2024-07-08 09:48:30.951142
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "59ada07ac9eb"
down_revision: str | Sequence[str] | None = "74abf0c99e90"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_unique_constraint(op.f("uq_users_organization_id_id"), "users", ["organization_id", "id"])
    op.add_column("tasks", sa.Column("assignee_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_tasks_organization_id_assignee_id"),
        "tasks",
        "users",
        ["organization_id", "assignee_id"],
        ["organization_id", "id"],
        postgresql_not_valid=True,
    )


def downgrade() -> None:
    op.drop_constraint(op.f("fk_tasks_organization_id_assignee_id"), "tasks", type_="foreignkey")
    op.drop_column("tasks", "assignee_id")
    op.drop_constraint(op.f("uq_users_organization_id_id"), "users", type_="unique")
