"""One process (and thread) at a time in a directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

LOCK_FILE = "shardwright.lock"


class NothingThere(Exception):
    """The directory has no lock file: nothing was made in it, or it was taken away while we waited."""


@contextlib.contextmanager
def locked(directory: Path, *, create: bool = False) -> Iterator[None]:
    """Alone in `directory` until the block ends; the system gives the lock back when its holder dies.

    The lock file is made where `create` is asked for. Raises NothingThere.
    """
    path = directory / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT if create else 0), 0o600)
    except FileNotFoundError as error:
        raise NothingThere from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not _is_at(path, descriptor):
            raise NothingThere
        yield
    finally:
        os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
