"""A cluster that ends with its owner, whatever way the owner ends."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from shardwright.embedded.account import server_account
from shardwright.embedded.binaries import Binaries
from shardwright.embedded.cluster import Cluster


@contextlib.contextmanager
def temporary_cluster(
    *,
    settings: Mapping[str, str] = {},
    binaries: Binaries | None = None,
    safe: bool = False,
    within: Path | None = None,
) -> Iterator[Cluster]:
    """A started cluster in a temporary directory; both are gone after the block, and after kill -9 of its owner.

    `within`: the folder to make the directory in, where the server's account can get there.

    (Owner: this process and those forked from it without exec.) Raises what Cluster.start() raises.
    """
    directory = _temporary_directory(within)
    cluster = Cluster(directory, settings=settings, binaries=binaries, safe=safe)
    try:
        with _watchdog(directory):
            cluster.start()
            yield cluster
    finally:
        cluster.destroy()  # the watchdog has done it, unless it was killed


def _watchdog(directory: Path) -> subprocess.Popen[bytes]:
    """A process that takes cluster and directory away when its stdin ends: closed by us, or by our death.

    Not PR_SET_PDEATHSIG: that fires when the thread that started the process ends.
    """
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "shardwright.embedded.watchdog", str(directory)],
        env={**os.environ, "PYTHONPATH": path},
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,  # whoever reads our output does not wait for the watchdog's
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the owner
    )


def _temporary_directory(within: Path | None) -> Path:
    """A new directory where the server's account can get to: root's TMPDIR may be closed to it."""
    account = server_account()
    usual = within or Path(tempfile.gettempdir())
    base = next((base for base in (usual, Path("/tmp"), Path("/var/tmp")) if account.reaches(base)), usual)  # noqa: S108
    return Path(tempfile.mkdtemp(prefix="shardwright-", dir=base))
