"""The command line in this process, where most of it can be seen and a process of its own would only cost time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kit import MakeProject, Project
from shardwright.cli.main import run

Cli = Callable[..., "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it printed where."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout; fails where there is none, or more."""
        return json.loads(self.out)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command in the test's folder, without a terminal."""
    monkeypatch.chdir(tmp_path)

    def run_command(*arguments: str) -> Outcome:
        capfd.readouterr()
        code = run(list(arguments))
        return Outcome(code, *capfd.readouterr())

    return run_command


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """Two shards and one revision."""
    project = make_project(shards=2)
    project.table("r1", "a")
    return project
