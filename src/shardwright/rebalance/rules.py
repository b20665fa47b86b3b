"""What a plan must keep to and aim at: `[rebalance]` as the planner takes it; a frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from shardwright.config import MEASURES, Config, Measure
from shardwright.windows import Window

BYTES_A_SECOND: Final = 30e6  # between a server with slow disks and one that has all in memory, comparison included
MOVE_SECONDS: Final = 2.0  # what every move does besides copying: triggers, catch-up, switch
GAP_MS: Final = 20.0  # the usual write gap of a tenant (benchmarks/README.md)
GAP_BYTES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one plan; without arguments those of an empty `[rebalance]`.

    `frees_after`: a source has its bytes back so many rounds after the move, since moves are finished between rounds;
    None: not before the end of the plan. `gap_bytes`: one write gap counts as much as copying so many bytes. The last
    three say how long things take: bytes a second of one move, its seconds besides, milliseconds of a write gap.
    """

    measures: Mapping[Measure, float] = field(default_factory=lambda: MEASURES)
    tolerance: float = 0.1
    most_bytes: int | None = None
    high_water: float = 0.8
    per_host: int = 2
    windows: tuple[Window, ...] = ()
    pinned: frozenset[str] = frozenset()
    together: tuple[tuple[str, ...], ...] = ()
    apart: tuple[tuple[str, ...], ...] = ()
    load_query: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    frees_after: int | None = None
    gap_bytes: int = GAP_BYTES
    bytes_per_second: float = BYTES_A_SECOND
    move_seconds: float = MOVE_SECONDS
    gap_ms: float = GAP_MS

    @classmethod
    def of(cls, config: Config) -> Rules:
        """The rules as the configuration has them; moves that are throttled take longer."""
        section = config.rebalance
        return cls(
            measures=section.measures,
            tolerance=section.tolerance,
            most_bytes=section.most_bytes,
            high_water=section.high_water,
            per_host=section.per_host,
            windows=section.windows,
            pinned=frozenset(section.pinned),
            together=section.together,
            apart=section.apart,
            load_query=section.load_query,
            labels=section.labels,
            shares=section.shares,
            bytes_per_second=min(BYTES_A_SECOND, config.moves.bytes_per_second or BYTES_A_SECOND),
        )
