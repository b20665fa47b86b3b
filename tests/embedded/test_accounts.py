"""The same room for root, for root in a container, and for an ordinary user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shardwright.embedded import Cluster
from shardwright.embedded.account import server_account

MakeCluster = Callable[..., Cluster]

_WHOLE_LIFE = """
import os, signal, sys
from pathlib import Path
from shardwright.embedded import Cluster, temporary_cluster
cluster = Cluster(Path(sys.argv[1]))
cluster.start()
os.kill(cluster.pid, signal.SIGKILL)
cluster.start()
pid = cluster.pid
cluster.stop()
assert cluster.pid is None, "stopped"
cluster.destroy()
with temporary_cluster() as cluster:
    print(cluster.is_running(), cluster.directory.stat().st_uid, pid is not None)
"""


def test_the_server_never_runs_as_root(running: Cluster) -> None:
    """Its process and its files belong to the server's account, without root's groups."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{running.pid}/status").read_text().splitlines() if ":" in line
    )
    assert status["Uid"].split() == [str(server_account().uid)] * 4
    assert running.directory.stat().st_uid == server_account().uid != 0
    if server_account().switched:
        assert status["Groups"].split() == []


def test_the_server_does_not_get_our_secrets(stopped: MakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment is short: other processes of its account could read it."""
    monkeypatch.setenv("CONTROL_URL", "postgresql://me:secret@production/control")
    cluster = stopped()
    cluster.start()
    environment = subprocess.run(
        ["/bin/cat", f"/proc/{cluster.pid}/environ"], capture_output=True, text=True, check=True
    ).stdout
    assert "LC_ALL=C" in environment
    assert "secret" not in environment


@pytest.fixture
def python_for_nobody(as_root: None) -> list[str]:
    """The start of a command that runs a Python with our packages as nobody."""
    become = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    if not shutil.which("setpriv"):
        pytest.skip("setpriv (util-linux) is not installed")
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        command = [*become, "env", "HOME=/nonexistent", f"PYTHONPATH={os.pathsep.join(sys.path)}", python]
        check = "import psycopg, shardwright.embedded as e; e.find_binaries()"
        if subprocess.run([*command, "-c", check], capture_output=True, cwd="/", check=False).returncode == 0:
            return command
    pytest.skip("no Python with our packages can be reached by nobody")


def test_an_ordinary_user_needs_nothing_more(python_for_nobody: list[str], home: Path) -> None:
    """nobody, without a home, makes, kills, restarts, stops and destroys clusters."""
    home.chmod(0o777)
    done = subprocess.run(
        [*python_for_nobody, "-c", _WHOLE_LIFE, str(home / "main")],
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["True", "65534", "True"]


@pytest.mark.usefixtures("as_root")
def test_root_in_a_container_may_not_look_into_processes(home: Path) -> None:
    """Without CAP_SYS_PTRACE (the rule in containers) root finds and ends its servers all the same."""
    if not shutil.which("setpriv"):
        pytest.skip("setpriv (util-linux) is not installed")
    command = ["setpriv", "--bounding-set=-sys_ptrace", "env", f"PYTHONPATH={os.pathsep.join(sys.path)}"]
    done = subprocess.run(
        [*command, sys.executable, "-c", _WHOLE_LIFE, str(home / "main")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["True", str(server_account().uid), "True"]
