"""Shardwright looks after the data of sharded multi-tenant PostgreSQL applications."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shardwright.errors import ShardwrightError
    from shardwright.fleet import Fleet

__all__ = ["Fleet", "ShardwrightError", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The public names, imported when asked for: a worker process does not need them."""
    if name == "Fleet":
        from shardwright.fleet import Fleet  # noqa: PLC0415

        return Fleet
    if name == "ShardwrightError":
        from shardwright.errors import ShardwrightError  # noqa: PLC0415

        return ShardwrightError
    raise AttributeError(name)
