"""The strict recorder: what can be rendered without a database, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit import Project
from shardwright.migration.history import ScriptLocation
from shardwright.migration.plan import ShardPlan
from shardwright.migration.recorder import Rendering
from shardwright.migration.render import render


def rendering_of(tmp_path: Path, upgrade: str) -> Rendering:
    """The rendering of one revision with this body; no database is there at all."""
    project = Project(tmp_path, "postgresql://nowhere/control", {"shard_0": "postgresql://nowhere/shard_0"})
    project.write()
    project.revision("r1", upgrade)
    location = ScriptLocation(tmp_path, tmp_path / "migrations", "alembic_version")
    shard = project.fleet().config.shards[0]
    ((only,),) = render(location, [ShardPlan(shard, (), ("r1",), ("r1",))]).values()
    return only


@pytest.mark.parametrize(
    ("upgrade", "sql"),
    [
        ('op.create_table("a", sa.Column("id", sa.Integer, primary_key=True))', "CREATE TABLE a"),
        ("op.execute(\"UPDATE a SET b = 'x%%y' WHERE c LIKE '%'\")", "UPDATE a SET b = 'x%%y' WHERE c LIKE '%'"),
        ('op.get_bind().execute(sa.text("DELETE FROM a"))', "DELETE FROM a"),
        ('op.bulk_insert(sa.table("a", sa.column("n", sa.Integer)), [{"n": 1}])', "INSERT INTO a (n) VALUES (1)"),
        ('sa.Enum("x", name="e").create(op.get_bind(), checkfirst=False)', "CREATE TYPE e AS ENUM ('x')"),
        ('with op.batch_alter_table("a") as batch:\n    batch.drop_column("b")', "ALTER TABLE a DROP COLUMN b"),
    ],
)
def test_what_needs_no_answer_is_rendered(tmp_path: Path, upgrade: str, sql: str) -> None:
    """DDL and writes without parameters become the very SQL that Alembic would send."""
    rendering = rendering_of(tmp_path, upgrade)
    assert rendering.why_not is None
    assert any(sql in statement.sql for statement in rendering.statements)
    assert rendering.statements[-1].is_version


@pytest.mark.parametrize(
    ("upgrade", "why"),
    [
        ('op.get_bind().execute(sa.text("SELECT 1")).scalar()', "reads: SELECT 1"),
        ("op.get_bind().execute(sa.select(sa.literal(1)))", "reads rows"),
        ('op.get_bind().execute(sa.text("UPDATE a SET b = :b"), {"b": 1})', "parameters"),
        ('op.get_bind().execute(sa.text("DELETE FROM a")).rowcount', "looks at the result"),
        ("sa.inspect(op.get_bind()).get_table_names()", "inspects the database"),
        (
            'with op.batch_alter_table("a", recreate="always") as batch:\n    batch.drop_column("b")',
            "batch mode",
        ),
        ('sa.Table("a", sa.MetaData(), sa.Column("i", sa.Integer)).create(op.get_bind())', "checkfirst"),
        ('op.get_bind().exec_driver_sql("DELETE FROM a")', "exec_driver_sql"),
        ('try:\n    op.get_bind().execute(sa.text("SELECT 1"))\nexcept Exception:\n    pass', "reads: SELECT 1"),
        ("from alembic import context\ncontext.get_x_argument()", "-x argument"),
        ("from alembic import context\ncontext.is_offline_mode()", "offline"),
        ('from alembic import context\ncontext.config.attributes["shard"]', "config.attributes"),
        ("import uuid\nop.execute(f\"INSERT INTO a VALUES ('{uuid.uuid4()}')\")", "differs between two renderings"),
        ("raise ValueError('no')", "ValueError: no"),
    ],
)
def test_every_wish_for_a_live_connection_is_refused(tmp_path: Path, upgrade: str, why: str) -> None:
    """A revision that asks the database for anything is never rendered, even if it swallows exceptions."""
    rendering = rendering_of(tmp_path, upgrade)
    assert rendering.why_not is not None
    assert why in rendering.why_not
    assert rendering.statements == ()


def test_an_autocommit_block_stands_outside_of_the_transaction(tmp_path: Path) -> None:
    """The rendering keeps which statements must not be in a transaction, and in which order they come."""
    body = """
    op.execute("CREATE TABLE a (id integer)")
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY i ON a (id)")
    op.execute("INSERT INTO a VALUES (1)")
    """
    rendering = rendering_of(tmp_path, body)
    words = [(statement.sql.split()[0], statement.in_transaction) for statement in rendering.statements]
    assert words == [("CREATE", True), ("CREATE", True), ("CREATE", False), ("INSERT", True), ("INSERT", True)]


def test_the_indexes_of_a_table_come_in_one_order(tmp_path: Path) -> None:
    """SQLAlchemy keeps them in a set, so that each rendering, and each process, would have another order."""
    columns = ", ".join(f'sa.Column("c{number}", sa.Integer, index=True)' for number in range(9))
    rendering = rendering_of(tmp_path, f'op.create_table("a", {columns})')
    assert rendering.why_not is None
    indexes = [statement.sql for statement in rendering.statements if statement.sql.startswith("CREATE INDEX")]
    assert indexes == [f"CREATE INDEX ix_a_c{number} ON a (c{number})" for number in range(9)]
