"""Leads to a tenant's shard: what is known, the catalog that is asked, what is heard. For threads and for asyncio."""

from __future__ import annotations

import threading
import time
import weakref
from dataclasses import replace
from datetime import timedelta
from functools import cached_property, partial

from shardwright import errors
from shardwright.catalog import placement
from shardwright.catalog.placement import Placement
from shardwright.catalog.tenants import place_tenant
from shardwright.config import Config, FleetConfig
from shardwright.dsn import DatabaseUrl
from shardwright.embedded.resolve import resolve
from shardwright.routing.asking import Asker, impatient
from shardwright.routing.green import Greens
from shardwright.routing.hearing import Announcement, Listener
from shardwright.routing.known import Known, Place
from shardwright.routing.refusal import Refusal
from shardwright.runs.store import operator
from shardwright.shard import Shard

UNHEARD = timedelta(minutes=1)  # while nobody listens, a placement is asked for again after this
_guides: weakref.WeakSet[Guide] = weakref.WeakSet()
BREATH = 5.0  # seconds for which a control database that is away is not asked for what we know well enough


class Guide:
    """Thread-safe. Nothing is opened before it is first needed."""

    def __init__(self, config: Config, *, size: int, lives: timedelta) -> None:
        self._config = config
        self._make_known = partial(Known, size=size, lives=lives.total_seconds(), unheard=UNHEARD.total_seconds())
        self._known = self._make_known()
        self._looking = threading.Lock()  # held for microseconds
        self._asking = threading.Lock()  # held while the catalog is asked
        self._failure: tuple[float, errors.ControlError] | None = None
        self._trust_until = 0.0
        self._asker: Asker | None = None
        self._listener: Listener | None = None
        self._greens = Greens(config.fleet.set, self._make_asker, size=size)
        _guides.add(self)

    @cached_property
    def fleet(self) -> FleetConfig:
        """The fleet with every URL known; embedded clusters are started. Raises EmbeddedError."""
        return resolve(self._config)

    @cached_property
    def _shards(self) -> dict[str, Shard]:
        return {shard.name: shard for shard in self.fleet.every}

    def at_hand(self, tenant: str) -> Shard | None:
        """The tenant's shard, where nobody has to be asked; never waits. Raises ShardNotConfigured."""
        with self._looking:
            now = time.monotonic()
            found = self._known.look(tenant, now)
            may_ask = now >= self._trust_until
        if found is None or (may_ask and not found.is_sure):
            return None
        return self.shard(tenant, found.shard)

    def find(self, tenant: str) -> Shard:
        """The tenant's shard; the catalog is asked where it has to be. While that is away, what was known stands.

        Raises NoSuchTenant, BadTenantId, ShardNotConfigured; ControlError where nothing was known.
        """
        return self.at_hand(tenant) or self._ask(tenant)

    def shard(self, tenant: str, name: str) -> Shard:
        """The shard of that name. Raises ShardNotConfigured."""
        if (found := self._shards.get(name)) is None:
            raise errors.ShardNotConfigured(tenant=tenant, shard=name, file=str(self._config.file))
        return found

    def green(self, tenant: str, allowed: timedelta) -> Shard | None:
        """The tenant's green shard, not further behind than `allowed`; None where its own shard is that.

        Raises NoGreen, GreenLags, and what `find` raises.
        """
        if self.find(tenant) in self.fleet.green:
            return None
        name = self._greens.find(tenant, allowed)
        return self.shard(tenant, name) if name is not None else None

    def refused(self, tenant: str, shard: str, refusal: Refusal) -> str | None:
        """`shard` has refused a write of `tenant`; the shard to try, if one can be told without asking."""
        with self._looking:
            return self._known.refused(tenant, shard, refusal.gone_to, time.monotonic())

    def place(self, tenant: str) -> Placement:
        """The tenant has a placement, by the policy if it had none. Raises as `place_tenant` does."""
        placed = place_tenant(self.fleet, tenant, changed_by=operator())
        with self._looking:
            self._known.announced(tenant, Place(placed.shard, placed.epoch), time.monotonic())
        return placed

    def forget(self) -> None:
        """Nothing is known of any tenant: the directory itself was put back, and epochs with it."""
        with self._looking:
            is_heard, self._known = self._known.is_heard, self._make_known()
            self._known.is_heard = is_heard
            self._came_back()

    def close(self) -> None:
        """No thread and no connection is left."""
        with self._asking:
            if self._listener is not None:
                self._listener.close()
            if self._asker is not None:
                self._asker.close()
            self._listener = self._asker = None
        self._greens.close()

    # --- asking -------------------------------------------------------------------------------

    def _ask(self, tenant: str) -> Shard:
        """One asks at a time; who had to wait goes by what the one before was told."""
        began = time.monotonic()
        with self._asking:
            if (found := self.at_hand(tenant)) is not None:
                return found
            if self._failure is not None:
                failed_at, failure = self._failure
                if failed_at >= began:
                    raise failure
                self._trust_until = time.monotonic() + BREATH  # of those that come now, only this one tries
            return self._put_question(tenant)

    def _put_question(self, tenant: str) -> Shard:
        asker = self._open()
        with self._looking:
            asked = self._known.now()
        try:
            place = asker.ask(tenant)
        except errors.ControlError as error:
            self._went_away(error)
            if (found := self.at_hand(tenant)) is not None:
                return found
            raise
        with self._looking:
            self._came_back()
            self._known.answered(tenant, place, asked, time.monotonic())
            answer = self._known.look(tenant, time.monotonic())
        if answer is None:
            raise errors.NoSuchTenant(tenant=tenant)
        return self.shard(tenant, answer.shard)

    def _open(self) -> Asker:
        if self._asker is None:
            control = impatient(self.fleet.control)
            self._asker = self._make_asker()
            self._listener = Listener(control, begin=self._hears, tell=self._heard, end=self._hears_no_more)
            self._listener.start()
        return self._asker

    def _make_asker(self, since: int = placement.SINCE) -> Asker:
        return Asker(replace(self.fleet, control=impatient(self.fleet.control)), since=since)

    def _went_away(self, error: errors.ControlError) -> None:
        now = time.monotonic()
        with self._looking:
            self._failure, self._trust_until = (now, error), now + BREATH

    def _came_back(self) -> None:
        self._failure, self._trust_until = None, 0.0

    # --- what the listener calls --------------------------------------------------------------

    def _hears(self) -> None:
        with self._looking:
            self._came_back()
            self._known.is_heard = True
            self._known.doubt_all()

    def _heard(self, announcement: Announcement) -> None:
        if announcement.shard_set != self.fleet.shard_set:
            return
        with self._looking:
            if announcement.tenant is None:
                self._known.doubt_all()
            else:
                self._known.announced(announcement.tenant, announcement.place, time.monotonic())

    def _hears_no_more(self) -> None:
        with self._looking:
            self._known.is_heard = False
            self._trust_until = time.monotonic() + BREATH


def guides_of(control: DatabaseUrl) -> list[Guide]:
    """Every guide of this process that has asked that control database."""
    return [each for each in list(_guides) if "fleet" in vars(each) and each.fleet.control.identity == control.identity]
