"""The tutorial is true: whoever does what it says, in an empty folder, sees what it shows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.page import Command, Reader, steps
from shardwright.embedded import Cluster
from shardwright.testing.places import cluster_in_memory

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"


@pytest.fixture
def server() -> Iterator[Cluster]:
    """The reader's own server, with nothing on it."""
    with cluster_in_memory() as running:
        yield running


def test_the_first_hour(tmp_path: Path, state: Path, server: Cluster) -> None:
    """Every file, command and line: from one database to three shards, a move, its undo, and a fleet that is well."""
    folder = tmp_path / "tracker"
    folder.mkdir()
    programs = f"{server.binaries.bin}{os.pathsep}{os.environ['PATH']}"
    theirs = {"PATH": programs, "PGHOST": str(server.socket_directory), "PGUSER": "postgres"}
    reader = Reader(folder, {**theirs, "SHARDWRIGHT_OPERATOR": "ada"})
    for step in steps(TUTORIAL):
        assert not (other := reader.does(step)), other


def test_a_line_that_nobody_expected_would_be_seen() -> None:
    """A figure may be another; a word, a line more and a line less may not; the order of shards at work may."""
    shown = Command(["x"], ["✓ shard_0: migrated to 0001 (1.43 s)", "✓ shard_1: migrated to 0001 (2 s)", "2 migrated"])
    assert not shown.differences("✓ shard_1: migrated to 0001 (0.1 s)\n✓ shard_0: migrated to 0001 (9 s)\n2 migrated\n")
    for printed in (
        "✓ shard_0: migrated to 0002 (1.43 s)\n✓ shard_1: migrated to 0001 (2 s)\n2 migrated\n",
        "✓ shard_0: migrated to 0001 (1.43 s)\n2 migrated\n",
        "✓ shard_0: migrated to 0001 (1.43 s)\n✓ shard_1: migrated to 0001 (2 s)\n2 migrated\nWarning\n",
        "✓ shard_0: migrated to 0001 (1.43 s)\n✓ shard_1: migrated to 0001 (2 s)\n3 migrated\n",
    ):
        assert shown.differences(printed)
