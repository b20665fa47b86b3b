"""a task is done exactly when it has a completion time

A form that saved one without the other made reports disagree. NOT VALID: new rows only, for now.

Revision ID: d63038d38b83
Revises: 4007424c480c
Create Date: 2024-09-16 14:12:58.840335
"""

from collections.abc import Sequence

from alembic import op

revision: str = "d63038d38b83"
down_revision: str | Sequence[str] | None = "4007424c480c"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_check_constraint(
        op.f("ck_tasks_completed_at"),
        "tasks",
        "(status = 'done') = (completed_at IS NOT NULL)",
        postgresql_not_valid=True,
    )


def downgrade() -> None:
    op.drop_constraint(op.f("ck_tasks_completed_at"), "tasks", type_="check")
