"""Which revisions the shards are at, and whether it is expected that these are not all the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shardwright.migration.history import State
from shardwright.runs.results import revisions_text


@dataclass(frozen=True)
class Skew:
    """The shards at one revision of several. `expected`: why they are there rightly ("rollout 12 in wave 2 of 3")."""

    revision: str
    shards: tuple[str, ...]
    expected: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The group as `--json` prints it."""
        return {"revision": self.revision, "shards": list(self.shards), "expected": self.expected}


def skew(states: Mapping[str, State]) -> tuple[Skew, ...]:
    """The shards at each revision, the one with the most shards first; nothing where all are at one."""
    found: dict[str, list[str]] = {}
    for shard, state in states.items():
        found.setdefault(revisions_text(state) or "base", []).append(shard)
    groups = sorted(found.items(), key=lambda each: -len(each[1]))
    return tuple(Skew(revision, tuple(shards)) for revision, shards in groups) if len(groups) > 1 else ()
