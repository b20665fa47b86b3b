"""The benchmarks still run, with numbers so small that their figures mean nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from math import isnan
from pathlib import Path

import pytest

_SCRIPTS = Path(__file__).parents[1] / "benchmarks"
_FEW = {
    "copy-rows": 300,
    "gap-rows": 100,
    "memory-rows": 100,
    "keys": 10,
    "repeat": 1,
    "rounds": 1,
    "switches": 2,
    "turns": 3,
}
_SMALL = [word for name, number in _FEW.items() for word in (f"--{name}", str(number))]


@pytest.mark.faults
def test_the_benchmark_of_moves_gives_every_figure() -> None:
    """One JSON document, with a figure of each measure and a verdict on each reach."""
    done = subprocess.run(
        [sys.executable, _SCRIPTS / "move.py", "--json", *_SMALL], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    measured = {name.split()[0].rstrip(",") for name in found["figures"]}
    assert measured == {"tiny", "copy", "write", "writes", "drain", "memory"}
    assert not any(isnan(value) for figures in found["figures"].values() for value in figures.values())
    assert all(isinstance(each["reached"], bool) for each in found["reaches"])


@pytest.mark.faults
def test_the_benchmark_of_blue_green_changes_gives_every_figure() -> None:
    """One JSON document, with a figure of each measure."""
    few = ["--rows", "1000", "--turns", "3", "--rates", "100", "--seconds", "1.5"]
    command = [sys.executable, str(_SCRIPTS / "bluegreen.py"), "--json", *few]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["figures"]
    assert {name.split()[0].rstrip(",") for name in found} == {"backfill", "writes", "write", "lag"}
    assert not any(isnan(value) for figures in found.values() for value in figures.values())


@pytest.mark.faults
def test_the_benchmark_of_checks_gives_every_figure() -> None:
    """One JSON document, with a figure of each look; it has seen sessions at work, and never more than the budget."""
    command = [sys.executable, str(_SCRIPTS / "check.py"), "--json", "--shards", "4", "--repeat", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)["figures"]
    assert {"check", "check --quick", "status --require"} < figures.keys()
    assert all(0 < each["connections"] <= 20 for each in figures.values())


@pytest.mark.faults
def test_the_benchmark_of_the_kit_for_tests_gives_every_figure() -> None:
    """One JSON document, with a figure of each way and a verdict on the reach."""
    few = ["--tables", "5", "--turns", "2", "--repeat", "2"]
    command = [sys.executable, str(_SCRIPTS / "testkit.py"), "--json", *few]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["figures"]) == 5
    assert all(isinstance(each["reached"], bool) for each in found["reaches"])


def test_the_benchmark_of_plans_gives_every_figure(tmp_path: Path) -> None:
    """One JSON document with a row for each way, plans that are no cheaper than their bound, and the year drawn."""
    few = ["--tenants", "40", "--shards", "3", "--year-tenants", "20", "--year-shards", "2", "--weeks", "2"]
    command = [sys.executable, str(_SCRIPTS / "rebalance.py"), "--json", "--svg", str(tmp_path / "year.svg"), *few]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["plans"]) == 6
    assert all(each["over_the_bound"] >= -1e-9 for each in found["plans"] if "over_the_bound" in each)
    assert found["year"].keys() == {"shardwright", "greedy by size", "nobody"}
    assert (tmp_path / "year.svg").read_text().count("<polyline") == 6
