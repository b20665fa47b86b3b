"""Which green shard each tenant goes to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from shardwright import errors
from shardwright.bluegreen.shard_sets.loads import Load
from shardwright.catalog import placement

Policy: TypeAlias = Literal["pairs", "least_loaded", "modulo"]
_Weight: TypeAlias = tuple[int, int, int]


def assign(
    tenants: Mapping[str, Load], blue: Sequence[str], green: Sequence[str], policy: Policy, pins: Mapping[str, str]
) -> dict[str, str]:
    """Each tenant's green shard; the same for the same arguments, in whatever order the tenants come.

    `pairs`: the first of `blue` gives all to the first of `green`, and so on. `least_loaded`: the largest tenant first
    (bytes, then rows), each to the shard that has least by then. `modulo`: by the hash of the id, as new tenants are
    placed. `pins` go first and count as load; one for a tenant that is not there does nothing. For tenants that came
    later give those assigned before as pins. Raises GreenNotPlaced where a pin names no green shard, or `pairs` has no
    pairs.
    """
    _require_known(pins, green)
    pinned = {tenant: pins[tenant] for tenant in tenants if tenant in pins}
    rest = {tenant: load for tenant, load in tenants.items() if tenant not in pins}
    if policy == "pairs":
        partner = _partners(blue, green)
        return pinned | {tenant: partner[load.shard] for tenant, load in rest.items()}
    if policy == "modulo":
        return pinned | {tenant: placement.choose(tenant, green, "modulo", {}) for tenant in rest}
    return pinned | _level(tenants, pinned, rest, green)


def _level(
    tenants: Mapping[str, Load], pinned: Mapping[str, str], rest: Mapping[str, Load], green: Sequence[str]
) -> dict[str, str]:
    """Largest first onto the least loaded (longest processing time): at most a third worse than the best possible."""
    weights: dict[str, _Weight] = defaultdict(lambda: (0, 0, 0))
    for tenant, shard in pinned.items():
        weights[shard] = _more(weights[shard], tenants[tenant])
    found = {}
    for tenant in sorted(rest, key=lambda each: (-rest[each].bytes, -rest[each].rows, each)):
        shard = min(green, key=lambda name: weights[name])
        weights[shard] = _more(weights[shard], rest[tenant])
        found[tenant] = shard
    return found


def _more(weight: _Weight, load: Load) -> _Weight:
    """Where all are empty it is the number of tenants that is levelled."""
    return weight[0] + load.bytes, weight[1] + load.rows, weight[2] + 1


def _partners(blue: Sequence[str], green: Sequence[str]) -> dict[str, str]:
    if len(blue) != len(green):
        reason = f"pairs need as many green shards as blue ones, and there are {len(green)} to {len(blue)}"
        raise errors.GreenNotPlaced(reason=reason, help='placement = "least_loaded" under [bluegreen]')
    return dict(zip(blue, green, strict=True))


def _require_known(pins: Mapping[str, str], green: Sequence[str]) -> None:
    for tenant, shard in pins.items():
        if shard not in green:
            reason = f"tenant {tenant!r} is pinned to {shard}, and the green shards are {', '.join(green)}"
            raise errors.GreenNotPlaced(reason=reason, help="mend the line under [bluegreen.pins]")
