"""The tutorial is true: whoever does what it says, in an empty folder, sees what it shows."""

from __future__ import annotations

from pathlib import Path

from docs.page import Command, steps
from docs.reader import TUTORIAL, reader_of


def test_the_first_hour(tmp_path: Path, state: Path) -> None:
    """Every file, command and line: from one database to three shards, a move, its undo, and a fleet that is well."""
    with reader_of(tmp_path / "tracker") as reader:
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
