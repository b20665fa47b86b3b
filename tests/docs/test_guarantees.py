"""Every test that a page names is there: a promise without its test is only words."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PAGES = sorted((ROOT / "docs").rglob("*.md"))
NAMED = sorted({named for page in PAGES for named in _NAMED.findall(page.read_text())})


def defined_in(file: Path) -> set[str]:
    """The test functions that the file defines, at whatever depth."""
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED}))
def test_every_test_that_is_named_is_there(file: str) -> None:
    """Renamed or taken away, it is missed here, and the promise is looked at again."""
    assert (ROOT / file).is_file()
    assert {test for where, test in NAMED if where == file} <= defined_in(ROOT / file)


def test_every_row_of_a_promise_names_one() -> None:
    """In the tables of docs/guarantees.md whose second column is what shows it."""
    tables = re.findall(
        r"^\| [^|\n]+ \| shown by \|\n\|[- |]+\|\n((?:\|.*\n)+)", (ROOT / "docs/guarantees.md").read_text(), re.M
    )
    rows = [row for table in tables for row in table.splitlines()]
    assert len(rows) > 40
    assert [row for row in rows if not _NAMED.search(row)] == []
