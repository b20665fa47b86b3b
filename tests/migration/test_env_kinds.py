"""The user's own env.py runs unchanged, whatever kind it is; one that leads astray is found out."""

from __future__ import annotations

import sys
from collections.abc import Callable

import psycopg
import pytest

from kit import ASYNC_ENV, TRANSACTION_EACH, MakeProject, Project, statuses

ONE_STEP = """
context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
"""
GIVEN = f"""
from alembic import context
connection = context.config.attributes.get("connection", None)
assert connection is not None
{ONE_STEP}"""
GIVEN_IF_IN = f"""
from alembic import context
assert "connection" in context.config.attributes
connection = context.config.attributes["connection"]
{ONE_STEP}"""
GIVEN_AS_ENGINE = """
from alembic import context
with context.config.attributes.get("connection").connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
BEGINS_ITSELF = """
from alembic import context
from sqlalchemy import create_engine
with create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
    context.configure(connection=connection)
    with connection.begin():
        context.run_migrations()
"""
INI = """
[alembic]
sqlalchemy.url = {driver}://app:pa%%55@nowhere/app
[loggers]
keys = root
[handlers]
keys =
[formatters]
keys =
[logger_root]
handlers =
"""
NOTE_SETTINGS = """
op.execute(
    f"CREATE TABLE settings AS SELECT '{op.get_bind().dialect.driver}' AS driver,"
    " current_setting('application_name') AS name, current_setting('lock_timeout') AS wait,"
    " current_setting('statement_timeout') AS run"
)
"""


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """One empty shard, and a revision that notes the settings of its session."""
    project = make_project(shards=1, limits={"lock_timeout": '"50ms"', "lock_tries": "2"})
    project.revision("r1", NOTE_SETTINGS)
    return project


def set_env(project: Project, text: str, driver: str | None = None) -> None:
    """The project's env.py is this, and alembic.ini names the driver."""
    (project.path / "migrations" / "env.py").write_text(text)
    if driver is not None:
        (project.path / "alembic.ini").write_text(INI.format(driver=driver))


def assert_migrated(project: Project, driver: str = "psycopg") -> None:
    """The shard is at r1, and its session was opened by that driver, with our name and time-outs."""
    result = project.migrate()
    assert statuses(result) == {"shard_0": "migrated"}, result["shard_0"].error
    assert project.sql("shard_0", "TABLE settings") == [(driver, "shardwright migrate 1 shard_0", "50ms", "30min")]


@pytest.mark.parametrize("env", [GIVEN, GIVEN_IF_IN, GIVEN_AS_ENGINE, BEGINS_ITSELF])
def test_an_env_that_takes_or_opens_its_connection_in_its_own_way(project: Project, env: str) -> None:
    """The connection is made only for who asks, and has our name and time-outs like any other."""
    set_env(project, env)
    assert_migrated(project)


@pytest.mark.parametrize(
    ("named", "driver"),
    [("postgresql+psycopg2", "psycopg2"), ("postgresql+psycopg", "psycopg"), ("postgresql", "psycopg")],
)
def test_the_driver_that_alembic_ini_names_is_used(project: Project, named: str, driver: str) -> None:
    """The shard's URL names none, so the user's own stands; nothing but the driver is taken from there."""
    (project.path / "alembic.ini").write_text(INI.format(driver=named))
    assert_migrated(project, driver)


@pytest.mark.parametrize("where", ["alembic.ini", "shardwright.toml"])
def test_the_async_template_runs(project: Project, where: str) -> None:
    """With asyncpg named in alembic.ini, or in the shard's own URL."""
    set_env(project, ASYNC_ENV, "postgresql+asyncpg" if where == "alembic.ini" else "postgresql")
    if where == "shardwright.toml":
        toml = project.path / "shardwright.toml"
        toml.write_text(toml.read_text().replace("postgresql:", "postgresql+asyncpg:"))
    assert_migrated(project, "asyncpg")


@pytest.mark.parametrize(
    ("driver", "env"),
    [("postgresql+psycopg2", None), ("postgresql+asyncpg", ASYNC_ENV), ("postgresql+psycopg", ASYNC_ENV)],
)
def test_a_lock_timeout_is_known_in_every_driver(project: Project, driver: str, env: str | None) -> None:
    """Tried again, and told with table and holder, whatever the driver calls it."""
    if env is not None:
        set_env(project, env)
    (project.path / "alembic.ini").write_text(INI.format(driver=driver))
    project.stamp("r1", "CREATE TABLE a (id int)")
    project.revision("r2", 'op.execute("ALTER TABLE a ADD COLUMN b int")')
    with project.holding("shard_0", "SELECT FROM a"):
        shard = project.migrate()["shard_0"]
    assert shard.attempts == 2
    assert (shard.error or "").startswith("upgrade r2 (r2.py): lock timeout on a; in the way: pid ")


@pytest.mark.parametrize(("driver", "env"), [("postgresql+psycopg2", None), ("postgresql+asyncpg", ASYNC_ENV)])
def test_an_index_is_built_concurrently_by_every_driver(project: Project, driver: str, env: str | None) -> None:
    """With the invalid one of an earlier try dropped, and the lock_timeout in force again afterwards."""
    if env is not None:
        set_env(project, env)
    (project.path / "alembic.ini").write_text(INI.format(driver=driver))
    project.stamp("r1", "CREATE TABLE a (id int)", "INSERT INTO a VALUES (1), (1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        project.sql("shard_0", "CREATE UNIQUE INDEX CONCURRENTLY by_id ON a (id)")
    index = 'op.execute("CREATE INDEX CONCURRENTLY by_id ON a (id)")'
    note = "op.execute(\"CREATE TABLE t AS SELECT current_setting('lock_timeout')\")"
    project.revision("r2", f"with op.get_context().autocommit_block():\n    {index}\n    {note}")
    assert statuses(project.migrate()) == {"shard_0": "migrated"}
    assert project.sql("shard_0", "SELECT indisvalid FROM pg_index WHERE indrelid = 'a'::regclass") == [(True,)]
    assert project.sql("shard_0", "TABLE t") == [("50ms",)]


@pytest.mark.parametrize("change", [("pool.NullPool", "pool.NullPool"), TRANSACTION_EACH])
def test_an_env_that_opens_another_database_is_refused(
    project: Project, make_database: Callable[[], str], change: tuple[str, str]
) -> None:
    """Before Alembic writes a word there: not even its own table is in that database afterwards."""
    other = make_database()
    project.env(change, ("{})\n    connectable", f'{{}})\n    section["sqlalchemy.url"] = {other!r}\n    connectable'))
    shard = project.migrate()["shard_0"]
    assert shard.status == "failed"
    assert "env.py opened another database" in (shard.error or "")
    assert "sqlalchemy.url" in (shard.hint or "")
    with psycopg.connect(other) as connection:
        assert connection.execute("SELECT * FROM pg_tables WHERE schemaname = 'public'").fetchall() == []


def test_a_statement_before_configure_that_undoes_everything_is_found_out(project: Project) -> None:
    """Alembic reports success and its transaction is rolled back: only what the shard says counts."""
    project.env(
        (
            "context.configure(connection=",
            "connection.exec_driver_sql('SELECT 1')\n        context.configure(connection=",
        )
    )
    shard = project.migrate()["shard_0"]
    assert (shard.status, shard.after) == ("failed", ())
    assert shard.error == "Alembic reported success, but the shard is at base"
    assert "before context.configure()" in (shard.hint or "")
    assert project.tables("shard_0") == []


CONFIGURE = "context.configure(connection=connection"


@pytest.mark.parametrize(
    ("change", "table"),
    [
        (f"{CONFIGURE}, version_table='app_version'", "app_version"),
        (f"{CONFIGURE}, version_table_schema='app'", "app.alembic_version"),
        (
            f"connection.exec_driver_sql('SET search_path TO app')\n        connection.commit()\n        {CONFIGURE}",
            "app.alembic_version",
        ),
    ],
)
def test_another_version_table_is_refused_with_the_line_that_is_missing(
    project: Project, change: str, table: str
) -> None:
    """The hint gives the line for shardwright.toml; with it the rollout works, and status reads there too."""
    project.sql("shard_0", "CREATE SCHEMA app")
    project.env((CONFIGURE, change))
    shard = project.migrate()["shard_0"]
    line = f'version_table = "{table}"'
    assert shard.error == f"env.py keeps its revisions in {table}, not in alembic_version"
    assert f"set {line} under [fleet]" in (shard.hint or "")
    project.extra = line
    project.write()
    assert statuses(project.migrate()) == {"shard_0": "migrated"}
    assert project.sql("shard_0", f"TABLE {table}") == [("r1",)]
    assert statuses(project.fleet().status()) == {"shard_0": "up_to_date"}


@pytest.mark.parametrize(
    ("driver", "error"),
    [
        ("psycopg2cffi", "the driver of postgresql+psycopg2cffi:// is not installed"),
        ("pg8000", "the driver of postgresql+pg8000:// can't be given time-outs"),
    ],
)
def test_a_driver_that_can_not_be_used_is_named(project: Project, driver: str, error: str) -> None:
    """As the URL names it, with what to do."""
    (project.path / "alembic.ini").write_text(INI.format(driver=f"postgresql+{driver}"))
    shard = project.migrate()["shard_0"]
    assert (shard.status, shard.error) == ("failed", error)
    assert "psycopg2" in (shard.hint or "")


def test_an_env_sees_what_alembic_would_show_it(project: Project) -> None:
    """The target, x-arguments, the shard's name, a working logger: as with the alembic command."""
    look = (
        "assert context.get_revision_argument() == 'r1'\n"
        "assert context.get_x_argument() == []\n"
        "assert config.attributes['shard'] == 'shard_0'\n"
        "assert not context.is_offline_mode()\n"
    )
    project.env(("config = context.config\n", f"config = context.config\n{look}"))
    assert_migrated(project)


def test_modules_beside_the_revisions_do_not_hide_pythons_own(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revision may put a folder with a types.py first on the path (CKAN's do): workers start all the same."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (project.path / "shadows").mkdir()
    (project.path / "shadows" / "types.py").write_text("")
    file = project.path / "migrations" / "versions" / "r1.py"
    file.write_text(f"import sys\nsys.path.insert(0, {str(project.path / 'shadows')!r})\n{file.read_text()}")
    assert_migrated(project)
