"""How a check is declared: its name, how bad its findings can be, why it is made, and what mends them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from shardwright.move.preflight.finding import Finding, Severity

G_contra = TypeVar("G_contra", contravariant=True)  # what is looked at


@dataclass(frozen=True)
class Check(Generic[G_contra]):
    """One check. Where a decisive one finds an error, those after it would only find the same again."""

    name: str
    severities: tuple[Severity, ...]
    cure: str
    find: Callable[[G_contra], Iterator[Finding]]
    is_decisive: bool = False

    @property
    def why(self) -> str:
        """What it looks for and why, for the reference."""
        return inspect.getdoc(self.find) or ""

    def error(self, fact: str, cure: str = "", *, shard: str | None = None, allow: str | None = None) -> Finding:
        """What stops it."""
        return Finding("error", self.name, fact, cure, shard, allow)

    def warning(self, fact: str, cure: str = "", *, shard: str | None = None) -> Finding:
        """What may make it slow, or break it off."""
        return Finding("warning", self.name, fact, cure, shard)

    def note(self, fact: str, cure: str = "", *, shard: str | None = None) -> Finding:
        """What is worth knowing."""
        return Finding("note", self.name, fact, cure, shard)


def check(
    *severities: Severity, cure: str, is_decisive: bool = False
) -> Callable[[Callable[[G_contra], Iterator[Finding]]], Check[G_contra]]:
    """Makes a check of a function, named as it is; its docstring says why the check is made, `cure` what mends."""
    return lambda find: Check(find.__name__.replace("_", "-"), severities, cure, find, is_decisive)
