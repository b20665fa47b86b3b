"""What a planner proposes: which tenant goes where, in which round, and why; frozen values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from shardwright.rebalance.balance import Balance


@dataclass(frozen=True, slots=True)
class PlannedMove:
    """One tenant's move; `number` counts from 1 in the order of beginning, moves of one `round` go on at once.

    `load` is the tenant's share of the fleet's load; `why` is one sentence.
    """

    number: int
    tenant: str
    source: str
    target: str
    bytes: int
    rows: int
    writes: float
    load: float
    round: int
    why: str

    def as_dict(self) -> dict[str, Any]:
        """The move as `--json` prints it."""
        return {**asdict(self), "load": round(self.load, 6), "writes": round(self.writes, 3)}


@dataclass(frozen=True, slots=True)
class Bound:
    """What no plan can do better, within the same rules and budget.

    `imbalance`: no plan leaves less of it (nor lacks less on a shard to be filled), whatever it costs. `cost` in bytes,
    a write gap counted as some: none that reaches the tolerance, or where that can't be what this one reaches, costs
    less. `method` says how that is known.
    """

    imbalance: float
    cost: int
    method: str

    def as_dict(self) -> dict[str, Any]:
        """The bound as `--json` prints it."""
        return {**asdict(self), "imbalance": round(self.imbalance, 4)}


@dataclass(frozen=True, slots=True)
class RefusedTenant:
    """A tenant that ought to go and can't, or not with this plan."""

    tenant: str
    why: str


@dataclass(frozen=True, slots=True)
class RebalancePlan:
    """Moves in the order of beginning, and what they bring.

    `seconds` and `gap_ms` are predictions for all of it: from the first move to the last, windows not counted, and the
    write gaps of all tenants together. `cost` is bytes, each write gap counted as some (`Rules.gap_bytes`).
    """

    moves: tuple[PlannedMove, ...]
    before: Balance
    after: Balance
    bound: Bound
    bytes: int
    cost: int
    seconds: float
    gap_ms: float
    refused: tuple[RefusedTenant, ...] = ()

    @property
    def rounds(self) -> tuple[tuple[PlannedMove, ...], ...]:
        """The moves of each round, in order; a round begins when all before it are at their end."""
        numbers = sorted({move.round for move in self.moves})
        return tuple(tuple(move for move in self.moves if move.round == number) for number in numbers)

    def as_dict(self) -> dict[str, Any]:
        """The plan as `--json` prints it."""
        return {
            "moves": [move.as_dict() for move in self.moves],
            "rounds": len(self.rounds),
            "before": self.before.as_dict(),
            "after": self.after.as_dict(),
            "bound": self.bound.as_dict(),
            "bytes": self.bytes,
            "cost": self.cost,
            "seconds": round(self.seconds, 1),
            "gap_ms": round(self.gap_ms, 1),
            "refused": [asdict(each) for each in self.refused],
        }
