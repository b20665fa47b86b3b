"""index for a person's tasks

Built concurrently: `tasks` is the largest table, and its writers must not wait. That cannot be in a
transaction, so what earlier revisions of the same run did is committed before it.

A concurrent build that fails leaves an invalid index of that name; it is cleared away before the next try.

Revision ID: 4007424c480c
Revises: 59ada07ac9eb
Create Date: 2024-07-08 10:05:02.377690
"""

from collections.abc import Sequence

from alembic import op

revision: str = "4007424c480c"
down_revision: str | Sequence[str] | None = "59ada07ac9eb"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

index = "ix_tasks_organization_id_assignee_id"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index(index, table_name="tasks", if_exists=True, postgresql_concurrently=True)
        op.create_index(index, "tasks", ["organization_id", "assignee_id"], postgresql_concurrently=True)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index(index, table_name="tasks", if_exists=True, postgresql_concurrently=True)
