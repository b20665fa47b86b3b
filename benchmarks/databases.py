"""A control database and many shards with the example's env.py, and the states that a measurement starts from."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from processes import run
from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster, temporary_cluster

EXAMPLE = Path(__file__).parents[1] / "examples" / "tasks"
TWENTY = 20
NEWEST, BEFORE = (f"{number:012x}" for number in (TWENTY, TWENTY - 1))
_AT_ONCE = 4
_DOWN = f"""
    DROP INDEX IF EXISTS ix_t1_priority;
    ALTER TABLE t1 DROP COLUMN IF EXISTS priority;
    UPDATE alembic_version SET version_num = '{BEFORE}'
"""
_REVISION = """
import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {down!r}


def upgrade():
    {upgrade}


def downgrade():
    raise NotImplementedError
"""
_CREATE = """op.create_table(
        "{table}",
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("organization_id", sa.BigInteger, sa.ForeignKey("t1.id"), nullable=False, index=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now()),
    )"""
_ALTER = """op.add_column("{table}", sa.Column("priority", sa.Text, server_default="medium", nullable=False))
    op.create_check_constraint("ck_{table}_priority", "{table}", "priority IN ('low', 'medium', 'high')")
    op.create_index("ix_{table}_priority", "{table}", ["organization_id", "priority"])"""


@dataclass(frozen=True)
class Fleet:
    """Where everything is."""

    cluster: Cluster
    project: Path
    shards: tuple[str, ...]

    def ini(self, shard: str) -> Path:
        """The alembic.ini that names this shard."""
        return self.project / f"{shard}.ini"

    def alembic(self, shard: str) -> list[str | Path]:
        """The alembic command for one shard."""
        return [sys.executable, "-m", "alembic", "-c", self.ini(shard)]

    def take_back(self) -> None:
        """Every shard lacks the newest revision, and nothing is known of how it is sent."""

        def take_back_one(shard: str) -> None:
            with psycopg.connect(self.cluster.url(shard), autocommit=True) as connection:
                connection.execute(_DOWN)

        self._each(take_back_one)
        self.forget_proofs()

    def empty(self) -> None:
        """Every shard is a new, empty database, and nothing is known of how revisions are sent."""

        def empty_one(shard: str) -> None:
            with psycopg.connect(self.cluster.url("postgres"), autocommit=True) as admin:
                name = sql.Identifier(shard)
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
                admin.execute(sql.SQL("CREATE DATABASE {} STRATEGY file_copy").format(name))

        self._each(empty_one)
        self.forget_proofs()

    def forget_proofs(self) -> None:
        """A rollout proves its renderings anew, as it does for every new revision."""
        with psycopg.connect(self.cluster.url("control"), autocommit=True) as connection:
            connection.execute("DELETE FROM shardwright.proof")

    def require_newest(self, shards: Sequence[str]) -> None:
        """Fails unless these shards have the newest revision: doing nothing is fast."""
        for shard in shards:
            with psycopg.connect(self.cluster.url(shard)) as connection:
                row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            if row != (NEWEST,):
                raise SystemExit(f"{shard} is at {row}, not at {NEWEST}")

    def _each(self, act: object) -> None:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(act, self.shards))  # type: ignore[arg-type]


@contextmanager
def example_fleet(shards: int) -> Iterator[Fleet]:
    """The example with a history of twenty revisions over so many databases, which lack only the newest."""
    settings = {"max_connections": str(shards + 100)}  # for the way that keeps one open to each
    with (
        temporary_cluster(settings=settings) as cluster,
        tempfile.TemporaryDirectory(prefix="shardwright-bench-") as top,
    ):
        project = Path(shutil.copytree(EXAMPLE, Path(top) / "tasks", ignore=shutil.ignore_patterns("__pycache__")))
        _write_history(project / "migrations" / "versions")
        fleet = Fleet(cluster, project, tuple(f"shard_{number}" for number in range(shards)))
        _write_configuration(fleet)
        _make_databases(fleet)
        _write_sql(fleet, "one.sql", f"{BEFORE}:{NEWEST}")
        _write_sql(fleet, "twenty.sql", NEWEST)
        run([sys.executable, "-m", "shardwright", "migrate", BEFORE], project)  # the control database is made
        yield fleet


def _write_history(versions: Path) -> None:
    """Twenty revisions in place of the example's, of which some read and so can't be SQL: ten make a table each, ten
    give it a column with a default, a check and an index.
    """
    shutil.rmtree(versions)
    versions.mkdir()
    for number in range(1, TWENTY + 1):
        table, body = (f"t{number}", _CREATE) if number <= TWENTY // 2 else (f"t{TWENTY - number + 1}", _ALTER)
        text = _REVISION.format(
            revision=f"{number:012x}",
            down=f"{number - 1:012x}" if number > 1 else None,
            upgrade=body.format(table=table),
        )
        (versions / f"{number:04}.py").write_text(text)


def _write_configuration(fleet: Fleet) -> None:
    """shardwright.toml names the shards, and each shard has an alembic.ini of its own for the alembic command."""
    lines = ["[fleet]", f'control = "{fleet.cluster.url("control")}"', 'environment = "test"']
    ini = (fleet.project / "alembic.ini").read_text()
    for shard in fleet.shards:
        lines += [f"[shards.{shard}]", f'url = "{fleet.cluster.url(shard)}"']
        url = DatabaseUrl.parse(fleet.cluster.url(shard)).sqlalchemy("psycopg").replace("%", "%%")
        fleet.ini(shard).write_text(ini.replace("postgresql+psycopg://localhost/tasks", url))
    (fleet.project / "shardwright.toml").write_text("\n".join(lines))


def _make_databases(fleet: Fleet) -> None:
    """The first shard is migrated to the revision before the newest, the others are copies of it."""
    first, *others = fleet.shards
    with psycopg.connect(fleet.cluster.url("postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE control")
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(first)))
        run([*fleet.alembic(first), "upgrade", BEFORE], fleet.project)
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        for shard in others:
            admin.execute(copy.format(sql.Identifier(shard), sql.Identifier(first)))


def _write_sql(fleet: Fleet, file: str, revisions: str) -> None:
    """What psql sends: the revisions as Alembic prints them, version rows and transactions included."""
    command = [*fleet.alembic(fleet.shards[0]), "upgrade", revisions, "--sql"]
    (fleet.project / file).write_text(run(command, fleet.project))
