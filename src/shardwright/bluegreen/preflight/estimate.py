"""How much a change has to carry, and how long that will take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shardwright.bluegreen.preflight.ground import Ground
from shardwright.bluegreen.shard_sets.loads import Load
from shardwright.move.preflight.estimate import seconds_for, write_gap


@dataclass(frozen=True)
class Estimate:
    """What a change carries until green is in step. `seconds` is a band, from fast to slow servers; `write_gap` in
    seconds, of one tenant that writes little."""

    rows: int
    bytes: int
    seconds: tuple[float, float]
    write_gap: float

    def as_dict(self) -> dict[str, Any]:
        """The estimate as `--json` prints it."""
        return {
            "rows": self.rows,
            "bytes": self.bytes,
            "seconds": [round(each, 1) for each in self.seconds],
            "write_gap": round(self.write_gap, 3),
        }


def estimate(ground: Ground) -> Estimate:
    """From how much each tenant has. Shards that give to, or get from, one another are copied one lane after the other;
    others at once. Raises GreenNotPlaced, psycopg.Error."""
    loads = ground.loads
    slowest = max(_together(ground.placed, loads), key=lambda each: each[1], default=(0, 0))
    gap = write_gap((ground.blue[0], ground.green[0] if ground.green else ground.blue[0]))
    rows, size = sum(each.rows for each in loads.values()), sum(each.bytes for each in loads.values())
    return Estimate(rows, size, seconds_for(*slowest), gap)


def _together(placed: Mapping[str, str], loads: Mapping[str, Load]) -> list[tuple[int, int]]:
    """Rows and bytes of each group of shards that share tenants' ways."""
    leader: dict[str, str] = {}

    def of(name: str) -> str:
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    for tenant, green in placed.items():
        leader[of(f"green {green}")] = of(f"blue {loads[tenant].shard}")
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for load in loads.values():
        total = totals[of(f"blue {load.shard}")]
        total[0] += load.rows
        total[1] += load.bytes
    return [(rows, size) for rows, size in totals.values()]
