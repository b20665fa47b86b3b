"""The servers that tests' databases are made on: clusters of our own, in memory where there is room."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shardwright.embedded import Cluster, temporary_cluster

_MEMORY = Path("/dev/shm")  # noqa: S108 the cluster has a folder of its own there
_ENOUGH = 4 << 30


@contextmanager
def cluster_in_memory() -> Iterator[Cluster]:
    """A temporary cluster, in memory where there is room for it: a database is made there ten times as fast."""
    roomy = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ENOUGH
    with temporary_cluster(within=_MEMORY if roomy else None) as running:
        yield running
