"""The usual next step after a loop: a pool of four processes, each calling Alembic's `command.upgrade`.

Reads the names of alembic.ini files from stdin, one a line.
"""

from __future__ import annotations

import multiprocessing
import sys

from alembic import command
from alembic.config import Config


def upgrade(ini: str) -> None:
    """One database is at head."""
    command.upgrade(Config(ini), "head")


def main() -> None:
    """Every database is at head."""
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        for _ in pool.imap_unordered(upgrade, sys.stdin.read().split()):
            pass


if __name__ == "__main__":
    main()
