"""Starts commands, and sees how much memory they and everything below them had at most."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import shardwright

# As on anybody's machine: compiled files are kept, and no setting of this shell reaches the clients.
_OURS = {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "SHARDWRIGHT_CONFIG", "SHARDWRIGHT_JOBS"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in _OURS and not name.startswith("PG")}
ENVIRONMENT["PYTHONPATH"] = str(Path(shardwright.__file__).parents[1])  # the code that stands beside this benchmark


class PeakMemory:
    """The most memory, in MB, that the commands run with it had at once; None where that can't be seen.

    Everything below a command counts, pages that several share only once. Linux only. A command that has ended
    within a tenth of a second is not seen.
    """

    def __init__(self) -> None:
        self.megabytes: float | None = None
        self._roots: set[int] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def watch(self, pid: int) -> None:
        """This process is looked at too, until it has ended."""
        self._roots.add(pid)

    def forget(self, pid: int) -> None:
        """This process has ended."""
        self._roots.discard(pid)

    def _look(self) -> None:
        while not self._over.wait(0.1):
            kilobytes = sum(sum(map(_proportional_size, _with_descendants(root))) for root in tuple(self._roots))
            if kilobytes:
                self.megabytes = max(self.megabytes or 0.0, kilobytes / 1024)


def _with_descendants(pid: int) -> Iterator[int]:
    """The process and all that it and they have started."""
    yield pid
    try:
        children = [
            child for each in Path(f"/proc/{pid}/task").glob("*/children") for child in each.read_text().split()
        ]
    except OSError:  # it has just ended
        return
    for child in children:
        yield from _with_descendants(int(child))


def _proportional_size(pid: int) -> int:
    """Its memory in kB, a page shared by n processes as one n-th; 0 where it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def processor_seconds(server: int | None) -> float:
    """What our process, the commands that it ran, and the server of that process id with its sessions have used so far;
    of sessions only those that have ended.
    """
    return client_seconds() + server_seconds(server)


def client_seconds() -> float:
    """What our process and the commands that it ran have used so far."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def server_seconds(server: int | None) -> float:
    """What the server of that process id and its sessions that have ended have used so far."""
    times = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[11:15]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def run(command: Sequence[str | Path], folder: Path, memory: PeakMemory | None = None, *, text: str = "") -> str:
    """What `command`, given `text`, printed once it has ended well; else the benchmark ends with what it said."""
    with (
        tempfile.TemporaryFile("w+") as stdin,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        stdin.write(text)
        stdin.seek(0)
        process = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdin=stdin, stdout=out, stderr=err)
        if memory is not None:
            memory.watch(process.pid)
        code = process.wait()
        if memory is not None:
            memory.forget(process.pid)
        out.seek(0)
        err.seek(0)
        if code != 0:
            raise SystemExit(f"{' '.join(map(str, command))} ended with {code}:\n{out.read()}{err.read()}")
        return out.read()
