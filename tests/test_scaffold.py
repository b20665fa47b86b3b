"""`init`: a folder that works at once, and an Alembic project that is adopted without a byte being changed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kit import STOCK_ENV
from shardwright import errors
from shardwright.cli.main import run
from shardwright.config import load
from shardwright.fleet import Fleet
from shardwright.scaffold import init_project, line_of_own_url

REVISION = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "r1", None
def upgrade(): op.create_table("things", sa.Column("id", sa.Integer))
def downgrade(): op.drop_table("things")
"""
ATTRIBUTES_ENV = """
from alembic import context
connection = context.config.attributes["connection"]
context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
"""


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def alembic(folder: Path, *arguments: str) -> None:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(
        [sys.executable, "-m", "alembic", *arguments], cwd=folder, env=environment, check=True, capture_output=True
    )


@pytest.fixture
def migrates(make_database: Callable[[], str]) -> Callable[[Path], bool]:
    """Whether a fleet of one shard with the folder's migrations comes to revision r1."""

    def try_out(folder: Path) -> bool:
        config = (folder / "shardwright.toml").read_text()
        config = config.replace('"embedded" ', f'"{make_database()}" ') + f'\n[shards.a]\nurl = "{make_database()}"\n'
        (folder / "shardwright.toml").write_text(config)
        versions = load(folder / "shardwright.toml").migrations / "versions"
        versions.mkdir(exist_ok=True)
        (versions / "r1.py").write_text(REVISION)
        result = Fleet.from_config(folder / "shardwright.toml").migrate()
        assert result["a"].error is None
        return (result["a"].status, result["a"].after) == ("migrated", ("r1",))

    return try_out


def test_an_empty_folder_works_at_once(tmp_path: Path, state: Path) -> None:
    """`init`, `dev up`, a revision made by alembic itself, `migrate`: nothing has to be edited in between."""
    init_project(tmp_path)
    fleet = Fleet.from_config(tmp_path / "shardwright.toml")
    assert fleet.dev_up(shards=1).exit_code == 0
    alembic(tmp_path, "revision", "-m", "first", "--rev-id", "r1")
    result = fleet.migrate()
    assert (result["shard_0"].status, result["shard_0"].after) == ("migrated", ("r1",))


def test_what_was_made_and_what_was_left_alone_is_told(tmp_path: Path) -> None:
    """A second run finds everything in place and changes no byte."""
    first = init_project(tmp_path)
    assert {file.path.name: file.is_new for file in first} == dict.fromkeys(
        ["shardwright.toml", "migrations", "alembic.ini"], True
    )
    before = contents(tmp_path)
    assert not any(file.is_new for file in init_project(tmp_path))
    assert contents(tmp_path) == before


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    """It tells the same files."""
    planned = init_project(tmp_path, dry_run=True)
    assert list(tmp_path.iterdir()) == []
    assert planned == init_project(tmp_path)


@pytest.mark.parametrize("template", ["generic", "async", "pyproject"])
def test_an_alembic_project_is_adopted_as_it_is(
    template: str, tmp_path: Path, migrates: Callable[[Path], bool]
) -> None:
    """Stock, async, or configured in pyproject.toml: its own env.py runs, and none of its files has changed."""
    if template == "pyproject":
        (tmp_path / "pyproject.toml").write_text('[project]\nname = "app"\nversion = "1"\n')
    alembic(tmp_path, "init", "-t", template, "db/alembic")
    before = contents(tmp_path)
    made = init_project(tmp_path)
    assert [file.path.name for file in made if file.is_new] == ["shardwright.toml"]
    assert load(tmp_path / "shardwright.toml").migrations == tmp_path / "db" / "alembic"
    assert {name: digest for name, digest in contents(tmp_path).items() if name != "shardwright.toml"} == before
    assert migrates(tmp_path)


@pytest.mark.parametrize("env", [STOCK_ENV, ATTRIBUTES_ENV], ids=["engine_from_config", "attributes"])
def test_an_env_py_of_either_habit_is_adopted(env: str, tmp_path: Path, migrates: Callable[[Path], bool]) -> None:
    """One that opens its engine from the ini, and one that wants a connection handed to it."""
    (tmp_path / "app" / "migrations").mkdir(parents=True)
    (tmp_path / "app" / "migrations" / "env.py").write_text(env)
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/app/migrations\n")
    init_project(tmp_path)
    assert (tmp_path / "app" / "migrations" / "env.py").read_text() == env
    assert migrates(tmp_path)


def test_a_script_location_inside_a_package_is_found(tmp_path: Path) -> None:
    """Alembic's `package:directory` is looked for beside alembic.ini and in src/."""
    (tmp_path / "src" / "app" / "db" / "migrations").mkdir(parents=True)
    (tmp_path / "src" / "app" / "db" / "migrations" / "env.py").write_text(STOCK_ENV)
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = app.db:migrations\n")
    init_project(tmp_path)
    assert load(tmp_path / "shardwright.toml").fleet.migrations == "src/app/db/migrations"


def test_a_package_that_cannot_be_found_is_asked_for(tmp_path: Path) -> None:
    """A second, empty history beside the real one would be worse than a question."""
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = elsewhere:migrations\n")
    with pytest.raises(errors.UsageError, match="elsewhere:migrations") as refused:
        init_project(tmp_path)
    assert "--migrations" in refused.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["alembic.ini"]


def test_an_alembic_ini_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The reason is said, and nothing is written."""
    (tmp_path / "alembic.ini").write_text("script_location = x")
    with pytest.raises(errors.UsageError, match=r"Alembic's configuration .* can't be read"):
        init_project(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["alembic.ini"]


@pytest.mark.parametrize("configuration", ["shardwright.toml", "pyproject.toml"])
def test_a_configuration_that_is_there_is_followed(configuration: str, tmp_path: Path) -> None:
    """Its own `migrations` is what gets made, its variables need not be set, and no second file is written."""
    prefix = "tool.shardwright." if configuration == "pyproject.toml" else ""
    text = f'[{prefix}fleet]\ncontrol = "${{NOT_SET_HERE}}"\nmigrations = "db/history"\n'
    (tmp_path / configuration).write_text(text)
    made = init_project(tmp_path)
    assert [(file.path.relative_to(tmp_path).as_posix(), file.is_new) for file in made] == [
        (configuration, False),
        ("db/history", True),
        ("alembic.ini", True),
    ]
    assert (tmp_path / configuration).read_text() == text
    assert not (tmp_path / "migrations").exists()


def test_a_contradiction_to_the_configuration_is_refused(tmp_path: Path) -> None:
    """--migrations says one thing and the file another: nothing is made for either."""
    (tmp_path / "shardwright.toml").write_text('[fleet]\nmigrations = "a"\n')
    with pytest.raises(errors.UsageError, match="are in a, not in b"):
        init_project(tmp_path, migrations="b")
    assert [path.name for path in tmp_path.iterdir()] == ["shardwright.toml"]


@pytest.mark.parametrize("way", ["file", "folder"])
def test_what_is_in_the_way_is_not_touched(way: str, tmp_path: Path) -> None:
    """A `migrations` that is no Alembic directory is named before anything is written."""
    (tmp_path / "migrations").write_text("mine") if way == "file" else (tmp_path / "migrations" / "notes").mkdir(
        parents=True
    )
    with pytest.raises(errors.FileInTheWay, match="migrations is there already"):
        init_project(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["migrations"]


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """A typing error in the path is told, with the command that would make it."""
    with pytest.raises(errors.UsageError, match="there is no folder") as refused:
        init_project(tmp_path / "typo")
    assert refused.value.hint.startswith("mkdir -p")
    assert not (tmp_path / "typo").exists()


_FROM_ENVIRONMENT = {
    "set": 'config.set_main_option("sqlalchemy.url", os.environ["DATABASE_URL"])',
    "section": 'def run():\n    section = config.get_section("alembic")\n    section["sqlalchemy.url"] = get_url()',
    "engine": 'engine = create_engine(os.environ["DATABASE_URL"])',
    "async": "engine = sqlalchemy.ext.asyncio.create_async_engine(settings.url)",
    "keyword": 'engine = engine_from_config(config.get_section("alembic", {}), url=settings.url)',
}


@pytest.mark.parametrize("line", _FROM_ENVIRONMENT.values(), ids=_FROM_ENVIRONMENT)
def test_an_env_py_with_a_url_of_its_own_is_told_at_once(
    line: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With its line and the cure, and not by the first shard; with the cure in it, nothing is said."""
    env = f"import os\n{line}\n"
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "env.py").write_text(env)
    number = 1 + len(env.strip().splitlines()[1:])
    assert run(["init", str(tmp_path)]) == 0
    told = capfd.readouterr().out
    assert f"! {tmp_path / 'migrations' / 'env.py'}, line {number}: takes a URL from elsewhere" in told
    cured = "\n".join(f"    {each}" for each in line.splitlines())
    (tmp_path / "migrations" / "env.py").write_text(f'import os\nif "shard" not in config.attributes:\n{cured}\n')
    run(["init", str(tmp_path)])
    assert "takes a URL" not in capfd.readouterr().out


@pytest.mark.parametrize(
    "env",
    [
        STOCK_ENV,
        ATTRIBUTES_ENV,
        'if not config.get_main_option("sqlalchemy.url"):\n    config.set_main_option("sqlalchemy.url", "x")',
        'engine = create_engine(config.get_main_option("sqlalchemy.url"))',
        "def (",
    ],
)
def test_an_env_py_that_takes_the_url_it_is_given_is_left_in_peace(env: str, tmp_path: Path) -> None:
    """Whatever its habit; and one that can't be read is for the migration to tell."""
    (tmp_path / "env.py").write_text(env)
    assert line_of_own_url(tmp_path / "env.py") is None
    assert line_of_own_url(tmp_path / "none.py") is None


@pytest.mark.parametrize("template", ["generic", "async", "multidb", "pyproject"])
def test_alembics_own_templates_take_it(template: str, tmp_path: Path) -> None:
    """`init` has nothing to say of what alembic itself has made."""
    alembic(tmp_path, "init", "--template", template, "migrations")
    assert line_of_own_url(tmp_path / "migrations" / "env.py") is None
