"""Whether the shards carry alike: the most loaded beside the least."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from shardwright.monitor.vitals import Vitals

Measure = Literal["tenants", "bytes", "writes"]

# Below these the most loaded shard has so little that nobody would move anything: three tenants beside one, say.
_WORTH_A_WORD: Mapping[Measure, float] = {"tenants": 20, "bytes": 256e6, "writes": 20}
_OF: Mapping[Measure, Callable[[Vitals], float | None]] = {
    "tenants": lambda vitals: vitals.tenants,
    "bytes": lambda vitals: vitals.bytes,
    "writes": lambda vitals: vitals.writes_per_second,
}


@dataclass(frozen=True, slots=True)
class Uneven:
    """One measure in which the shards differ too much; `writes` is in rows a second, an empty shard counts as one."""

    of: Measure
    most: str
    most_has: float
    least: str
    least_has: float

    @property
    def ratio(self) -> float:
        """How many times more the one has."""
        return self.most_has / max(self.least_has, 1.0)

    def as_dict(self) -> dict[str, Any]:
        """The measure as `--json` prints it."""
        return {**asdict(self), "ratio": round(self.ratio, 1)}


def uneven(vitals: Sequence[Vitals], *, most: float) -> tuple[Uneven, ...]:
    """The measures in which one shard has more than `most` times what another has, and enough for it to matter."""
    return tuple(found for measure in _OF if (found := _compared(vitals, measure)) and found.ratio > most)


def _compared(vitals: Sequence[Vitals], measure: Measure) -> Uneven | None:
    known = [(value, each.shard) for each in vitals if (value := _OF[measure](each)) is not None]
    if not known:
        return None
    (least_has, least), (most_has, most) = min(known), max(known)
    return Uneven(measure, most, most_has, least, least_has) if most_has >= _WORTH_A_WORD[measure] else None
