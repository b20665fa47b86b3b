"""Which revisions the shards are at, and whether a rollout or a change under way explains that they differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from shardwright.catalog.changes import Change, newest_change
from shardwright.runs.store import Ledger, OpenRollout

_THERE = ("in_step", "switched", "done")  # phases of a change in which its green shards are there, at their revision


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

    rollout: OpenRollout | None = None
    change: Change | None = None

    @property
    def has_green(self) -> bool:
        """Whether the green shards of [bluegreen] are there, at their revision."""
        return self.change is not None and self.change.phase in _THERE


def read_work(control: psycopg.Connection[Any], shard_set: str) -> Work:
    """What the control database knows to be under way. Raises psycopg.Error."""
    ledger = Ledger(control, shard_set)
    rollout = ledger.open_rollout()
    if rollout is not None and ledger.as_it_is(rollout.run).state == "abandoned":
        rollout = None
    return Work(rollout, newest_change(control, shard_set))


def skew(revisions: Mapping[str, str], work: Work, green: Collection[str] = ()) -> tuple[Skew, ...]:
    """The shards at each revision, the one with the most shards first; nothing where all are at one.

    `revisions`, as people write them, by the shards' names; `green`: those among them that a blue-green change has
    built. Shards at one revision are two groups where some of them are expected there and others are not.
    """
    if len(set(revisions.values())) < 2:
        return ()
    ours = {name: revision for name, revision in revisions.items() if name not in green}
    built = {name: revision for name, revision in revisions.items() if name in green}
    reasons = dict(_by_rollout(ours, work.rollout)) if work.rollout else {}
    if work.has_green and built:
        for colour, shards in (("blue", ours), ("green", built)):
            if len(set(shards.values())) == 1:
                reasons |= dict.fromkeys(shards, f"change {work.change.run}: {colour}" if work.change else "")
    groups: dict[tuple[str, str | None], list[str]] = defaultdict(list)
    for name, revision in revisions.items():
        groups[revision, reasons.get(name)].append(name)
    found = [Skew(revision, tuple(names), reason) for (revision, reason), names in groups.items()]
    return tuple(sorted(found, key=lambda each: (-len(each.shards), each.revision)))


def _by_rollout(revisions: Mapping[str, str], rollout: OpenRollout) -> Iterator[tuple[str, str]]:
    """The shards that are where the rollout found them, brings them, or passes by on the way; a shard that has no part
    in it may be where others were before."""
    told = _told(revisions, rollout)
    ways = rollout.ways
    passed = {revision for way in ways.values() for revision in way}
    for name, revision in revisions.items():
        if revision in ways.get(name, passed):
            yield name, told


def _told(revisions: Mapping[str, str], rollout: OpenRollout) -> str:
    """`rollout 12, wave 2 of 3`: the first wave of which not every shard has arrived."""
    waves = rollout.waves
    done = (all(revisions.get(name) == to for name, to in wave.items()) for wave in waves)
    wave = next((number for number, is_done in enumerate(done, start=1) if not is_done), len(waves))
    kind = "rollout" if rollout.run.kind == "migrate" else rollout.run.kind
    place = f", wave {wave} of {len(waves)}" if len(waves) > 1 else ""
    state = "" if rollout.run.state == "running" else f", {rollout.run.state}"
    return f"{kind} {rollout.run.id}{place}{state}"
