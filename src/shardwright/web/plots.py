"""Lines over time as values that a template draws: a path, its scale, and what it says in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from shardwright.web import words

WIDTH, HEIGHT = 1000, 100  # of the drawing, which is stretched to its place
_STEPS = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
Point = tuple[datetime, float | None]
Unit = Callable[[float | None], str]


@dataclass(frozen=True)
class Mark:
    """A moment worth a line: `at` in percent of the width."""

    at: float
    label: str


@dataclass(frozen=True)
class Plot:
    """One line. `line` and `area` are SVG paths in a box of WIDTH by HEIGHT; gaps in it are where nothing is known."""

    title: str
    line: str
    area: str
    top: str
    now: str
    peak: str
    begin: datetime
    end: datetime
    marks: tuple[Mark, ...] = ()

    @property
    def told(self) -> str:
        """The line in words, for whoever does not see it."""
        return f"{self.title}: {self.now} at last, {self.peak} at most"


def plot(
    title: str, points: Sequence[Point], unit: Unit = words.short, *, marks: Sequence[tuple[datetime, str]] = ()
) -> Plot | None:
    """The line through `points`, in their order; None where fewer than two of them have a value."""
    known = [value for _, value in points if value is not None]
    if len(known) < 2:
        return None
    begin, end = points[0][0], points[-1][0]
    seconds = (end - begin).total_seconds() or 1.0
    top = _above(max(known))
    parts = _parts(points, begin, seconds, top)
    return Plot(
        title=title,
        line="".join(_path(part) for part in parts),
        area="".join(f"{_path(part)}L{part[-1][0]:.1f} {HEIGHT}L{part[0][0]:.1f} {HEIGHT}Z" for part in parts),
        top=unit(top),
        now=unit(known[-1]),
        peak=unit(max(known)),
        begin=begin,
        end=end,
        marks=tuple(
            Mark(100 * (at - begin).total_seconds() / seconds, label) for at, label in marks if begin <= at <= end
        ),
    )


def rates(points: Sequence[tuple[datetime, float]], *, at_most: int = 120) -> list[Point]:
    """How much more in a second, from one point to a later one; what begins anew counts as nothing."""
    if len(points) < 2:
        return []
    step = max(1, len(points) // at_most)
    thinned = [*points[::step], points[-1]] if (len(points) - 1) % step else list(points[::step])
    found: list[Point] = []
    for (before, less), (after, more) in pairwise(thinned):
        seconds = (after - before).total_seconds()
        if seconds > 0:
            found.append((after, max(0.0, more - less) / seconds))
    return found


def _parts(points: Sequence[Point], begin: datetime, seconds: float, top: float) -> list[list[tuple[float, float]]]:
    """The line's pieces between gaps; a lone point is a short piece."""
    parts: list[list[tuple[float, float]]] = [[]]
    for at, value in points:
        if value is None:
            parts.append([])
        else:
            x = WIDTH * (at - begin).total_seconds() / seconds
            parts[-1].append((x, HEIGHT * (1 - value / top)))
    return [part if len(part) > 1 else [part[0], (part[0][0] + 2, part[0][1])] for part in parts if part]


def _path(part: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in part)


def _above(value: float) -> float:
    """The next round number, so that the scale does not jump with every point."""
    if value <= 0:
        return 1.0
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value:
        power /= 10
    return next(step * power for step in _STEPS if step * power >= value * (1 - 1e-9))
