"""task status

Open or completed was not enough: people asked for "doing". A completed task becomes "done".

The type is made and dropped in plain SQL, which needs no look at the database first.

Revision ID: 1b0e275e4500
Revises: 7128e50032f7
Create Date: 2024-04-18 10:55:13.664027
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "1b0e275e4500"
down_revision: str | Sequence[str] | None = "7128e50032f7"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

task_status = postgresql.ENUM("todo", "doing", "done", name="task_status", create_type=False)


def upgrade() -> None:
    op.execute("CREATE TYPE task_status AS ENUM ('todo', 'doing', 'done')")
    op.add_column("tasks", sa.Column("status", task_status, server_default="todo", nullable=False))
    op.execute("UPDATE tasks SET status = 'done' WHERE completed_at IS NOT NULL")


def downgrade() -> None:
    op.drop_column("tasks", "status")
    op.execute("DROP TYPE task_status")
