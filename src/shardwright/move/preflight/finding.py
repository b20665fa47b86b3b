"""What a preflight finds: how bad it is, the fact with names in it, and what mends it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

Severity: TypeAlias = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One reason why a move could fail, or something its reader should know.

    `cure` is SQL, a line of configuration, a command, or advice; SQL is meant for `shard`, or for every shard of the
    fleet (as a revision) where that is None. `allow` is the word that makes a warning of an error.
    """

    severity: Severity
    check: str
    fact: str
    cure: str = ""
    shard: str | None = None
    allow: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The finding as `--json` prints it."""
        return asdict(self)
