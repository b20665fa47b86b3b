"""What is shipped is whole: the sdist and the wheel that is made of it, installed alone, in the hands of a newcomer."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from docs.page import steps
from docs.reader import TUTORIAL, reader_of
from docs.script import ROOT
from shardwright import __version__

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]  # `make shipped`
_SOURCE = ("PYTHONPATH", "VIRTUAL_ENV")
Run = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Shipped:
    """The two files of a release."""

    sdist: Path
    wheel: Path


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    """Both, as they would be uploaded."""
    folder = tmp_path_factory.mktemp("dist")
    builder = _environment(tmp_path_factory.mktemp("builder"), "hatchling")
    build = [str(builder / "bin" / "python"), "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, env=_without_this_source())
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return Shipped(sdist, wheel)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, shipped: Shipped) -> Path:
    """An environment with the wheel that pip makes of the sdist, the extras of the tutorial, and pytest."""
    return _environment(tmp_path_factory.mktemp("newcomer"), f"{shipped.sdist}[embedded,lint]", "pytest")


@pytest.fixture
def project(installed: Path, tmp_path: Path) -> Path:
    """A copy of the example that came with it."""
    return shutil.copytree(_package(installed) / "examples" / "tasks", tmp_path / "tasks")


@pytest.fixture
def run(installed: Path, project: Path) -> Run:
    """A program of that environment, in the project."""

    def run(program: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(installed / "bin" / program), *words]
        return subprocess.run(
            command, cwd=project, capture_output=True, text=True, check=False, env=_without_this_source()
        )

    return run


def test_the_sdist_makes_the_wheel_that_the_checkout_makes(installed: Path, shipped: Shipped) -> None:
    """With the tests and the docs that belong to the source, under a licence, and nothing of whoever built it."""
    made = {str(path.relative_to(_package(installed).parent)) for path in _package(installed).rglob("*")}
    names = zipfile.ZipFile(shipped.wheel).namelist()
    assert {name for name in names if name.startswith("shardwright/")} <= made
    assert {name.partition("/")[2] for name in names if ".dist-info/" in name} >= {"METADATA", "licenses/LICENSE"}
    with tarfile.open(shipped.sdist) as source:
        there = {name.split("/", 2)[1] for name in source.getnames() if "/" in name}
    assert {"README.md", "CHANGELOG.md", "LICENSE", "SECURITY.md", "src", "tests", "docs", "examples"} <= there
    assert {name for name in there if name.startswith(".")} <= {".gitignore"}
    assert not there & {"dist", "build", "site"}


def test_who_looks_at_the_package_reads_the_readme(run: Run) -> None:
    """Its page on an index is README.md, and it says its version, its licence and the Pythons it is for."""
    ask = "from importlib.metadata import metadata; print(metadata('shardwright').json)"
    told = ast.literal_eval(run("python", "-c", ask).stdout)
    assert told["description"].strip() == (ROOT / "README.md").read_text().strip()
    assert (told["version"], told["license_expression"]) == (__version__, "MIT")
    assert told["requires_python"] == ">=3.11"


@pytest.mark.timeout(900)
def test_the_first_hour_with_what_is_shipped(
    installed: Path, tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tutorial with the programs of the fresh environment: init on an Alembic project, dev up, migrate, move."""
    for name in _SOURCE:
        monkeypatch.delenv(name, raising=False)
    with reader_of(tmp_path / "tracker", installed / "bin") as reader:
        for step in steps(TUTORIAL):
            assert not (other := reader.does(step)), other


def test_every_file_of_the_package_is_in_the_wheel(installed: Path) -> None:
    """Templates, stylesheets, SQL, licences of others, py.typed."""
    package = _package(installed)
    source = ROOT / "src" / "shardwright"
    ours = {path.relative_to(source) for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    shipped = {path.relative_to(package) for path in package.rglob("*") if path.is_file()}
    assert Path("py.typed") in ours
    assert Path("web/templates/page.html") in ours
    assert ours - shipped == set()


def test_serve_without_its_extra_says_what_to_install(run: Run) -> None:
    """And no traceback."""
    done = run("shardwright", "serve")
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'shardwright[web]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_plugin_gives_a_clean_fleet_to_each_test(run: Run) -> None:
    """The example's own tests, from its own folder."""
    done = run("pytest", "-q")
    assert "5 passed" in done.stdout, done.stdout + done.stderr


def _environment(folder: Path, *packages: str) -> Path:
    """A fresh one with these packages; skips where no index answers."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = [str(folder / "bin" / "pip"), "install", "--quiet", *packages]
    done = subprocess.run(install, capture_output=True, text=True, check=False, env=_without_this_source())
    if "from versions: none" in done.stderr:  # of a bound that nothing can meet it names the versions
        pytest.skip(f"no index of packages answers: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return folder


def _package(environment: Path) -> Path:
    return next(environment.glob("lib/python3*/site-packages/shardwright"))


def _without_this_source() -> dict[str, str]:
    """The environment of this process, but it finds no Shardwright besides the installed one."""
    return {name: value for name, value in os.environ.items() if name not in _SOURCE}
