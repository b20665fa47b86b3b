"""The benchmark of moves still runs, with numbers so small that its figures mean nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from math import isnan
from pathlib import Path

import pytest

_SCRIPT = Path(__file__).parents[1] / "benchmarks" / "move.py"
_FEW = {
    "copy-rows": 300,
    "gap-rows": 100,
    "memory-rows": 100,
    "keys": 10,
    "repeat": 1,
    "rounds": 1,
    "switches": 2,
    "writes": 20,
}
_SMALL = [word for name, number in _FEW.items() for word in (f"--{name}", str(number))]


@pytest.mark.faults
def test_the_benchmark_of_moves_gives_every_figure() -> None:
    """One JSON document, with a figure of each measure and a verdict on each reach."""
    done = subprocess.run([sys.executable, _SCRIPT, "--json", *_SMALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    measured = {name.split()[0].rstrip(",") for name in found["figures"]}
    assert measured == {"tiny", "copy", "write", "writes", "drain", "memory"}
    assert not any(isnan(value) for figures in found["figures"].values() for value in figures.values())
    assert all(isinstance(each["reached"], bool) for each in found["reaches"])
