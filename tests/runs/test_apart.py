"""Where a process of ours is a copy of the command's own, it is as good as a new one."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import pytest

from kit import MakeProject, Project
from shardwright.fleet import MigrateOptions

# Rendered, a revision leaves a note of what its process has: its modules, and its connections.
NOTES = """
import json, os, pathlib, sys
sockets = [fd for fd in os.listdir("/proc/self/fd") if os.path.islink(f"/proc/self/fd/{fd}")
           and os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")]
pathlib.Path("note").write_text(json.dumps({"modules": list(sys.modules), "sockets": len(sockets), "pid": os.getpid()}))
op.execute("CREATE TABLE b (id int)")
"""

CONNECTS_ALWAYS = """
from alembic import context
from sqlalchemy import create_engine

with create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""


pytestmark = pytest.mark.new_interpreter


@pytest.fixture
def project(make_project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> Project:
    """One shard, and a revision that notes where it is rendered."""
    project = make_project(shards=1)
    project.revision("r1", NOTES)
    monkeypatch.chdir(project.path)
    return project


def test_the_command_renders_in_a_copy_of_itself(project: Project) -> None:
    """What the command has imported is there, and none of its connections is."""
    done = project.cli("migrate", "--dry-run")
    assert done.returncode == 0
    note = json.loads((project.path / "note").read_text())
    assert "shardwright.cli.main" in note["modules"]
    assert note["sockets"] == 0


def test_a_program_that_calls_us_is_not_copied(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has loaded, and what it has open, is nothing to a revision."""
    monkeypatch.setitem(sys.modules, "something_of_the_callers", ModuleType("something_of_the_callers"))
    fleet = project.fleet()
    fleet.sql(fleet.plan_migrate(MigrateOptions()))
    note = json.loads((project.path / "note").read_text())
    assert "something_of_the_callers" not in note["modules"]


@pytest.mark.parametrize("end", ["os._exit(7)", "sys.exit(7)", "os.kill(os.getpid(), 9)"])
def test_a_rendering_that_ends_its_process_ends_only_that(project: Project, end: str) -> None:
    """The command goes on, says that there is no SQL to show, and its own exit code is its own."""
    project.revision("r1", f"import os, sys\n{end}", down=None)
    done = project.cli("migrate", "--dry-run")
    assert done.returncode == 0
    assert "no SQL can be shown" in done.stdout


def test_a_worker_that_is_a_copy_keeps_no_connection_of_the_command(project: Project) -> None:
    """It has its channel and its own sessions on the shard: what the command holds ends with the command."""
    done = project.cli("migrate")
    assert done.returncode == 0
    note = json.loads((project.path / "note").read_text())
    assert "shardwright.cli.main" in note["modules"]
    assert note["sockets"] == 3  # the channel, the session that holds the shard's lock, env.py's own


def test_an_env_that_wants_a_connection_is_no_fault_of_ours(project: Project) -> None:
    """An env.py without an offline branch raises while it is rendered; the answer arrives all the same."""
    (project.path / "migrations" / "env.py").write_text(CONNECTS_ALWAYS)
    done = project.cli("migrate", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "its env.py has no offline branch" in done.stdout
