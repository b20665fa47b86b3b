"""What became of each shard, and of the whole run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """How one shard stands at the end of an operation.

    The first six are outcomes of an act; `seeded` and `reset` are those of acts that plan no revision;
    `behind` and `ahead` are answers of `status`.
    """

    MIGRATED = "migrated"
    UP_TO_DATE = "up_to_date"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    NOT_TRIED = "not_tried"
    UNKNOWN = "unknown"
    SEEDED = "seeded"
    RESET = "reset"
    BEHIND = "behind"
    AHEAD = "ahead"


WELL = frozenset({Status.MIGRATED, Status.UP_TO_DATE, Status.SEEDED, Status.RESET})


@dataclass(frozen=True)
class ShardResult:
    """One shard's result: revisions before and after (several where the history has branches), seconds of work."""

    shard: str
    status: Status
    before: tuple[str, ...] | None = None
    after: tuple[str, ...] | None = None
    seconds: float = 0.0
    attempts: int = 0
    error: str | None = None
    hint: str | None = None

    @property
    def has_failed(self) -> bool:
        """Whether it counts as a failure of the operation: also where nobody can say what came of it."""
        return self.status in (Status.FAILED, Status.UNKNOWN, Status.AHEAD)

    def as_dict(self) -> dict[str, Any]:
        """The result as `--json` prints it."""
        return {
            "shard": self.shard,
            "status": self.status.value,
            "from": revisions_text(self.before),
            "to": revisions_text(self.after),
            "seconds": round(self.seconds, 3),
            "attempts": self.attempts,
            "error": self.error,
            "hint": self.hint,
        }

    def with_note(self, **changes: Any) -> ShardResult:
        """A copy with some fields changed."""
        return replace(self, **changes)


def revisions_text(revisions: Sequence[str] | None) -> str | None:
    """Revisions as people write them: comma-separated, `base` for none, None where they are not known."""
    if revisions is None:
        return None
    return ", ".join(revisions) or "base"


@dataclass(frozen=True)
class RunResult:
    """What an operation over the fleet did: a result for each shard it was asked about.

    `stopped` says why it ended before its time (None where it did not), `note` what else is worth knowing;
    `exit_code` is that of the command.
    """

    kind: str
    run: int | None
    target: str | None
    results: tuple[ShardResult, ...]
    stopped: str | None = None
    refused: bool = False
    signal: int | None = None
    note: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> dict[str, int]:
        """How many shards ended in each status."""
        return dict(Counter(result.status.value for result in self.results))

    @property
    def succeeded(self) -> bool:
        """Whether every shard is where it was meant to be."""
        return self.exit_code == 0

    @property
    def exit_code(self) -> int:
        """0 all well; 1 not every shard is well; 2 refused or beyond repair; 128 + n stopped by signal n."""
        if self.signal is not None:
            return 128 + self.signal
        if self.refused:
            return 2
        return 0 if all(result.status in self._well for result in self.results) else 1

    @property
    def _well(self) -> frozenset[Status]:
        return WELL | {Status.ROLLED_BACK} if self.kind == "rollback" else WELL

    def as_dict(self) -> dict[str, Any]:
        """The result as `--json` prints it."""
        return {
            "run": self.run,
            "target": self.target,
            "shards": [result.as_dict() for result in self.results],
            "summary": self.summary,
            **({"stopped": self.stopped} if self.stopped else {}),
            **({"note": self.note} if self.note else {}),
            **self.extra,
        }

    def __getitem__(self, shard: str) -> ShardResult:
        return next(result for result in self.results if result.shard == shard)
