"""What a process knows of where tenants are: bounded, and never going back. Pure: it asks nobody, has no clock."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

NEVER = -1


class Place(NamedTuple):
    """A tenant's shard since an epoch; None where it is on no shard that we know of."""

    shard: str | None
    epoch: int


NOWHERE = Place(None, 0)


class Moment(NamedTuple):
    """When a question was put to the catalog: what was heard after it may be newer than its answer."""

    generation: int
    tick: int


class Answer(NamedTuple):
    """The shard to go to, and whether it need not be asked for again."""

    shard: str
    is_sure: bool


@dataclass
class _Entry:
    """`placed` by the catalog; `rumour` by a shard that has refused a write, which runs ahead of the catalog."""

    placed: Place = NOWHERE
    placed_at: float = 0.0
    generation: int = NEVER
    rumour: Place | None = None
    rumour_at: float = 0.0
    tick: int = 0


class Known:
    """Where tenants are, as far as it was told. Not for two threads at once; times are seconds of any clock.

    What was told stays good for `lives`, and is asked again in time: after half of that, or after `unheard` while
    nobody listens to the catalog (`is_heard`).
    """

    def __init__(self, *, size: int, lives: float, unheard: float) -> None:
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._size, self._lives, self._unheard = size, lives, unheard
        self._generation = 0
        self._tick = 0
        self.is_heard = False

    def __len__(self) -> int:
        return len(self._entries)

    def look(self, tenant: str, now: float) -> Answer | None:
        """Where to go; None where the catalog has to say."""
        entry = self._entries.get(tenant)
        if entry is None:
            return None
        self._entries.move_to_end(tenant)
        if entry.rumour is not None and entry.rumour.shard is not None and now - entry.rumour_at < self._lives:
            return Answer(entry.rumour.shard, is_sure=False)
        age = now - entry.placed_at
        if entry.placed.shard is None or age >= self._lives:
            return None
        fresh = self._lives / 2 if self.is_heard else min(self._lives / 2, self._unheard)
        return Answer(entry.placed.shard, is_sure=entry.generation == self._generation and age < fresh)

    def now(self) -> Moment:
        """To be taken before the catalog is asked, and given with its answer."""
        return Moment(self._generation, self._tick)

    def answered(self, tenant: str, place: Place | None, asked: Moment, now: float) -> None:
        """The catalog gave `place` (None: it has no such tenant) to a question put at `asked`."""
        if place is None and tenant not in self._entries:
            return  # whoever asks for tenants that there are not shall not drive out those there are
        entry = self._entry(tenant)
        is_latest_word = entry.tick <= asked.tick
        if is_latest_word:
            entry.rumour = None  # the catalog was asked since: it says the same, or the switch was taken back
        if place is not None or is_latest_word:
            self._place(entry, place or Place(None, entry.placed.epoch), asked.generation, now)

    def announced(self, tenant: str, place: Place, now: float) -> None:
        """The catalog told everybody `place`."""
        entry = self._entry(tenant)
        self._tick = entry.tick = self._tick + 1
        self._place(entry, place, self._generation, now)

    def refused(self, tenant: str, shard: str, gone_to: Place | None, now: float) -> str | None:
        """`shard` has refused a write, and said perhaps where the tenant is; the shard to try, if one can be told."""
        entry = self._entry(tenant)
        if entry.rumour is not None and entry.rumour.shard == shard:
            entry.rumour = None
        if gone_to is not None and gone_to.epoch > entry.placed.epoch and gone_to.shard not in (None, shard):
            return self._spread(entry, gone_to, now).shard
        if gone_to is not None and entry.placed.shard not in (None, shard):
            return entry.placed.shard  # the catalog's word has come before the shard's
        entry.generation = NEVER
        return None

    def doubt_all(self) -> None:
        """Something may have been missed: each tenant is asked for again before it counts as sure."""
        self._generation += 1

    def _spread(self, entry: _Entry, rumour: Place, now: float) -> Place:
        """Gives the rumour that goes round now: the newer of the two."""
        if entry.rumour is not None and entry.rumour.epoch > rumour.epoch:
            return entry.rumour
        self._tick = entry.tick = self._tick + 1
        entry.rumour, entry.rumour_at = rumour, now
        return rumour

    def _place(self, entry: _Entry, place: Place, generation: int, now: float) -> None:
        """Newer goes before older; of the same epoch the forgotten tenant before the placed, else the later word."""
        held = entry.placed
        if place.epoch < held.epoch or (place.epoch == held.epoch > 0 and held.shard is None):
            return
        entry.placed, entry.placed_at, entry.generation = place, now, generation
        if entry.rumour is not None and entry.rumour.epoch <= place.epoch:
            entry.rumour = None

    def _entry(self, tenant: str) -> _Entry:
        entry = self._entries.setdefault(tenant, _Entry())
        self._entries.move_to_end(tenant)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)
        return entry
