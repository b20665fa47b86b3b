"""The living processes of one server, known by its `cluster_name`."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

_PROC = Path("/proc")


def processes_of(marker: str, uid: int) -> set[int]:
    """The pids of `uid` that run, or are left over from, the server started with `cluster_name=marker`.

    PostgreSQL puts the name into every process title. The working directory would tell as much, but root
    in a container may not read another account's; a dead postmaster's pid tells nothing: it may be reused.
    Zombies have no title, so they count as gone.
    """
    own, child = f" cluster_name={marker} ", f"postgres: {marker}: "
    titles = _titles_from_proc(uid) if sys.platform == "linux" else _titles_from_ps(uid)
    return {pid for pid, title in titles if title.startswith(child) or ("postgres" in title and own in title)}


def is_there(pid: int) -> bool:
    """Whether the process exists and has not ended, whatever its title; for a pid known a moment ago."""
    return _is_there_in_proc(pid) if sys.platform == "linux" else _takes_signals(pid)


def signal_all(pids: Iterable[int], number: int) -> None:
    """Each of `pids` that is still there has got the signal."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _is_there_in_proc(pid: int) -> bool:
    with contextlib.suppress(OSError):
        state = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX"  # ended, and nobody has asked how
    return False


def _takes_signals(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def _titles_from_proc(uid: int) -> Iterator[tuple[int, str]]:
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if entry.stat().st_uid == uid:
                    title = (entry / "cmdline").read_bytes()
                    yield int(entry.name), title.replace(b"\0", b" ").decode(errors="replace")


def _titles_from_ps(uid: int) -> Iterator[tuple[int, str]]:
    ps = shutil.which("ps") or "/bin/ps"
    command = [ps, "-axww", "-o", "pid=,uid=,command="]
    for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        pid, owner, title = line.split(maxsplit=2)
        if int(owner) == uid:
            yield int(pid), f"{title} "
