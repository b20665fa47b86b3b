"""Why this tenant, why there, and why another one stays: sentences with the figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from shardwright.rebalance.problem import Problem, Unit, unlike
from shardwright.rebalance.proposal import RefusedTenant
from shardwright.rebalance.world import TenantLoad


def why(problem: Problem, unit: Unit, tenant: TenantLoad, target: str) -> str:
    """Why `tenant`, which is one of `unit`, goes to `target`."""
    return f"{_why_leave(problem, unit, tenant)}; {_why_there(problem, unit, tenant, target)}"


def _why_leave(problem: Problem, unit: Unit, tenant: TenantLoad) -> str:
    if unit.must:
        return unit.must
    for group, shard in problem.crowded:
        if shard == tenant.shard and tenant.tenant in group:
            others = [each for each in sorted(group) if each != tenant.tenant and problem.at[each].shard == shard]
            return f"{tenant.tenant} and {others[0]} are to be apart, and both are on {shard}"
    share = problem.load[tenant.tenant]
    has = f"{tenant.tenant} has {_percent(share)} of the fleet's load in {size(tenant.bytes)}{_beside(problem, tenant)}"
    with_it = [each.tenant for each in unit.members if each is not tenant]
    company = f", and goes with {' and '.join(with_it)}" if with_it else ""
    return f"{tenant.shard} carries {_off(problem, tenant.shard)}; {has}{company}"


def _beside(problem: Problem, tenant: TenantLoad) -> str:
    """How much load it takes along for its bytes, beside its shard as a whole."""
    there = [each for each in problem.at.values() if each.shard == tenant.shard]
    load, total = problem.carried[tenant.shard], sum(each.bytes for each in there)
    if not (tenant.bytes and load and total):
        return ""
    ratio = problem.load[tenant.tenant] / tenant.bytes * total / load
    return f", {ratio:.1f} times the load for each byte that its shard has" if ratio >= 1.05 else ""


def _why_there(problem: Problem, unit: Unit, tenant: TenantLoad, target: str) -> str:
    labels = [f"{name}={value}" for name, value in sorted(tenant.labels.items())]
    among = f" of {len(unit.targets)} it may go to" if len(unit.targets) > 1 else ", the only one it may go to"
    if labels:
        among += f" ({', '.join(labels)})"
    asked = ", which is to be filled" if target in problem.filled else ""
    return f"{target}{asked} carries {_off(problem, target)}{among if len(unit.targets) > 1 or not asked else ''}"


def _off(problem: Problem, shard: str) -> str:
    """How much a shard carries beside its due before the plan."""
    due = problem.due.get(shard)
    if due is None:
        return "no load that was measured" if shard not in problem.empty else "what is to be gone"
    off = problem.carried[shard] / due - 1
    return (
        "exactly its due" if abs(off) < 0.0005 else f"{_percent(abs(off))} {'more' if off > 0 else 'less'} than its due"
    )


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 or share == 0 else f"{share:.3%}"


def size(number: int) -> str:
    """So many bytes, in the unit that people read."""
    for unit, step in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= step:
            return f"{number / step:.3g} {unit}"
    return f"{number} bytes"


def refused(problem: Problem, targets: Mapping[str, str]) -> Iterator[RefusedTenant]:
    """Tenants that ought to leave where they are and stay, each with what hinders it."""
    for unit in problem.units:
        if unit.must and unit.name not in targets:
            for each in unit.members:
                yield RefusedTenant(each.tenant, f"{unit.must}, but {_hindrance(problem, unit, each)}")
    left = {each.tenant for unit in problem.units if unit.name in targets for each in unit.members}
    for group, shard in problem.crowded:
        staying = [each for each in sorted(group) if problem.at[each].shard == shard and each not in left]
        for tenant in staying[1:]:
            unit = next(unit for unit in problem.units if any(each.tenant == tenant for each in unit.members))
            if not unit.must:
                reason = (
                    f"{tenant} and {staying[0]} are to be apart, but {_hindrance(problem, unit, problem.at[tenant])}"
                )
                yield RefusedTenant(tenant, reason)


def _hindrance(problem: Problem, unit: Unit, tenant: TenantLoad) -> str:
    if unit.frozen:
        return f"{tenant.tenant} is pinned" if unit.frozen == "pinned" else unit.frozen
    if not unit.kin:
        return _no_kin(problem, unit, tenant)
    needs = size(sum(each.bytes for each in unit.members))
    if not unit.targets:
        most = problem.rules.most_bytes
        if most is not None and sum(each.bytes for each in unit.members) > most:
            return f"its {needs} are more than most_bytes"
        return f"no host that it may go to has room for its {needs} below its high-water mark"
    return "budget, disks and the other rules leave no place for it beside the others"


def _no_kin(problem: Problem, unit: Unit, tenant: TenantLoad) -> str:
    open_shards = [each for each in problem.shards.values() if each.takes_new and each.name not in problem.empty]
    labels = {name for each in open_shards for member in unit.members for name in unlike(member, each)}
    if open_shards and labels:
        return f"no shard that takes tenants has its {' and '.join(sorted(labels))}"
    return f"no shard takes {tenant.tenant}"
