"""`--log-format json`: what happens, for machines, on stderr; and nothing of it is loaded where nobody asks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from kit import MakeProject, Project, until


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    made = make_project(shards=2)
    made.table("r1", "notes")
    return made


def records(text: str) -> list[dict[str, Any]]:
    """Every line, each a JSON object."""
    return [json.loads(line) for line in text.splitlines()]


def test_a_rollout_is_logged_with_run_and_shard(project: Project) -> None:
    """Each thing that happens a line on stderr; stdout is as ever."""
    done = project.cli("migrate", "--log-format", "json", "--verbose")
    logged = records(done.stderr)
    finished = [each for each in logged if each["event"] == "shard finished"]
    assert sorted((each["shard"], each["status"], each["run"]) for each in finished) == [
        ("shard_0", "migrated", 1), ("shard_1", "migrated", 1)
    ]  # fmt: skip
    assert {"run started", "shard started", "run finished"} <= {each["event"] for each in logged}
    assert all(each["kind"] == "migrate" and each["level"] and each["timestamp"] for each in finished)
    assert "✓ shard_0: migrated to r1" in done.stdout
    assert (project.cli("status", "--log-format", "json").stderr, done.returncode) == ("", 0)


def test_a_shard_that_fails_is_an_error_without_a_password(project: Project) -> None:
    """In the words of the plain line."""
    project.revision("r2", "raise ValueError('postgresql://ada:s3cret@h/d')")
    done = project.cli("migrate", "--log-format=json", "--jobs", "1")
    wrong = [each for each in records(done.stderr) if each["level"] == "error"]
    assert [each["shard"] for each in wrong] == ["shard_0"]
    assert "ValueError" in wrong[0]["error"]
    assert "s3cret" not in done.stderr


def test_an_error_of_the_command_is_a_record_too(project: Project) -> None:
    """With the command that helps and the exit code; stderr has nothing but JSON."""
    done = project.cli("migrate", "--shards", "nobody", "--log-format", "json")
    (error,) = records(done.stderr)
    assert error["event"].startswith("no shard, label or pattern")
    assert (error["level"], error["exit_code"], done.returncode) == ("error", 64, 64)


def test_without_it_nothing_is_logged(project: Project) -> None:
    """Warnings of runs go to who has asked for them, and not by themselves to stderr."""
    with project.holding("shard_0", "CREATE TABLE notes ()"):
        project.limits = {"lock_tries": "2"}
        project.write()
        done = project.cli("migrate", "--lock-timeout", "50ms")
    assert "shard waiting" not in done.stderr


def test_a_worker_logs_what_becomes_of_its_runs(project: Project) -> None:
    """With run, kind of step and worker."""
    project.cli("migrate", "--detach")
    worker = project.start_cli("worker", "--log-format", "json")
    until(lambda: project.versions()["shard_1"] == ["r1"])
    until(lambda: project.sql("control", "SELECT state FROM shardwright.run") == [("finished",)])
    worker.send_signal(signal.SIGINT)
    _, errors = worker.communicate(timeout=30)
    logged = records(errors)
    steps = [(each["run"], each["state"]) for each in logged if each["event"] == "step"]
    assert steps == [(1, "begun"), (1, "done")]
    assert [each["state"] for each in logged if each["event"] == "run"] == ["finished"]
    assert any(each.get("worker") for each in logged)
    assert any(each["event"] == "shard finished" and each["run"] == 1 for each in logged)


@pytest.mark.new_interpreter
def test_nothing_of_it_is_loaded_where_nobody_asks(project: Project) -> None:
    """A command starts as fast as before: no structlog, no OpenTelemetry, no client of Prometheus."""
    script = (
        "import sys; from shardwright.cli import main; code = main.run(['status']); "
        "print(code, sorted({'structlog', 'opentelemetry', 'prometheus_client', 'starlette'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=project.path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "1 []"
