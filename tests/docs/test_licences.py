"""Whoever installs the tool knows under which licences all that comes with it is."""

from __future__ import annotations

from docs import script


def test_every_package_that_comes_along_is_listed() -> None:
    """With the licence that its metadata names. After a change of dependencies: `python scripts/licences.py`."""
    licences = script.load("licences")
    rows = {f"| {name} | {licence} |" for name, (licence, _) in licences.packages().items()}
    listed = {"|".join(line.split("|")[:3]) + "|" for line in licences.PAGE.read_text().splitlines()}
    assert len(rows) > 30
    assert rows <= listed
    assert all("not said" not in row for row in rows)
