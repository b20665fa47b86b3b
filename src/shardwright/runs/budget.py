"""How many shards of one host may be worked on at once, so that the application keeps its connections."""

from __future__ import annotations

from collections import Counter

# A shard in work has up to three: the one that holds its lock, the one user code opened, and a short-lived one
# (env.py's second, the drop of an invalid index, or the last reading).
CONNECTIONS_PER_SHARD = 3


class HostBudget:
    """Places on each host: `limit` connections, CONNECTIONS_PER_SHARD a place, and always at least one."""

    def __init__(self, limit: int) -> None:
        self._places = max(1, limit // CONNECTIONS_PER_SHARD)
        self._taken: Counter[str] = Counter()

    def take(self, host: str) -> bool:
        """Whether there was a place on `host`; it is taken now."""
        if self._taken[host] >= self._places:
            return False
        self._taken[host] += 1
        return True

    def give_back(self, host: str) -> None:
        """One place on `host` is free again."""
        self._taken[host] -= 1
