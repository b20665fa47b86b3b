"""How long it will still take, with an honest band: from the rates that were measured, not from one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import quantiles
from typing import Any

_LEAST = 4  # rates below which nothing is foretold
_NEWEST = 60


@dataclass(frozen=True)
class Eta:
    """Seconds still to go: as likely sooner as later than `likely`; eight times of ten between `early` and `late`."""

    early: float
    likely: float
    late: float


def eta(samples: Sequence[tuple[float, Mapping[str, Any]]]) -> Eta | None:
    """From (moment in seconds, progress) of one phase, oldest first; None where that is too little to tell.

    Each pair of neighbours gives a rate. What is left over by their mean is the likely time, over their 10th and 90th
    percentile the band.
    """
    newest = samples[-1][1] if samples else {}
    total, done = newest.get("total"), newest.get("done", 0)
    same = [(at, data["done"]) for at, data in samples if data.get("phase") == newest.get("phase")][-_NEWEST:]
    pairs = [(later[0] - earlier[0], later[1] - earlier[1]) for earlier, later in pairwise(same)]
    steps = [(seconds, rows) for seconds, rows in pairs if seconds > 0 and rows >= 0]
    if total is None or len(steps) < _LEAST:
        return None
    usual = sum(rows for _, rows in steps) / sum(seconds for seconds, _ in steps)
    if not usual > 0:
        return None
    tenths = quantiles([rows / seconds for seconds, rows in steps], n=10, method="inclusive")
    slow, fast = min(tenths[0], usual), max(tenths[8], usual)
    if not slow > 0:  # it stood still for a tenth of the time: as much slower than usual as it was ever faster
        slow = usual * (usual / fast)
    left = max(0.0, total - done)
    return Eta(left / fast, left / usual, left / slow)
