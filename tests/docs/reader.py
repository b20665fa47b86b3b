"""The reader of the tutorial: an empty folder, and a PostgreSQL server with nothing on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from docs.page import Reader
from docs.script import ROOT
from shardwright.testing.places import cluster_in_memory

TUTORIAL = ROOT / "docs" / "tutorial.md"


@contextmanager
def reader_of(folder: Path, programs: Path | None = None) -> Iterator[Reader]:
    """Somebody who begins in `folder`, with this Python's programs or those that were installed."""
    folder.mkdir()
    with cluster_in_memory() as server:
        path = f"{server.binaries.bin}{os.pathsep}{os.environ['PATH']}"
        theirs = {"PATH": path, "PGHOST": str(server.socket_directory), "PGUSER": "postgres"}
        yield Reader(folder, {**theirs, "SHARDWRIGHT_OPERATOR": "ada"}, programs)
