"""The pytest plugin, in the pytest of an application."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from shardwright.embedded import Cluster
from shardwright.testing import TestFleet
from small_project import write_project

# pytest finds it by itself where it is installed.
_IS_INSTALLED = "shardwright" in {each.name for each in entry_points(group="pytest11")}
PLUGIN = () if _IS_INSTALLED else ("-p", "shardwright.testing.plugin")
TESTS = '''
import os
import psycopg
import pytest
import sqlalchemy
from shardwright import Tenants

seen = []


def seed(session, org):
    session.execute(sqlalchemy.text("INSERT INTO org VALUES (:id, 'free', 'theirs')"), {"id": org})


@pytest.fixture
def session(shardwright_fleet):
    """Still in its transaction when the test has ended."""
    with shardwright_fleet.engine("shard_0").connect() as connection:
        connection.execute(sqlalchemy.text("SELECT 1"))
        yield connection


@pytest.mark.parametrize("turn", range(3))
def test_each_finds_it_clean(tenant, shardwright_fleet, session, turn):
    org = tenant(shard="shard_0", seed=seed)
    assert org not in seen
    seen.append(org)
    with Tenants.from_config() as tenants, tenants.session(org) as mine:
        assert mine.scalar(sqlalchemy.text("SELECT count(*) FROM org")) == 1


def test_moves(tenant, move, shardwright_fleet):
    org = tenant(shard="shard_0", seed=seed)
    move(org, "shard_1")
    assert shardwright_fleet.fleet.locate(str(org)).shard == "shard_1"


def test_freezes(freeze_shard, shardwright_fleet):
    with freeze_shard("shard_1"), pytest.raises(psycopg.OperationalError):
        shardwright_fleet.connect("shard_1")


def test_forgets(shardwright_fleet):
    global forgotten
    forgotten = shardwright_fleet.connect("shard_0")
    forgotten.execute("SELECT 'forgotten'")
'''


@pytest.fixture
def application(tmp_path: Path, cluster: Cluster) -> Path:
    """A folder with a project, its tests, and pytest's configuration."""
    write_project(tmp_path)
    (tmp_path / "pytest.ini").write_text(
        f"[pytest]\nfilterwarnings = error\nshardwright_shards = 2\nshardwright_servers = {cluster.url('postgres')}\n"
    )
    (tmp_path / "test_it.py").write_text(TESTS)
    return tmp_path


def run(application: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", *PLUGIN, "-p", "no:cacheprovider", "-q", *options]
    return subprocess.run(command, cwd=application, capture_output=True, text=True, check=False)


def test_each_test_finds_the_fleet_clean_and_the_one_that_left_something_open_is_named(application: Path) -> None:
    """Fixtures that use the fleet are undone before it is cleaned, the last test's too; no database is left."""
    done = run(application)
    assert "6 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "test_it.py::test_forgets left a transaction open" in done.stdout
    assert "SELECT 'forgotten'" in done.stdout


@pytest.mark.faults
def test_each_worker_of_xdist_has_a_fleet_of_its_own(application: Path) -> None:
    """They do not see one another's rows."""
    done = run(application, "-n", "2", "--deselect", "test_it.py::test_forgets")
    assert "5 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.new_interpreter
def test_a_pytest_that_asks_for_no_fleet_pays_nothing() -> None:
    """The plugin is in every pytest where the package is installed, and imports nothing but pytest."""
    imports = "import shardwright.testing.plugin; print(*(set(sys.modules) - before))"
    script = f"import sys, pytest; before = set(sys.modules); {imports}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"shardwright", "shardwright.testing", "shardwright.testing.plugin"}


PAGE = Path(__file__).parents[2] / "docs" / "howto" / "testing.md"
MODELS = """
import uuid

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Organization(Base):
    __tablename__ = "org"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str]


class Task(Base):
    __tablename__ = "task"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    organization_id: Mapped[uuid.UUID] = mapped_column("org_id", ForeignKey("org.id"))
    title: Mapped[str]
"""


def example(*words: str) -> str:
    """The page's example that has these words."""
    blocks: list[str] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return next(block for block in blocks if all(word in block for word in words))


def test_the_pages_first_example_passes(application: Path) -> None:
    """As it stands there, beside models of an application."""
    (application / "myapp").mkdir()
    (application / "myapp" / "models.py").write_text(MODELS)
    (application / "test_it.py").write_text(example("shardwright_fleet.engine"))
    done = run(application)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.faults
def test_the_pages_example_for_unittest_cleans_and_closes(application: Path) -> None:
    """With tests that write: each finds the fleet clean, without pytest."""
    tests = """
    def test_one(self):
        self.write()

    def test_two(self):
        self.write()

    def write(self):
        with fleet.connect("shard_1") as connection:
            connection.execute("INSERT INTO plan (code) VALUES ('new')")
"""
    (application / "test_it.py").write_text(example("unittest.TestCase") + tests)
    command = [sys.executable, "-W", "error::UserWarning", "-m", "unittest", "-v", "test_it"]
    done = subprocess.run(command, cwd=application, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Ran 2 tests" in done.stderr


def test_the_pages_example_of_a_snapshot_passes(made: TestFleet) -> None:
    """It restores what it has taken."""
    space: dict[str, Any] = {}
    exec(example("fleet.snapshot()"), space)  # noqa: S102 a page of ours
    space["test_invoices"](made)
