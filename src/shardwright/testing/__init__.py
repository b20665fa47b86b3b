"""For an application's tests: a fleet of real databases that is clean for each test."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shardwright.testing.fleet import TestFleet
    from shardwright.testing.leftovers import TransactionLeftOpen
    from shardwright.testing.snapshots import Restored, Snapshot, snapshot

__all__ = ["Restored", "Snapshot", "TestFleet", "TransactionLeftOpen", "snapshot"]

_PLACES = {
    "Restored": "shardwright.testing.snapshots",
    "Snapshot": "shardwright.testing.snapshots",
    "TestFleet": "shardwright.testing.fleet",
    "TransactionLeftOpen": "shardwright.testing.leftovers",
    "snapshot": "shardwright.testing.snapshots",
}


def __getattr__(name: str) -> Any:
    """The public names, imported when asked for: every pytest of every user passes by here."""
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(name)
