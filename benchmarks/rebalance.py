"""How good the plans of a rebalance are, and how long they take to make: beside a greedy planner, and over a year.

python benchmarks/rebalance.py [--json] [--svg docs/images/rebalance-year.svg]
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from greedy import Greedy
from shardwright.rebalance.balance import loads
from shardwright.rebalance.plan import RebalancePlan, plan
from shardwright.rebalance.rules import Rules
from shardwright.rebalance.world import ShardState, TenantLoad, World

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
BY_BYTES = Rules(measures={"bytes": 1.0})
BY_BOTH = Rules()
Planner = Callable[[World], Mapping[str, str]]


# --- worlds -------------------------------------------------------------------------------------


def grown(kind: str, tenants: int, shards: int) -> World:
    """A fleet as it has grown: sizes are Zipf's or log-normal, older shards have more tenants."""
    dice = random.Random(kind)
    sizes = [_size(kind, number, dice) for number in range(tenants)]
    made = [
        _tenant(f"tenant-{number}", f"shard_{min(int(dice.betavariate(1, 1.4) * shards), shards - 1)}", size, dice)
        for number, size in enumerate(sizes)
    ]
    return with_sizes(World("main", BEGIN, tuple(made), tuple(_shard(number) for number in range(shards))))


def _size(kind: str, number: int, dice: random.Random) -> int:
    return int(2e11 / (number + 10)) if kind == "zipf" else int(dice.lognormvariate(19, 1.6))


def _tenant(name: str, shard: str, size: int, dice: random.Random) -> TenantLoad:
    return TenantLoad(name, shard, 1, rows=size // 200, bytes=size, writes=size / 1e9 * dice.lognormvariate(0, 1))


def _shard(number: int) -> ShardState:
    return ShardState(f"shard_{number}", f"host-{number // 2}:5432")


def with_sizes(world: World) -> World:
    """Shards as large as what is on them."""
    used = dict.fromkeys((each.name for each in world.shards), 0)
    for each in world.tenants:
        used[each.shard] += each.bytes
    return replace(world, shards=tuple(replace(each, bytes=used[each.name]) for each in world.shards))


def moved(world: World, places: Mapping[str, str]) -> World:
    """With tenants where they were to go."""
    tenants = (replace(each, shard=places.get(each.tenant, each.shard)) for each in world.tenants)
    return with_sizes(replace(world, tenants=tuple(tenants)))


# --- one plan -----------------------------------------------------------------------------------


def compare(kind: str, tenants: int, shards: int) -> list[dict[str, Any]]:
    """A row for each way to plan the same fleet; all are judged by our measure of imbalance."""
    world = grown(kind, tenants, shards)
    rows = []
    for name, rules in (("bytes", BY_BYTES), ("bytes and writes", BY_BOTH)):
        start = time.perf_counter()
        found = plan(world, rules)
        rows.append(_row(f"{kind}: shardwright, {name}", world, rules, _places(found), time.perf_counter() - start))
        rows[-1] |= {"bound_gigabytes": found.bound.cost / 1e9, "bound_imbalance": found.bound.imbalance}
        rows[-1]["over_the_bound"] = found.cost / found.bound.cost - 1 if found.bound.cost else 0.0
    start = time.perf_counter()
    greedy = Greedy(world).plan()
    rows.append(_row(f"{kind}: greedy by size", world, BY_BYTES, greedy, time.perf_counter() - start))
    rows[-1]["imbalance_bytes_and_writes"] = judged(moved(world, greedy), BY_BOTH)
    return rows


def _places(found: RebalancePlan) -> dict[str, str]:
    return {move.tenant: move.target for move in found.moves}


def _row(way: str, world: World, rules: Rules, places: Mapping[str, str], seconds: float) -> dict[str, Any]:
    sizes = {each.tenant: each.bytes for each in world.tenants}
    return {
        "way": way,
        "seconds": seconds,
        "moves": len(places),
        "gigabytes": sum(sizes[tenant] for tenant in places) / 1e9,
        "before": judged(world, rules),
        "after": judged(moved(world, places), rules),
    }


def judged(world: World, rules: Rules) -> float:
    """The imbalance: what the most loaded shard has above its due. A tenant that is more than a full shard is one."""
    of, due = loads(world, rules), 1 / len(world.shards)
    carried = dict.fromkeys((each.name for each in world.shards), 0.0)
    for each in world.tenants:
        carried[each.shard] += min(of[each.tenant], due * (1 + rules.tolerance))
    return max(carried.values()) / due - 1


# --- a year -------------------------------------------------------------------------------------


def year(tenants: int, shards: int, weeks: int) -> dict[str, list[dict[str, Any]]]:
    """Week by week the same growth and churn under each planner: the imbalance before its moves, and what it moves."""
    planners: dict[str, Planner] = {
        "shardwright": lambda world: _places(plan(world, BY_BYTES)),
        "greedy by size": lambda world: Greedy(world).plan(),
        "nobody": lambda _: {},
    }
    return {name: _lived(planner, tenants, shards, weeks) for name, planner in planners.items()}


def _lived(planner: Planner, tenants: int, shards: int, weeks: int) -> list[dict[str, Any]]:
    world, dice = grown("log-normal", tenants, shards), random.Random(7)
    world = moved(world, _places(plan(world, BY_BYTES)))  # all begin from the same even fleet
    found = []
    for week in range(weeks):
        world = _a_week_later(world, week, dice)
        places = planner(world)
        found.append({"week": week + 1, **_row("", world, BY_BYTES, places, 0.0)})
        world = moved(world, places)
    return found


def _a_week_later(world: World, week: int, dice: random.Random) -> World:
    """Tenants grow or shrink, a few at a great pace; one in 200 leaves, more come, to the shard with the fewest."""
    order = sorted(world.tenants, key=lambda each: each.tenant)
    kept = [_a_week_older(each, dice) for each in order if dice.random() > 0.005]
    counts = {each.name: 0 for each in world.shards}
    for each in kept:
        counts[each.shard] += 1
    for number in range(len(order) // 120):
        name = min(counts, key=lambda shard: (counts[shard], shard))
        counts[name] += 1
        kept.append(_tenant(f"new-{week}-{number}", name, int(dice.lognormvariate(17, 1.6)), dice))
    return with_sizes(replace(world, at=world.at + timedelta(weeks=1), tenants=tuple(kept)))


def _a_week_older(each: TenantLoad, dice: random.Random) -> TenantLoad:
    pace = dice.lognormvariate(0.4, 0.3) if dice.random() < 0.01 else dice.lognormvariate(0.01, 0.04)
    size = int(each.bytes * pace)
    return replace(each, bytes=size, rows=size // 200, writes=each.writes * pace)


# --- what is shown --------------------------------------------------------------------------------

COLOURS = ("#2563eb", "#d97706", "#6b7280")
WIDTH, HEIGHT, LEFT = 640, 130, 60


def svg(lines: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The year as two plots, one below the other."""
    panels = [("imbalance before the week's moves, %", "before", 100.0), ("moves in the week", "moves", 1.0)]
    drawn = [
        _panel(title, {name: [row[key] * factor for row in rows] for name, rows in lines.items()}, 40 + 190 * place)
        for place, (title, key, factor) in enumerate(panels)
    ]
    names = "".join(
        f'<text x="{LEFT + 160 * place}" y="16" fill="{colour}">{name}</text>'
        for place, (name, colour) in enumerate(zip(lines, COLOURS, strict=True))
    )
    box = f"0 0 {WIDTH + LEFT + 20} {40 + 190 * len(panels)}"
    style = "font: 13px system-ui, sans-serif"
    parts = "\n".join([names, *drawn])
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" style="{style}">\n{parts}\n</svg>\n'


def _panel(title: str, lines: Mapping[str, Sequence[float]], top: float) -> str:
    most = max(max(values) for values in lines.values()) or 1.0
    bottom = top + 18 + HEIGHT
    found = [
        f'<text x="{LEFT}" y="{top + 10}" fill="#6b7280">{title}</text>',
        f'<path d="M{LEFT} {top + 18}V{bottom}H{LEFT + WIDTH}" fill="none" stroke="#9ca3af"/>',
        f'<text x="{LEFT - 8}" y="{top + 28}" text-anchor="end" fill="#6b7280">{most:.0f}</text>',
        f'<text x="{LEFT - 8}" y="{bottom}" text-anchor="end" fill="#6b7280">0</text>',
    ]
    for (name, values), colour in zip(lines.items(), COLOURS, strict=True):
        points = " ".join(
            f"{LEFT + WIDTH * place / max(1, len(values) - 1):.1f},{bottom - HEIGHT * value / most:.1f}"
            for place, value in enumerate(values)
        )
        found.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2">'
            f"<title>{name}</title></polyline>"
        )
    return "\n".join(found)


def summed(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """A year in figures."""
    return {
        "moves": sum(row["moves"] for row in rows),
        "gigabytes": sum(row["gigabytes"] for row in rows),
        "quiet_weeks": sum(not row["moves"] for row in rows),
        "worst_after": max(row["after"] for row in rows),
        "mean_before": sum(row["before"] for row in rows) / len(rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--year-tenants", type=int, default=1_000)
    parser.add_argument("--year-shards", type=int, default=15)
    parser.add_argument("--weeks", type=int, default=52)
    parser.add_argument("--svg", type=Path, help="where the year is drawn")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    plans = [row for kind in ("zipf", "log-normal") for row in compare(kind, options.tenants, options.shards)]
    lived = year(options.year_tenants, options.year_shards, options.weeks)
    if options.svg:
        options.svg.write_text(svg(lived), encoding="utf-8")
    totals = {name: summed(rows) for name, rows in lived.items()}
    if options.json:
        print(json.dumps({"plans": plans, "year": totals, "weeks": lived}))
        return
    for row in plans:
        print(
            "  ".join(f"{name} {value:.3f}" if isinstance(value, float) else f"{value}" for name, value in row.items())
        )
    for name, figures in totals.items():
        print(name, "  ".join(f"{key} {value:.3g}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
