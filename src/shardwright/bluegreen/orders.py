"""Which tenants an operator's order is for: those that are named, a share of all, or all that are not there yet."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from shardwright.transfer.everyone import Tenant


def meant(
    left: Sequence[Tenant], *, of: int, named: Collection[str] | None = None, share: float | None = None
) -> list[Tenant]:
    """Those of `left`, who are still on the other side; `of` is how many tenants there are in all."""
    if named is not None:
        return [each for each in left if each.tenant in named]
    if share is not None:
        return [*left[: max(1, math.ceil(of * share))]]
    return [*left]
