"""What a rebalance may be told: which shards are to be emptied or filled, and how its moves are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from shardwright.move.start import MoveOptions


@dataclass(frozen=True)
class RebalanceOptions:
    """`empty`: shards that nobody is to be left on. `only_to`: shards that tenants may go to; () is any. The others are
    those of each move; `keep` None: as [limits] says."""

    empty: tuple[str, ...] = ()
    only_to: tuple[str, ...] = ()
    keep: timedelta | None = None
    streams: int | None = None
    bytes_per_second: int | None = None
    allow: tuple[str, ...] = ()

    def of_move(self, target: str) -> MoveOptions:
        """What each of its moves is told."""
        return MoveOptions(target, self.keep, self.streams, self.bytes_per_second, allow=self.allow)

    def as_data(self) -> dict[str, Any]:
        """As the run keeps them."""
        return {**asdict(self), "keep": None if self.keep is None else self.keep.total_seconds()}

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> RebalanceOptions:
        """As they were kept."""
        keep = data["keep"]
        lists = {name: tuple(data[name]) for name in ("empty", "only_to", "allow")}
        return cls(**{**data, **lists, "keep": None if keep is None else timedelta(seconds=keep)})
