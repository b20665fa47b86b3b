"""Which SQLAlchemy driver a shard's URL is opened with: the user's own, wherever it is named."""

from __future__ import annotations

import re
from importlib.util import find_spec

from shardwright.dsn import DatabaseUrl

OURS = "psycopg"
_ASYNC_ONLY = frozenset({"asyncpg"})
_DRIVER = re.compile(r"^\s*postgresql\+(\w+)://")


def driver_for(url: DatabaseUrl, ini_url: str | None) -> str:
    """The driver that the shard's URL names, else the one that alembic.ini's own URL names, else psycopg 3.

    Raises ModuleNotFoundError, which names the package, where it is not installed.
    """
    named = _DRIVER.match(ini_url or "")
    driver = url.driver or (named[1] if named else OURS)
    if find_spec(driver.removesuffix("_async")) is None:
        raise ModuleNotFoundError(f"the driver {driver} that postgresql+{driver}:// asks for is not installed")
    return driver


def sync_driver_for(url: DatabaseUrl) -> str:
    """The driver for a connection that we open for the user's code: theirs, unless it can only be awaited."""
    return url.driver if url.driver and url.driver not in _ASYNC_ONLY else OURS
