"""Shardwright looks after the data of sharded multi-tenant PostgreSQL applications."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shardwright.errors import ShardwrightError
    from shardwright.fleet import Fleet
    from shardwright.routing.awaited import AsyncTenants
    from shardwright.routing.tenants import Tenants

__all__ = ["AsyncTenants", "Fleet", "ShardwrightError", "Tenants", "__version__"]
__version__ = "0.1.0"

logging.getLogger("shardwright").addHandler(logging.NullHandler())  # who configures no logging sees none of ours


_PLACES = {
    "AsyncTenants": "shardwright.routing.awaited",
    "Fleet": "shardwright.fleet",
    "ShardwrightError": "shardwright.errors",
    "Tenants": "shardwright.routing.tenants",
}


def __getattr__(name: str) -> Any:
    """The public names, imported when asked for: a worker process does not need them."""
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(name)
