"""Which SQLAlchemy driver the user's code meets."""

from __future__ import annotations

import pytest

from kit import STOCK_ENV, MakeProject

GIVEN_CONNECTION_ENV = """
from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
"""


@pytest.mark.parametrize("env", [STOCK_ENV, GIVEN_CONNECTION_ENV], ids=["opens_its_own", "takes_ours"])
def test_the_driver_that_alembic_ini_names_is_used(env: str, make_project: MakeProject) -> None:
    """Shards' URLs that name no driver are opened with the one the application's own URL names."""
    project = make_project(shards=1)
    (project.path / "migrations" / "env.py").write_text(env)
    (project.path / "alembic.ini").write_text("[alembic]\nsqlalchemy.url = postgresql+psycopg2://localhost/app\n")
    project.revision("r1", 'assert op.get_bind().dialect.driver == "psycopg2"')
    assert project.migrate().succeeded
