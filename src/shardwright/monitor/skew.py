"""Shards at several revisions: which is where, and whether that is expected."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from shardwright.catalog.changes import Change, newest_change


@dataclass(frozen=True)
class Skew:
    """The shards at one revision of several; `expected` says why they are there rightly, None: they are not."""

    revision: str
    shards: tuple[str, ...]
    expected: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {"revision": self.revision, "shards": list(self.shards), "expected": self.expected}


@dataclass(frozen=True)
class Work:
    """What is under way that lets shards differ in their revision."""

    change: Change | None = None


def read_work(control: psycopg.Connection[Any], shard_set: str) -> Work:
    """What the control database knows to be under way. Raises psycopg.Error."""
    return Work(newest_change(control, shard_set))


def skew(revisions: Mapping[str, str], work: Work, green: Collection[str] = ()) -> tuple[Skew, ...]:
    """The groups of shards with their revisions, largest first; nothing where all are at one."""
    del work, green
    groups: dict[str, list[str]] = {}
    for shard, revision in revisions.items():
        groups.setdefault(revision, []).append(shard)
    found = [Skew(revision, tuple(shards)) for revision, shards in groups.items()]
    return tuple(sorted(found, key=lambda each: (-len(each.shards), each.revision))) if len(found) > 1 else ()
