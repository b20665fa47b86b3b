"""Brings every shard to one revision: read, plan, execute, roll back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shardwright.migration.batches import backfill

__all__ = ["backfill"]


def __getattr__(name: str) -> Any:
    """What a user's revision imports from here, imported when asked for."""
    if name == "backfill":
        from shardwright.migration.batches import backfill  # noqa: PLC0415

        return backfill
    raise AttributeError(name)
