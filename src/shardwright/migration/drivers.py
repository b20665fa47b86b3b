"""Which SQLAlchemy driver a shard's URL is opened with: the user's own, wherever it is named."""

from __future__ import annotations

import re
from importlib.util import find_spec

from shardwright.dsn import DatabaseUrl
from shardwright.runs.session import ShardProblem

OURS = "psycopg"
_PACKAGES = {
    "psycopg": "psycopg",
    "psycopg_async": "psycopg",
    "psycopg2": "psycopg2",
    "psycopg2cffi": "psycopg2cffi",
    "asyncpg": "asyncpg",
}
_ASYNC_ONLY = frozenset({"asyncpg", "psycopg_async"})
_DRIVER = re.compile(r"^\s*postgresql\+(\w+)://")


def driver_for(url: DatabaseUrl, ini_url: str | None) -> str:
    """The driver that the shard's URL names, else the one that alembic.ini's own URL names, else psycopg 3.

    Raises ShardProblem where it is not installed, or can't be given time-outs as it connects.
    """
    named = _DRIVER.match(ini_url or "")
    driver = url.driver or (named[1] if named else OURS)
    package = _PACKAGES.get(driver)
    if package is None:
        raise ShardProblem(
            f"the driver of postgresql+{driver}:// can't be given time-outs", f"use one of: {', '.join(_PACKAGES)}"
        )
    if find_spec(package) is None:
        raise ShardProblem(
            f"the driver of postgresql+{driver}:// is not installed", f"install {package} where shardwright runs"
        )
    return driver


def sync_driver_for(url: DatabaseUrl) -> str:
    """The driver for a connection that we open for the user's code: theirs, unless it can only be awaited."""
    return url.driver if url.driver and url.driver not in _ASYNC_ONLY else OURS
