"""A copied process is what a new interpreter would be, as far as our tests look."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kit import until
from nursery import Nursery

PROBE = """
import json, os, sys
json.dump({
    "name": __name__, "main": sys.modules["__main__"].__dict__ is globals(), "arguments": sys.argv, "path": sys.path,
    "folder": os.getcwd(), "said": sys.stdin.read(), "environment": dict(os.environ),
    "is_leader": os.getsid(0) == os.getpid(), "parent": os.getppid(), "open": sorted(os.listdir("/proc/self/fd"))[:-1],
}, sys.stdout)
print("to stderr", file=sys.stderr)
sys.exit(7)
"""
WAYS = [["probe.py", "a"], ["-P", "probe.py"], ["-m", "probe", "a", "b"], ["-c", PROBE, "-x"], ["-P", "-c", PROBE]]


@pytest.fixture
def found(nursery: Nursery | None) -> Nursery:
    return nursery or pytest.skip("every process is a new interpreter here")


@pytest.mark.parametrize("way", WAYS, ids=lambda way: " ".join(way)[:12])
def test_a_copy_finds_what_a_new_interpreter_finds(found: Nursery, tmp_path: Path, way: list[str]) -> None:
    """Arguments, search path, folder, environment, open files, session, parent; and it ends as it says."""
    (tmp_path / "probe.py").write_text(PROBE)
    settings: dict[str, Any] = {
        "cwd": tmp_path,
        "env": {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, ["/first", os.environ.get("PYTHONPATH")]))},
    }

    def run() -> tuple[int, dict[str, Any], str]:
        command = [sys.executable, *way]
        done = subprocess.run(command, input="words", capture_output=True, text=True, check=False, **settings)
        return done.returncode, json.loads(done.stdout), done.stderr

    copy = run()
    found.is_open = False
    assert copy == run()
    assert (copy[0], copy[1]["parent"], copy[2]) == (7, os.getpid(), "to stderr\n")


def test_what_a_copy_has_printed_is_there(found: Nursery) -> None:
    """Also where it has put another stream in the place of its output, and its output is buffered."""
    program = "import io, sys; out, sys.stdout = sys.stdout, io.StringIO(); out.write('words')"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    assert found.is_open
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "words"


def test_a_copy_has_modules_that_nobody_imported(found: Nursery) -> None:
    """That is what it is for; where a test says so, it is a new interpreter."""
    command = [sys.executable, "-c", "import sys; sys.exit('dbos' in sys.modules)"]
    assert subprocess.run(command, check=False).returncode == 1
    found.is_open = False
    assert subprocess.run(command, check=False).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_copy_dies_of_signals(found: Nursery, tmp_path: Path, number: signal.Signals) -> None:
    """And of an exception, with its traceback."""
    program = "import pathlib, time\npathlib.Path('there').touch()\ntime.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        until((tmp_path / "there").exists)
        process.send_signal(number)
        _, said = process.communicate()
    assert process.returncode == -number
    assert said.endswith("KeyboardInterrupt\n") == (number == signal.SIGINT)
    with subprocess.Popen([sys.executable, "-c", "1 / 0"], stderr=subprocess.PIPE, text=True) as process:
        assert process.communicate()[1].endswith("ZeroDivisionError: division by zero\n")
    assert process.returncode == 1
