"""How many connections to one host jobs may have at once, so that the application keeps its own."""

from __future__ import annotations

from collections import Counter


class HostBudget:
    """`limit` connections on each host; a job that needs more than that has the host to itself."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken: Counter[str] = Counter()

    def take(self, host: str, connections: int) -> bool:
        """Whether there was room for so many on `host`; they are taken now."""
        if self._taken[host] and self._taken[host] + connections > self._limit:
            return False
        self._taken[host] += connections
        return True

    def give_back(self, host: str, connections: int) -> None:
        """So many on `host` are free again."""
        self._taken[host] -= connections
