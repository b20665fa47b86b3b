"""Whoever installs the tool knows under which licences all that comes with it is."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_package_that_comes_along_is_listed() -> None:
    """With the licence that its metadata names. After a change of dependencies: `python scripts/licences.py`."""
    spec = importlib.util.spec_from_file_location("licences", ROOT / "scripts" / "licences.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    rows = {f"| {name} | {licence} |" for name, (licence, _) in script.packages().items()}
    listed = {"|".join(line.split("|")[:3]) + "|" for line in script.PAGE.read_text().splitlines()}
    assert len(rows) > 30
    assert rows <= listed
    assert all("not said" not in row for row in rows)
