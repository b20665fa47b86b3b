"""plans

A shared table: its rows come from here, so they are the same on every shard. Every organization starts
with the free plan.

Revision ID: 62da09e09203
Revises: 01999e64208e
Create Date: 2024-11-11 12:20:44.513089
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "62da09e09203"
down_revision: str | Sequence[str] | None = "01999e64208e"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    plans = op.create_table(
        "plans",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("monthly_cents", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_plans")),
        sa.CheckConstraint("monthly_cents >= 0", name=op.f("ck_plans_monthly_cents")),
    )
    op.bulk_insert(
        plans,
        [
            {"code": "free", "name": "Free", "monthly_cents": 0},
            {"code": "team", "name": "Team", "monthly_cents": 4900},
            {"code": "business", "name": "Business", "monthly_cents": 19900},
        ],
    )
    op.add_column("organizations", sa.Column("plan_code", sa.Text(), server_default="free", nullable=False))
    op.create_foreign_key(op.f("fk_organizations_plan_code"), "organizations", "plans", ["plan_code"], ["code"])
    op.create_index(op.f("ix_organizations_plan_code"), "organizations", ["plan_code"])


def downgrade() -> None:
    op.drop_index(op.f("ix_organizations_plan_code"), table_name="organizations")
    op.drop_constraint(op.f("fk_organizations_plan_code"), "organizations", type_="foreignkey")
    op.drop_column("organizations", "plan_code")
    op.drop_table("plans")
