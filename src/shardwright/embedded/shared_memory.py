"""Takes away the shared memory segment of a server that could not do so itself."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

_SEGMENTS = Path("/proc/sysvipc/shm")
_IPC_RMID = 0


def remove_segment(pid_file: Sequence[str]) -> None:
    """The segment named in a dead server's postmaster.pid is gone, if it is that server's own.

    Ids are dealt anew after a reboot, so an old file may name a stranger's: key, id and maker must agree and
    nobody be attached. Elsewhere than on Linux it is left to the next start, which takes it over.
    """
    if len(pid_file) < 7 or not _SEGMENTS.exists():
        return
    expected = [pid_file[0].strip(), *pid_file[6].split(), "0"]
    for line in _SEGMENTS.read_text().splitlines()[1:]:
        key, segment, _, _, maker, _, attached = line.split()[:7]
        if [maker, str(int(key) % 2**32), segment, attached] == expected:
            ctypes.CDLL(None).shmctl(int(segment), _IPC_RMID, None)
