"""comments

The one table without the tenant key: a comment belongs to the organization of its task, and goes with it.

Revision ID: 7128e50032f7
Revises: aeae1180501c
Create Date: 2024-03-04 16:27:39.002871
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "7128e50032f7"
down_revision: str | Sequence[str] | None = "aeae1180501c"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "comments",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comments")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_comments_task_id"), ondelete="CASCADE"),
    )
    op.create_index(op.f("ix_comments_task_id_created_at"), "comments", ["task_id", "created_at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_comments_task_id_created_at"), table_name="comments")
    op.drop_table("comments")
