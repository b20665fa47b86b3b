"""What a local server is started with: its address and its settings."""

from __future__ import annotations

import os
import re
from pathlib import Path

from shardwright.embedded.state import short_hash

PORT = 5432  # each cluster has a socket directory of its own, so all can have the same
SOCKET = f".s.PGSQL.{PORT}"
_LONGEST_SOCKET = 103  # bytes: the smallest limit of the systems we run on (macOS)
_PLAIN = re.compile(r"[\w@%+=:./-]+", re.ASCII)  # a comma would be a second host to libpq

USUAL = {
    "wal_level": "logical",
    "max_prepared_transactions": "64",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "jit": "off",
    "timezone": "UTC",
    # In files below the data directory: nothing is left in /dev/shm after a crash, and a container's
    # /dev/shm of 64 MB is no limit.
    "dynamic_shared_memory_type": "mmap",
}
# For data that may be lost with the machine. Not synchronous_commit: without it, kill -9 loses commits.
UNSAFE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on"}


def socket_directory(directory: Path, uid: int) -> Path:
    """Inside the cluster's directory; under /tmp where that is too long for a socket or no plain text.

    The same in every process, whatever its TMPDIR: the address of a cluster is printed and kept.
    """
    inside = directory / "socket"
    if len(os.fsencode(inside / SOCKET)) <= _LONGEST_SOCKET and _PLAIN.fullmatch(str(inside)):
        return inside
    return Path("/tmp") / f"shardwright-{uid}-{short_hash(directory, 16)}"  # noqa: S108 - verified before use


def forced(marker: str, sockets: Path) -> dict[str, str]:
    """The settings that no caller can change: who reaches the server, and how we find it again."""
    return {
        "listen_addresses": "",
        "unix_socket_directories": str(sockets),
        "unix_socket_permissions": "0700",
        "port": str(PORT),
        "cluster_name": marker,
        "update_process_title": "on",
        "logging_collector": "off",
    }
