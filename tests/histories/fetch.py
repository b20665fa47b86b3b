"""Brings the packages whose Alembic histories the tests run into .cache/histories, once.

`python tests/histories/fetch.py` installs the wheels that packages.txt lists, each history into a folder of its own:
our environment stays as it is. Where PyPI is out of reach it says so, and the tests are skipped with that reason;
with `--require` it fails instead.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

LIST = Path(__file__).with_name("packages.txt")
CACHE = Path(__file__).parents[2] / ".cache" / "histories"
STAMP = "fetched.txt"


def packages() -> dict[str, list[str]]:
    """The pinned packages of each history, by its name."""
    found: dict[str, list[str]] = {}
    lines = (line.partition("#")[0].strip() for line in LIST.read_text(encoding="utf-8").splitlines())
    for line in filter(None, lines):
        if line.startswith("["):
            current = found[line.strip("[]")] = []
        else:
            current.append(line)
    return found


def installed(name: str) -> Path | None:
    """The folder with the history `name`, if it holds what packages.txt lists, for this Python."""
    stamp = CACHE / name / STAMP
    return stamp.parent if stamp.is_file() and stamp.read_text(encoding="utf-8") == _stamp(name) else None


def fetch(name: str) -> Path:
    """The history is in its folder, whole or not at all. Raises CalledProcessError where pip fails."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=CACHE) as workshop:
        new, old, place = Path(workshop, "new"), Path(workshop, "old"), CACHE / name
        subprocess.run([*_PIP, "--target", str(new), *packages()[name]], check=True)
        (new / STAMP).write_text(_stamp(name), encoding="utf-8")
        if place.exists():
            place.rename(old)
        try:
            new.rename(place)
        except OSError:  # another process was quicker
            if installed(name) is None:
                raise
    return place


_PIP = [
    *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
    *("--no-deps", "--only-binary", ":all:"),  # nothing that is not listed, and nobody's build scripts
]


def _stamp(name: str) -> str:
    return "\n".join([f"python {sysconfig.get_python_version()} {sysconfig.get_platform()}", *packages()[name], ""])


def _fetch_or_tell(name: str) -> bool:
    if installed(name) is not None:
        return True
    sys.stderr.write(f"fetching the history of {name} from PyPI\n")
    try:
        fetch(name)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"pip could not install it (exit code {error.returncode}); the tests on it are skipped\n")
        return False
    return True


def main() -> int:
    """Exit code 0, or with --require 1 where a history could not be had."""
    parser = argparse.ArgumentParser(description="Fetch the Alembic histories that tests/histories runs.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(packages())}; default: all")
    parser.add_argument("--require", action="store_true", help="fail where PyPI is out of reach")
    parser.add_argument("--clean", action="store_true", help="fetch again what is there")
    arguments = parser.parse_args()
    names: list[str] = arguments.names or list(packages())
    if arguments.clean:
        for name in names:
            shutil.rmtree(CACHE / name, ignore_errors=True)
    missing = [name for name in names if not _fetch_or_tell(name)]
    return 1 if missing and arguments.require else 0


if __name__ == "__main__":
    sys.exit(main())
