"""After databases were filled or emptied here: the directory knows who is on them."""

from __future__ import annotations

from collections.abc import Collection

from shardwright import errors
from shardwright.catalog import tenants
from shardwright.catalog.tenants import Moving, Sync
from shardwright.config import FleetConfig


def take_in(fleet: FleetConfig, *, new: Collection[str] = (), changed_by: str, moving: Moving) -> Sync | None:
    """The directory has every tenant of the shards, and nobody who was on those that are `new` and is gone from them.

    None where there is nothing to bring about: no [tenants], or a blue-green change is under way. Raises
    ControlUnavailable.
    """
    if fleet.config.tenants is None:
        return None
    try:
        return tenants.sync(fleet, accept=bool(new), forget=bool(new), of=new, changed_by=changed_by, moving=moving)
    except errors.ChangeUnderWay:
        return None
