"""In which rounds: so that no moment of the plan breaks a rule, and moves that go on at once are of like size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from shardwright.rebalance.model import Choice
from shardwright.rebalance.problem import Problem, Unit
from shardwright.rebalance.world import TenantLoad


@dataclass(frozen=True, slots=True)
class Order:
    """The round of each tenant that moves, from 1. `blocked`: choices that wait for one another; then there is none."""

    rounds: Mapping[str, int] = field(default_factory=dict)
    blocked: frozenset[Choice] = frozenset()
    has_room: bool = True


def order(problem: Problem, targets: Mapping[str, str], *, frees: bool) -> Order:
    """Rounds for the units that go: the largest first, each in the first round with place for it.

    Who comes to a shard from which a tenant has to be gone first waits for that. Tenants that go together do so in
    rounds without another between.
    """
    units = {unit.name: unit for unit in problem.units if unit.name in targets}
    waits = _waits(problem, units, targets)
    sorter = TopologicalSorter(waits)
    try:
        sorter.prepare()
    except CycleError as error:
        return Order(blocked=frozenset((name, targets[name]) for name in error.args[1]))
    rounds = _Rounds(problem, frees=frees)
    ready: list[Unit] = []
    while sorter.is_active():
        ready = sorted([*ready, *(units[name] for name in sorter.get_ready())], key=_largest_first)
        placed = next((unit for unit in ready if rounds.place(unit, targets[unit.name], waits[unit.name])), None)
        if placed is None:
            return Order(has_room=False)
        ready.remove(placed)
        sorter.done(placed.name)
    return Order(rounds.of)


def _largest_first(unit: Unit) -> tuple[int, str]:
    return -max(each.bytes for each in unit.members), unit.name


def _waits(problem: Problem, units: Mapping[str, Unit], targets: Mapping[str, str]) -> dict[str, set[str]]:
    """For each unit those that have to be gone before it comes."""
    unit_of = {each.tenant: unit for unit in units.values() for each in unit.members}
    waits: dict[str, set[str]] = {name: set() for name in sorted(units)}
    for group in problem.apart:
        movers = [tenant for tenant in sorted(group) if tenant in unit_of]
        for tenant in movers:
            unit = unit_of[tenant]
            target = targets[unit.name]
            here = [other for other in movers if other != tenant and problem.at[other].shard == target]
            if problem.at[tenant].shard != target:
                waits[unit.name] |= {unit_of[other].name for other in here} - {unit.name}
    return waits


class _Rounds:
    """Rounds as they fill: moves on each host, bytes that come to it and leave it."""

    def __init__(self, problem: Problem, *, frees: bool) -> None:
        self.problem = problem
        self.after = problem.rules.frees_after if frees else None
        self.of: dict[str, int] = {}
        self.last = 0
        self.touching: dict[tuple[str, int], int] = defaultdict(int)
        self.coming: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        self.freed: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))

    def place(self, unit: Unit, target: str, waits: set[str]) -> bool:
        """`unit` in the first rounds that have place for it, behind those of whom it waits for; False: none has."""
        movers = sorted(unit.leaving_for(target), key=lambda each: (-each.bytes, each.tenant))
        units = {name: self._end_of(name) for name in waits}
        first = max(units.values(), default=0) + 1
        for begin in range(first, max(self.last, first) + 2 + (self.after or 0)):
            if self._tried(movers, target, begin):
                return True
        return False

    def _end_of(self, name: str) -> int:
        unit = next(unit for unit in self.problem.units if unit.name == name)
        return max(self.of.get(each.tenant, 0) for each in unit.members)

    def _tried(self, movers: Sequence[TenantLoad], target: str, begin: int) -> bool:
        """All of them from round `begin` on, at least one in each until none is left; else nothing has changed."""
        left, number = list(movers), begin
        placed: list[tuple[TenantLoad, int]] = []
        while left:
            fitting = self._fill(left, target, number)
            if not fitting:
                for each, round_number in placed:
                    self._book(each, target, round_number, -1)
                return False
            placed += [(each, number) for each in fitting]
            left = [each for each in left if each not in fitting]
            number += 1
        self.of.update({each.tenant: round_number for each, round_number in placed})
        self.last = max(self.last, number - 1)
        return True

    def _fill(self, movers: Sequence[TenantLoad], target: str, number: int) -> list[TenantLoad]:
        """Those that round `number` has place for, booked there."""
        found = []
        for each in movers:
            if self._has_place(each, target, number):
                self._book(each, target, number, 1)
                found.append(each)
        return found

    def _has_place(self, mover: TenantLoad, target: str, number: int) -> bool:
        hosts = {self.problem.host(mover.shard), self.problem.host(target)}
        if any(self.touching[host, number] >= self.problem.rules.per_host for host in hosts):
            return False
        return self._has_room(self.problem.host(target), mover.bytes, number)

    def _has_room(self, host: str, size: int, number: int) -> bool:
        if host not in self.problem.room or not size:
            return True
        later = {number, *(each for each, came in self.coming[host].items() if each > number and came)}
        return all(self._used(host, moment) + size <= max(0, self.problem.room[host]) for moment in later)

    def _used(self, host: str, number: int) -> int:
        """Bytes more than at the beginning, while round `number` goes on."""
        come = sum(size for each, size in self.coming[host].items() if each <= number)
        gone = sum(size for each, size in self.freed[host].items() if each <= number)
        return come - gone + (max(0, -self.problem.room[host]) if host in self.problem.room else 0)

    def _book(self, mover: TenantLoad, target: str, number: int, sign: int) -> None:
        source, host = self.problem.host(mover.shard), self.problem.host(target)
        for each in {source, host}:
            self.touching[each, number] += sign
        self.coming[host][number] += sign * mover.bytes
        if self.after is not None:
            self.freed[source][number + 1 + self.after] += sign * mover.bytes
