"""users' display names

Made from the address each user already has: ada.lovelace@example.com becomes Ada Lovelace.
This revision reads rows and works on them in Python, so it needs a connection to a real database.

Revision ID: 74abf0c99e90
Revises: 1b0e275e4500
Create Date: 2024-05-27 13:31:45.208416
"""

import re
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "74abf0c99e90"
down_revision: str | Sequence[str] | None = "1b0e275e4500"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

users = sa.table(
    "users",
    sa.column("id", sa.Uuid()),
    sa.column("email", sa.Text()),
    sa.column("display_name", sa.Text()),
)


def display_name(email: str) -> str:
    mailbox = email.partition("@")[0].partition("+")[0]
    return " ".join(word.capitalize() for word in re.split(r"[._-]+", mailbox) if word) or email


def upgrade() -> None:
    op.add_column("users", sa.Column("display_name", sa.Text(), nullable=True))
    connection = op.get_bind()
    names = [
        {"user_id": user.id, "new_name": display_name(user.email)}
        for user in connection.execute(sa.select(users.c.id, users.c.email))
    ]
    if names:
        connection.execute(
            sa.update(users).where(users.c.id == sa.bindparam("user_id")).values(display_name=sa.bindparam("new_name")),
            names,
        )
    op.alter_column("users", "display_name", nullable=False)


def downgrade() -> None:
    op.drop_column("users", "display_name")
