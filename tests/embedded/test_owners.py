"""Servers and the processes that started them: who outlives whom."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from shardwright.embedded import Cluster, temporary_cluster

Python = Callable[..., "subprocess.Popen[str]"]
Observe = Callable[[Cluster], Callable[[], list[str]]]
Eventually = Callable[[Callable[[], object]], None]

_TEMPORARY = """
import sys
from shardwright.embedded import temporary_cluster
with temporary_cluster() as cluster:
    print(cluster.directory, flush=True)
    sys.stdin.readline()
"""
_LASTING = """
import sys
from pathlib import Path
from shardwright.embedded import Cluster
cluster = Cluster(Path(sys.argv[1]))
cluster.start()
print(cluster.pid, flush=True)
sys.stdin.readline()
"""


def said(process: subprocess.Popen[str]) -> str:
    """The next line the process prints."""
    assert process.stdout
    return process.stdout.readline().strip()


@pytest.fixture(autouse=True)
def _temporary_files_at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    monkeypatch.setenv("TMPDIR", str(home))


def test_a_temporary_cluster_is_gone_after_its_block(remains: Observe) -> None:
    """Also after an error in the block, which is passed on."""

    def fail() -> None:
        raise ZeroDivisionError

    with contextlib.suppress(ZeroDivisionError), temporary_cluster(settings={"max_connections": "9"}) as cluster:
        assert cluster.is_running()
        look = remains(cluster)
        fail()
        pytest.fail("the error was swallowed")
    assert look() == []
    assert not cluster.directory.exists()


def test_kill_9_of_the_owner_takes_a_temporary_cluster_along(
    python: Python, remains: Observe, eventually: Eventually
) -> None:
    """No server, no directory, no shared memory outlives the tests that used it."""
    owner = python(_TEMPORARY)
    cluster = Cluster(Path(said(owner)))
    look = remains(cluster)
    owner.send_signal(signal.SIGKILL)
    eventually(lambda: not cluster.directory.exists())
    assert look() == []


def test_kill_9_of_the_owner_during_initdb(
    python: Python, home: Path, server_processes: Callable[[Path], list[str]], eventually: Eventually
) -> None:
    """A half made temporary cluster goes away as well."""
    owner = python(_TEMPORARY)
    eventually(lambda: list(home.glob("shardwright-*/initdb-*/base")))
    owner.send_signal(signal.SIGKILL)
    eventually(lambda: not list(home.iterdir()) and not server_processes(home))


def test_kill_9_of_the_owner_leaves_a_normal_cluster(
    stopped: Callable[[], Cluster], python: Python, remains: Observe
) -> None:
    """The next process finds it running, and can use and stop it."""
    cluster = stopped()
    owner = python(_LASTING, cluster.directory)
    pid = int(said(owner))
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    look = remains(cluster)
    assert cluster.is_running()
    cluster.start()
    assert cluster.pid == pid
    cluster.stop()
    assert look() == []


def test_ctrl_c_reaches_the_owner_only(running: Cluster) -> None:
    """The signals of our terminal go to our session; the server has another."""
    assert running.pid
    assert os.getsid(running.pid) != os.getsid(0)


def test_a_started_server_holds_no_pipe_of_its_starter(stopped: Callable[[], Cluster], python: Python) -> None:
    """Whoever reads the output of the starter comes to its end, though the server runs on."""
    cluster = stopped()
    output, _ = python(_LASTING, cluster.directory).communicate("\n", timeout=60)
    assert int(output) == cluster.pid
