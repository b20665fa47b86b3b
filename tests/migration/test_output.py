"""What user code prints and logs does not mix with what the command says."""

from __future__ import annotations

import json

import pytest

from kit import MakeProject, Project

NOISE = """
import logging, sys, subprocess
print("NOISE printed")
print("NOISE on stderr", file=sys.stderr)
logging.getLogger("app").warning("NOISE logged")
subprocess.run(["echo", "NOISE of a child"])
"""


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """One shard; revision and env.py are noisy at every occasion, logging to stdout among them."""
    project = make_project(shards=1)
    project.revision("r1", NOISE, NOISE)
    path = project.path / "migrations" / "versions" / "r1.py"
    path.write_text("print('NOISE on import')\n" + path.read_text())
    basic = "import logging, sys\nlogging.basicConfig(stream=sys.stdout, level='DEBUG', force=True)\n"
    project.env(("config = context.config\n", f"config = context.config\n{basic}{NOISE}"))
    return project


@pytest.mark.parametrize("command", [["migrate"], ["migrate", "--verbose"], ["migrate", "--dry-run"], ["status"]])
def test_with_json_stdout_is_one_document(project: Project, command: list[str]) -> None:
    """Whatever revisions and env.py print, at import and at work."""
    done = project.cli(*command, "--json")
    document = json.loads(done.stdout)
    assert "NOISE" not in json.dumps({**document, "sql": None})
    assert ("NOISE printed" in done.stderr) == ("--verbose" in command)


def test_what_user_code_prints_is_shown_on_wish(project: Project) -> None:
    """With --verbose, on stderr; without it, result lines alone."""
    quiet = project.cli("migrate")
    assert "NOISE" not in quiet.stdout
    assert quiet.stdout.splitlines()[-1] == "1 migrated · run 1"
    loud = project.cli("rollback", "--verbose")
    assert "NOISE" not in loud.stdout
    assert all(f"NOISE {what}" in loud.stderr for what in ("printed", "on stderr", "logged", "of a child"))


def test_results_in_json_are_as_documented(project: Project) -> None:
    """Run, target, a result for each shard, a summary."""
    done = json.loads(project.cli("migrate", "--json").stdout)
    assert list(done) == ["run", "target", "shards", "summary"]
    assert list(done["shards"][0]) == ["shard", "status", "from", "to", "seconds", "attempts", "error", "hint"]
    assert (done["run"], done["target"], done["summary"]) == (1, "r1", {"migrated": 1})
    assert (done["shards"][0]["from"], done["shards"][0]["to"]) == ("base", "r1")
