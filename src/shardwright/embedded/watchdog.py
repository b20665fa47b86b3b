"""The process beside a temporary cluster that takes it away in the end."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from pathlib import Path

from shardwright.embedded.cluster import Cluster
from shardwright.errors import EmbeddedError

_TRIES = 200


def watch(directory: Path) -> None:
    """Wait for the end of stdin; then the cluster in `directory` and the directory itself are gone."""
    sys.stdin.buffer.read()
    for _ in range(_TRIES):
        # More than once: an initdb of the dead owner may still be writing.
        with contextlib.suppress(OSError, EmbeddedError):
            Cluster(directory).destroy()
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(0.05)


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
