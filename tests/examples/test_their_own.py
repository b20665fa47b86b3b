"""The examples' own tests, run as their users would run them: with the plugin, from the example's folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shardwright.embedded import Cluster
from testing.test_plugin import PLUGIN

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("example", ["tasks", "flask", "fastapi"])
def test_an_examples_own_tests_pass(example: str, cluster: Cluster, tmp_path: Path) -> None:
    """Sign-up, write, read and a move over HTTP; comments that move along; a shard that is down for one test alone."""
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    server = f"shardwright_servers={cluster.url('postgres')}"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGIN, "-p", "no:cacheprovider", "-q", "-W", "error", "-o", server, "tests"],
        cwd=tmp_path / "examples" / example,
        env={name: value for name, value in os.environ.items() if name != "SHARDWRIGHT_CONFIG"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{5 if example == 'tasks' else 3} passed" in done.stdout
