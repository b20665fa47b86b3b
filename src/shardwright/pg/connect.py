"""Opens connections: with a name, time-outs, and settings that a dead client can't leave behind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import psycopg

from shardwright.dsn import DatabaseUrl

CONNECT_TIMEOUT = 10
NAME_LENGTH = 63  # PostgreSQL cuts a longer application_name

# A killed client's statement goes on until it ends, unless the server looks at the socket now and then.
SURVIVE_A_DEAD_CLIENT = {"client_connection_check_interval": "1s"}

# A network that swallows everything is noticed within a minute, not after the two hours of the kernel's default.
KEEPALIVE = {
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


def milliseconds(duration: timedelta) -> int:
    """`duration` as PostgreSQL's time-outs count it; at least 1, since 0 would switch the time-out off."""
    return max(1, round(duration / timedelta(milliseconds=1)))


def startup_options(settings: Mapping[str, str]) -> str:
    """`settings` as the `options` of a connection: in force from its first statement, rollbacks or not."""
    quoted = ((name, value.replace("\\", "\\\\").replace(" ", "\\ ")) for name, value in settings.items())
    return " ".join(f"-c {name}={value}" for name, value in quoted)


def connect(
    url: DatabaseUrl,
    *,
    application_name: str,
    settings: Mapping[str, str] | None = None,
    connect_timeout: int = CONNECT_TIMEOUT,
    autocommit: bool = True,
) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection to `url`, in autocommit unless told otherwise; `connect_timeout` in seconds.

    Raises psycopg.OperationalError; `pg.faults.explain` says it in words without secrets.
    """
    own = dict(url.parameters)
    network: dict[str, Any] = {name: value for name, value in KEEPALIVE.items() if name not in own}
    options = startup_options({**SURVIVE_A_DEAD_CLIENT, **(settings or {})})
    return psycopg.connect(
        url.conninfo,
        application_name=application_name[:NAME_LENGTH],
        connect_timeout=connect_timeout,
        options=f"{own.get('options', '')} {options}".strip(),
        autocommit=autocommit,
        **network,
    )
