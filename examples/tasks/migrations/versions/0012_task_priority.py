"""tasks have a priority

The usual change to a living table: a column with a default, a rule for its values, an index for the list
that sorts by it. All of it fits in one transaction.

Revision ID: 3157ff595d95
Revises: 62da09e09203
Create Date: 2025-01-20 10:09:33.426758
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "3157ff595d95"
down_revision: str | Sequence[str] | None = "62da09e09203"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


# shardwright: allow constraint-missing-not-valid, require-concurrent-index-creation (no shard has many tasks yet)
def upgrade() -> None:
    op.add_column("tasks", sa.Column("priority", sa.Text(), server_default="medium", nullable=False))
    op.create_check_constraint(op.f("ck_tasks_priority"), "tasks", "priority IN ('low', 'medium', 'high', 'urgent')")
    op.create_index(op.f("ix_tasks_organization_id_priority"), "tasks", ["organization_id", "priority"])


def downgrade() -> None:
    op.drop_index(op.f("ix_tasks_organization_id_priority"), table_name="tasks")
    op.drop_constraint(op.f("ck_tasks_priority"), "tasks", type_="check")
    op.drop_column("tasks", "priority")
