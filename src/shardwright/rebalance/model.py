"""The problem as a linear program.

Large units, and those that are to be apart, have a column for each shard they may be on. The many small ones are sand:
a column each says whether it leaves, and what leaves flows to the shards by kind, so that ten thousand tenants on a
hundred shards are ten thousand columns and not a million. Whatever a plan may do this program may do as well, so its
bounds hold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import inf
from typing import Final

from shardwright.rebalance.problem import Problem, Unit
from shardwright.rebalance.program import Answer, Program

_OPTIONS_AT_MOST: Final = 600  # columns of units with one for each shard: the largest units get them
STAY: Final = ""
Choice = tuple[str, str]  # a unit's name and its target, or STAY


@dataclass(frozen=True, slots=True)
class Tightening:
    """What a second try keeps to besides: `cuts` are sets of choices of which not all may be made; `staying` are units
    of sand that found no place; `margin` is a share of budget and disk, left since floats are inexact.
    """

    cuts: tuple[frozenset[Choice], ...] = ()
    staying: frozenset[str] = frozenset()
    margin: float = 0.0
    frees: bool = False


@dataclass(slots=True)
class Model:
    """The program with what its columns mean."""

    problem: Problem
    tight: Tightening
    program: Program = field(default_factory=Program)
    choices: dict[Choice, int] = field(default_factory=dict)
    leaving: dict[str, int] = field(default_factory=dict)
    moving: dict[int, int] = field(default_factory=dict)
    penalties: dict[int, float] = field(default_factory=dict)
    penalty_row: int = 0
    worst: int = 0

    def choices_made(self, values: Sequence[float]) -> Iterator[Choice]:
        """The targets of large units that go somewhere."""
        return (choice for choice, column in self.choices.items() if choice[1] is not STAY and values[column] > 0.5)

    def sand_leaving(self, values: Sequence[float]) -> Iterator[str]:
        """The small units that go somewhere."""
        return (name for name, column in self.leaving.items() if values[column] > 0.5)

    # --- what is made small --------------------------------------------------------------

    def aim_at_penalties(self) -> None:
        """As few tenants as possible are left where they ought not to be; nothing else counts."""
        self._aim(self.penalties)
        self._let_worst(0.0, inf)

    def keep_penalties(self, most: float) -> None:
        """No more of them from now on."""
        self.program.limits[self.penalty_row] = (-inf, most + 1e-6)

    def aim_at_worst(self, least: float) -> None:
        """The shards as even as possible; below `least` all are alike."""
        self._aim({self.worst: 1.0})
        self._let_worst(least, inf)

    def aim_at_cost(self, most: float) -> None:
        """The cheapest moves with which the shards are no less even than `most`."""
        scale = self.cost_scale
        self._aim({column: cost / scale for column, cost in self.moving.items()})
        self._let_worst(0.0, most + 1e-9)

    @property
    def cost_scale(self) -> float:
        """By how much costs are divided."""
        return max(1.0, sum(self.moving.values()) / max(1, len(self.moving)))

    def _aim(self, costs: Mapping[int, float]) -> None:
        self.program.costs = [costs.get(column, 0.0) for column in range(len(self.program.costs))]

    def _let_worst(self, lower: float, upper: float) -> None:
        self.program.lowers[self.worst], self.program.uppers[self.worst] = lower, upper

    def left_behind(self, answer: Answer) -> float:
        """How many tenants stay where they ought not to be."""
        return round(sum(weight * answer.values[column] for column, weight in self.penalties.items()))


def is_open(unit: Unit) -> bool:
    """Whether a plan may do anything with it."""
    return bool(unit.targets) and not unit.frozen


def model_of(problem: Problem, tight: Tightening) -> Model:
    """The program of `problem`."""
    made = _Builder(Model(problem, tight))
    made.build()
    return made.model


class _Builder:
    def __init__(self, model: Model) -> None:
        self.model, self.problem, self.program = model, model.problem, model.program
        problem = self.problem
        self.scale = len(problem.due) or 1
        self.level = problem.level()
        self.load_rows: dict[str, int] = {}
        self.floor_rows: dict[str, int] = {}
        open_units = [unit for unit in problem.units if is_open(unit)]
        self.sizes = max([1, *(each.bytes for unit in open_units for each in unit.members)])
        self.large, self.sand = _divided(problem, open_units)
        self.room = {host: max(0, room) for host, room in problem.room.items()}
        self.room_rows: dict[str, int] = {}
        self.budget_row: int | None = None

    def build(self) -> None:
        self._rows()
        entries = dict.fromkeys(self.load_rows.values(), -1.0) | dict.fromkeys(self.floor_rows.values(), 1.0)
        self.model.worst = self.program.column(entries, upper=inf)
        for unit in self.large:
            self._large(unit)
        self._apart()
        for kin, units in _by_kin(self.sand).items():
            self._sand(kin, units)
        for cut in self.model.tight.cuts:
            columns = [self.model.choices.get(choice) for choice in sorted(cut)]
            if None not in columns:
                self._at_most([column for column in columns if column is not None], len(columns) - 1)

    def _rows(self) -> None:
        problem, margin = self.problem, 1 - self.model.tight.margin
        for name in problem.due:
            self.load_rows[name] = self.program.row(upper=1 - self.level[name])
        for name in sorted(problem.filled & problem.due.keys()):
            self.floor_rows[name] = self.program.row(lower=1 - problem.carried[name] / problem.due[name])
        for host, room in self.room.items():
            self.room_rows[host] = self.program.row(upper=room / self._unit_of(host) * margin)
        if problem.rules.most_bytes is not None:
            self.budget_row = self.program.row(upper=margin)
        self.model.penalty_row = self.program.row()

    def _unit_of(self, host: str) -> float:
        """The bytes that count as 1 in its row."""
        return max(1, self.room[host], self.sizes if self.model.tight.frees else 1)

    # --- large units --------------------------------------------------------------------

    def _large(self, unit: Unit) -> None:
        one = self.program.row(1, 1)
        must = float(len(unit.members)) if unit.must else 0.0
        self._choice(unit, STAY, {one: 1.0, self.model.penalty_row: must}, 0, must)
        for target in unit.targets:
            cost = self.problem.cost(unit.leaving_for(target))
            self._choice(unit, target, {one: 1.0, **self._entries(unit, target)}, cost, 0.0)

    def _choice(self, unit: Unit, target: str, entries: Mapping[int, float], cost: int, penalty: float) -> None:
        column = self.program.column(entries, whole=True)
        self.model.choices[unit.name, target] = column
        if cost:
            self.model.moving[column] = cost
        if penalty:
            self.model.penalties[column] = penalty

    def _entries(self, unit: Unit, target: str) -> dict[int, float]:
        """What its move changes in each row."""
        entries: dict[int, float] = defaultdict(float)
        movers = unit.leaving_for(target)
        size = sum(each.bytes for each in movers)
        host = self.problem.host(target)
        self._spend(entries, size)
        if host in self.room_rows:
            entries[self.room_rows[host]] += size / self._unit_of(host)
        for each in movers:
            load = self.problem.load[each.tenant]
            self._shift(entries, target, load)
            self._shift(entries, each.shard, -load)
            self._free(entries, each.shard, each.bytes)
        for shard, sign in ((target, -1), (unit.home, 1)):
            if shard in self.load_rows:
                entries[self.load_rows[shard]] += sign * unit.excess
        return entries

    def _spend(self, entries: dict[int, float], size: int) -> None:
        if self.budget_row is not None:
            entries[self.budget_row] += size / max(self.problem.rules.most_bytes or 0, 1)

    def _shift(self, entries: dict[int, float], shard: str, load: float) -> None:
        for rows in (self.load_rows, self.floor_rows):
            if shard in rows:
                entries[rows[shard]] += load / self.problem.due[shard]

    def _free(self, entries: dict[int, float], shard: str, size: int) -> None:
        row = self.room_rows.get(self.problem.host(shard)) if self.model.tight.frees else None
        if row is not None:
            entries[row] -= size / self._unit_of(self.problem.host(shard))

    # --- tenants apart --------------------------------------------------------------------

    def _apart(self) -> None:
        units = {each.tenant: unit for unit in self.problem.units for each in unit.members}
        crowded = set(self.problem.crowded)
        for group in self.problem.apart:
            for shard in self.problem.shards:
                self._one_of(group, shard, units, is_crowded=(group, shard) in crowded)

    def _one_of(self, group: frozenset[str], shard: str, units: Mapping[str, Unit], *, is_crowded: bool) -> None:
        """At most one of the group ends there; where more are already, those who stay count, and nobody comes."""
        model = self.model
        staying: list[int] = []  # columns under which a tenant of the group who is there stays
        coming: list[int] = []
        fixed = 0
        for tenant in sorted(group):
            unit, is_there = units[tenant], self.problem.at[tenant].shard == shard
            stay = model.choices.get((unit.name, STAY))
            come = model.choices.get((unit.name, shard))
            fixed += is_there and stay is None
            staying += [column for column in (stay, come) if column is not None and is_there]
            coming += [come] if come is not None and not is_there else []
        if not is_crowded:
            self._at_most([*staying, *coming], 1 - fixed)
            return
        for column, other in product(coming, staying):
            self._at_most([column, other], 1)
        self._at_most(coming, 0 if fixed else 1)
        over = self.program.column({model.penalty_row: 1.0}, upper=len(group))
        model.penalties[over] = 1.0
        self._at_most(staying, 1 - fixed, less={over: -1.0})

    def _at_most(self, columns: Iterable[int], limit: float, less: Mapping[int, float] | None = None) -> None:
        factors: dict[int, float] = defaultdict(float, less or {})
        for column in columns:
            factors[column] += 1.0
        row = self.program.row(upper=limit)
        for column, factor in factors.items():
            self.program.entries[column][row] = factor

    # --- sand -------------------------------------------------------------------------------

    def _sand(self, kin: frozenset[str], units: Sequence[Unit]) -> None:
        """Whether each leaves, and how much of all that leaves comes to each shard of its kind."""
        loads, sizes = self.program.row(0, 0), self.program.row(0, 0)
        for unit in units:
            self._grain(unit, loads, sizes)
        for shard in sorted(kin):
            entries = defaultdict(float, {loads: -1.0})
            self._shift(entries, shard, 1 / self.scale)
            self.program.column(entries, upper=inf)
            host = self.problem.host(shard)
            into = {self.room_rows[host]: self.sizes / self._unit_of(host)} if host in self.room_rows else {}
            self.program.column({sizes: -1.0, **into}, upper=inf)

    def _grain(self, unit: Unit, loads: int, sizes: int) -> None:
        assert unit.home is not None  # noqa: S101 sand is whole
        size = sum(each.bytes for each in unit.members)
        entries: dict[int, float] = defaultdict(float)
        self._spend(entries, size)
        self._shift(entries, unit.home, -unit.load)
        self._free(entries, unit.home, size)
        entries[loads] += unit.load * self.scale
        entries[sizes] += size / self.sizes
        if unit.must:
            entries[self.model.penalty_row] -= len(unit.members)
        may_go = unit.name not in self.model.tight.staying
        column = self.program.column(entries, upper=float(may_go), whole=True)
        self.model.leaving[unit.name] = column
        self.model.moving[column] = self.problem.cost(unit.members)
        if unit.must:
            self.model.penalties[column] = -float(len(unit.members))


def _divided(problem: Problem, units: Sequence[Unit]) -> tuple[list[Unit], list[Unit]]:
    """The units that get a column for each shard, and the sand."""
    special = {tenant for group in problem.apart for tenant in group}
    of_their_own = [unit for unit in units if unit.home is None or any(each.tenant in special for each in unit.members)]
    own_names = {unit.name for unit in of_their_own}
    rest = sorted(
        (unit for unit in units if unit.name not in own_names), key=lambda unit: (-unit.load, -_size(unit), unit.name)
    )
    left = _OPTIONS_AT_MOST - sum(1 + len(unit.targets) for unit in of_their_own)
    large = list(of_their_own)
    for place, unit in enumerate(rest):
        left -= 1 + len(unit.targets)
        if left < 0:
            return large, sorted(rest[place:], key=lambda unit: unit.name)
        large.append(unit)
    return large, []


def _size(unit: Unit) -> int:
    return sum(each.bytes for each in unit.members)


def _by_kin(units: Sequence[Unit]) -> dict[frozenset[str], list[Unit]]:
    found: dict[frozenset[str], list[Unit]] = defaultdict(list)
    for unit in units:
        found[unit.kin].append(unit)
    return dict(sorted(found.items(), key=lambda item: sorted(item[0])))
