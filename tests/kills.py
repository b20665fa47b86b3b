"""What is killed in tests: processes at an event of theirs, servers by kill -9."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from kit import Project, is_alive, until
from shardwright.embedded import Cluster

# A program that uses the library and dies, as by kill -9, when the event of that name comes for the nth time.
_DIES = """
import os, signal, sys
from shardwright.fleet import Fleet

name, count, options = sys.argv[1], int(sys.argv[2]), eval(sys.argv[3])

def listen(event):
    global count
    count -= type(event).__name__ == name
    if count == 0:
        os.kill(os.getpid(), signal.SIGKILL)

Fleet.from_config().migrate(on_event=listen, **options)
"""


def migrate_until_killed(project: Project, event: str, count: int = 1, **options: object) -> None:
    """A `migrate` in a process of its own has died at that event."""
    done = subprocess.run(
        [sys.executable, "-c", _DIES, event, str(count), repr(options)],
        cwd=project.path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, f"it never came to {event} number {count}: {done.stderr}"


def kill(cluster: Cluster) -> None:
    """kill -9 of the server, as when its machine dies: what its sessions were at does not go on without it."""
    assert cluster.pid is not None
    sessions = Path(f"/proc/{cluster.pid}/task/{cluster.pid}/children").read_text().split()
    for pid in (cluster.pid, *map(int, sessions)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not cluster.is_running() and not any(map(is_alive, map(int, sessions))))
