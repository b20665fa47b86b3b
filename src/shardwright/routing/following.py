"""How one call follows its tenant: where to try next, how long to wait before, when to give up. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from shardwright import errors

FIRST_PAUSE = 0.005
LONGEST_PAUSE = 0.25


@dataclass
class Following:
    """One call's way to `tenant`; times are seconds of any clock. `next_shard` is where the last refusal points."""

    tenant: str
    patience: float
    jitter: random.Random = field(default_factory=random.Random)
    next_shard: str | None = None
    _refusals: int = 0
    _since: float | None = None

    def refused(self, shard: str, next_shard: str | None, now: float, cause: BaseException | None = None) -> float:
        """`shard` has refused, and points to `next_shard`; how many seconds to wait before the next try.

        A first hint is followed at once. After that the switch is still under way, or was taken back: shards may point
        to each other until it is over, so every further try waits longer, up to a quarter of a second.
        Raises TenantIsMoving where that is past the patience.
        """
        self._since = now if self._since is None else self._since
        self._refusals += 1
        self.next_shard = next_shard
        pause = 0.0 if self._refusals == 1 and next_shard is not None else self._pause()
        if now + pause - self._since > self.patience:
            raise errors.TenantIsMoving(tenant=self.tenant, seconds=now - self._since, shard=shard) from cause
        return pause

    def _pause(self) -> float:
        longest = min(FIRST_PAUSE * (1 << min(self._refusals - 1, 10)), LONGEST_PAUSE)
        return longest * self.jitter.uniform(0.5, 1.0)
