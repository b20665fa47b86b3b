"""From which numbers on the sequences of the receiving shards draw; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from shardwright.pg.sequences import Sequence as Numbers
from shardwright.pg.tables import TableName

LEAST_ROOM = 1_000_000  # numbers
_SHARE_OF_DRAWN = 4  # of all that was ever drawn, a quarter more is kept free
_SHARE_OF_LEFT = 4  # but of what the type has left no more than a quarter
_TOO_FEW = 1_000  # draws that must be left at the receiving side


class Refusal(Exception):
    """Why a sequence can't be raised: the fact, and what mends it."""

    def __init__(self, fact: str, cure: str, shard: str | None = None) -> None:
        super().__init__(fact)
        self.fact, self.cure, self.shard = fact, cure, shard


@dataclass(frozen=True)
class Given:
    """What one giving shard draws a receiving column from: its sequences, and the highest number its rows hold."""

    shard: str
    sequences: tuple[Numbers, ...]
    held: int | None = None

    @property
    def last(self) -> int | None:
        """The highest number that its sequences may have given; None where it has none."""
        return max((each.last for each in self.sequences), default=None)


@dataclass(frozen=True)
class Start:
    """One receiving shard's sequence as it is to go on: `first`, then by its increment."""

    shard: str
    sequence: Numbers
    first: int

    @property
    def as_set(self) -> Numbers:
        """The sequence once it is so."""
        return replace(self.sequence, last=self.first, is_called=False)


@dataclass(frozen=True)
class Room:
    """The numbers above `base` up to `floor` that are left to the giving `shards`, which draw them from `sources`.

    `sequence`, of `receiving` shards, gives none of them.
    """

    sequence: TableName
    receiving: tuple[str, ...]
    shards: tuple[str, ...]
    sources: tuple[TableName, ...]
    base: int
    floor: int

    def as_dict(self) -> dict[str, object]:
        """The room as it is kept with the run."""
        names = {"sequence": _pair(self.sequence), "sources": [_pair(each) for each in self.sources]}
        return {**vars(self), "receiving": list(self.receiving), "shards": list(self.shards), **names}

    @classmethod
    def from_dict(cls, kept: Mapping[str, object]) -> Room:
        """What `as_dict` gave."""
        values: dict[str, object] = dict(kept)
        values["sequence"] = TableName(*kept["sequence"])  # type: ignore[misc]
        values["sources"] = tuple(TableName(*each) for each in kept["sources"])  # type: ignore[attr-defined]
        for key in ("receiving", "shards"):
            values[key] = tuple(kept[key])  # type: ignore[arg-type]
        return cls(**values)  # type: ignore[arg-type]


def _pair(name: TableName) -> list[str]:
    return [name.schema, name.name]


@dataclass(frozen=True)
class Plan:
    """How one sequence of the receiving shards goes on, and the room that leaves."""

    starts: tuple[Start, ...]
    rooms: tuple[Room, ...]


def deal(giving: Sequence[Given], receiving: Mapping[str, Numbers], *, ceiling: int, room: int | None = None) -> Plan:
    """The receiving shards draw what no giving shard draws within its room, and no two of them the same.

    Where there are as many as giving ones, and these never draw the same number as it is, each goes on as its partner
    (by order) would: increment, remainder, range. Else all share one increment, each with its own remainder. `ceiling`
    is the highest number that the columns hold. Raises Refusal.
    """
    _require_ascending(giving, receiving)
    kept = _kept_apart(giving) if len(giving) == len(receiving) else None
    if kept is None:
        step = _step(giving, len(receiving))
        base, floor = _leave_room(giving, receiving, step=step, ceiling=ceiling, room=room)
        starts = tuple(
            Start(name, replace(each, increment=step), _first_above(floor, step, place))
            for place, (name, each) in enumerate(receiving.items())
        )
        return Plan(starts, _rooms(giving, receiving, base, floor))
    paired: list[Start] = []
    rooms: list[Room] = []
    for (partner, its), (name, own) in zip(zip(giving, kept, strict=True), receiving.items(), strict=True):
        alone = {name: _as_partner(own, its, by_range=_only_by_range(kept))}
        most = min(ceiling, alone[name].highest)
        base, floor = _leave_room([partner], alone, step=its.increment, ceiling=most, room=room)
        paired.append(Start(name, alone[name], _first_above(floor, its.increment, its.next)))
        rooms += _rooms([partner], alone, base, floor)
    return Plan(tuple(paired), tuple(rooms))


def keep(giving: Sequence[Given], receiving: Mapping[str, Numbers], *, ceiling: int, room: int | None = None) -> Plan:
    """The receiving shards go on with the increment, remainder and range they have, above all that is given.

    Of the giving shards those count that could meet a receiving one. Raises Refusal.
    """
    _require_ascending(giving, receiving)
    starts: list[Start] = []
    rooms: list[Room] = []
    for name, own in receiving.items():
        met = [given for given in giving if not given.sequences or any(own.meets(each) for each in given.sequences)]
        most = min(ceiling, own.highest)
        base, floor = _leave_room(met, {name: own}, step=own.increment, ceiling=most, room=room)
        starts.append(Start(name, own, _first_above(floor, own.increment, own.next)))
        rooms += _rooms(met, {name: own}, base, floor)
    return Plan(tuple(starts), tuple(rooms))


def alike(giving: Sequence[Given], receiving: Mapping[str, Numbers], *, ceiling: int, room: int | None = None) -> Plan:
    """All receiving shards go on with one and the same number: those of a shared table, which has the same rows.

    Raises Refusal.
    """
    _require_ascending(giving, receiving)
    step = max(each.increment for each in receiving.values())
    most = min(ceiling, *(each.highest for each in receiving.values()))
    base, floor = _leave_room(giving, receiving, step=step, ceiling=most, room=room)
    first = floor + 1
    return Plan(
        tuple(Start(name, each, first) for name, each in receiving.items()), _rooms(giving, receiving, base, floor)
    )


def _require_ascending(giving: Iterable[Given], receiving: Mapping[str, Numbers]) -> None:
    given = [(each.shard, sequence) for each in giving for sequence in each.sequences]
    for shard, sequence in (*given, *receiving.items()):
        if why := unfit(shard, sequence):
            raise why


def unfit(shard: str, sequence: Numbers) -> Refusal | None:
    """Why nothing can be said of what a sequence will give; None where it goes up and never begins anew."""
    name = sequence.name.identifier.as_string()
    if sequence.cycles:
        return Refusal(
            f"{sequence.name} on {shard} begins anew at its end (CYCLE), so any number may come again",
            f"ALTER SEQUENCE {name} NO CYCLE",
            shard,
        )
    if sequence.increment < 0:
        return Refusal(
            f"{sequence.name} on {shard} goes down, and only sequences that go up can be told apart by a floor",
            f"ALTER SEQUENCE {name} INCREMENT BY 1 MINVALUE 1 MAXVALUE {sequence.ceiling} RESTART WITH …",
            shard,
        )
    return None


def _kept_apart(giving: Sequence[Given]) -> list[Numbers] | None:
    """The one sequence of each giving shard, where no two of them give one number; else None."""
    if any(len(given.sequences) != 1 for given in giving):
        return None
    sequences = [given.sequences[0] for given in giving]
    return None if any(one.meets(other) for one, other in combinations(sequences, 2)) else sequences


def _only_by_range(sequences: Sequence[Numbers]) -> bool:
    boundless = [replace(each, lowest=1, highest=each.ceiling) for each in sequences]
    return any(one.meets(other) for one, other in combinations(boundless, 2))


def _as_partner(own: Numbers, partner: Numbers, *, by_range: bool) -> Numbers:
    if not by_range:
        return replace(own, increment=partner.increment)
    return replace(own, increment=partner.increment, lowest=partner.lowest, highest=min(partner.highest, own.ceiling))


def _step(giving: Iterable[Given], count: int) -> int:
    """What the giving shards have in common, where it has a remainder for each; else the number of them."""
    steps = {each.increment for given in giving for each in given.sequences}
    return max(steps) if len(steps) == 1 and max(steps) >= count else count


def _leave_room(
    giving: Sequence[Given], receiving: Mapping[str, Numbers], *, step: int, ceiling: int, room: int | None
) -> tuple[int, int]:
    """What is drawn so far, and the number above which the receiving side may begin.

    Numbers that only rows hold count where they leave room: beside ids that the application gives itself, as random
    ones near the end of the type, a sequence is as little use after the change as before.
    """
    own = [each.next - each.increment for each in receiving.values()]
    drawn = [given.last for given in giving if given.last is not None]
    held = [given.held for given in giving if given.held is not None]
    ceiling = min(ceiling, *(each.highest for each in receiving.values()))
    for numbers in ([*own, *drawn, *held], [*own, *drawn]):
        base = max(numbers)
        if ceiling - base >= _TOO_FEW * step:
            break
    else:
        sequence = next(iter(receiving.values())).name
        fact = f"{sequence} has {max(0, ceiling - base):,} numbers left above {base:,}, too few to leave any to both"
        cure = "give its column and the sequence the type bigint in a revision, or a higher MAXVALUE"
        raise Refusal(fact, cure, next(iter(receiving)) if len(receiving) == 1 else None)
    if not drawn:
        return base, base
    most = (ceiling - base) // _SHARE_OF_LEFT
    return base, base + min(room if room is not None else max(LEAST_ROOM, base // _SHARE_OF_DRAWN), most)


def _first_above(floor: int, step: int, remainder: int) -> int:
    """The least number above `floor` with that remainder."""
    return floor + 1 + (remainder - floor - 1) % step


def _rooms(giving: Sequence[Given], receiving: Mapping[str, Numbers], base: int, floor: int) -> tuple[Room, ...]:
    sources = sorted({each.name for given in giving for each in given.sequences})
    if not sources:
        return ()
    shards = tuple(given.shard for given in giving if given.sequences)
    name = next(iter(receiving.values())).name
    return (Room(name, tuple(receiving), shards, tuple(sources), base, floor),)
