"""An alert: one thing that is wrong, from the moment it was seen until it is over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from shardwright.config import Rule

Severity = Literal["critical", "warning"]
Key = tuple[Rule, str]


@dataclass(frozen=True, slots=True)
class Alert:
    """What `rule` found of `subject` (a shard, a run, a tenant, the fleet): the fact, and the command that helps.

    `since` is when it was first seen. `resolved_at`: when it was over.
    """

    rule: Rule
    subject: str
    severity: Severity
    fact: str
    cure: str
    since: datetime
    resolved_at: datetime | None = None

    @property
    def key(self) -> Key:
        """The same for the same trouble, whatever its words are by now."""
        return self.rule, self.subject

    @property
    def is_firing(self) -> bool:
        """Whether it is not over."""
        return self.resolved_at is None

    @property
    def status(self) -> str:
        """`firing` or `resolved`."""
        return "firing" if self.is_firing else "resolved"

    def as_dict(self) -> dict[str, Any]:
        """The alert as `--json` prints it, and a webhook gets it."""
        return {
            "rule": self.rule,
            "subject": self.subject,
            "severity": self.severity,
            "status": self.status,
            "fact": self.fact,
            "cure": self.cure or None,
            "since": self.since.isoformat(),
            "resolved_at": self.resolved_at.isoformat() if self.resolved_at else None,
        }
