"""Keeps both sets in step, and does meanwhile what operators order: one thread for each group of shards."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import psycopg

from shardwright import errors
from shardwright.bluegreen.group import Group, NewTenants
from shardwright.bluegreen.lanes import Lane, by_shard
from shardwright.bluegreen.latecomers import write_down
from shardwright.bluegreen.orders import meant
from shardwright.bluegreen.sets import Sets
from shardwright.bluegreen.shard_sets.numbering import Room
from shardwright.bluegreen.shard_sets.sequences import room_left
from shardwright.bluegreen.store import Changes, Order
from shardwright.bluegreen.store import Lane as LaneTold
from shardwright.bluegreen.switching import Done, Switching
from shardwright.pg.faults import explain
from shardwright.runs.kinds import Progress, Shelf, StepContext, Stopped
from shardwright.transfer.everyone import Tenant
from shardwright.transfer.switch import NotNow
from shardwright.transfer.whose import EVERYBODY

_OTHERS = "shared rows and new tenants"
_IDLE = 0.05
_AWAY = 1.0
_TELL_EVERY = 1.0
_LOOK_EVERY = 0.3
_LOOK_FOR_PLACED_EVERY = 5.0
_PAUSES = (0.2, 0.5, 1.0, 2.0)
_SHOWN = 5


@dataclass
class Job:
    """One tenant (or everybody) that is to be on the other side; why not yet, and when it is to be tried again."""

    tenant: Tenant
    to_green: bool
    tries: int = 0
    not_before: float = 0.0
    told: str = ""
    is_done: bool = False
    gap: float | None = None  # of everybody's: a tenant's own is in his line


class Follower:
    """One group: rounds of draining, and its jobs in between. For one thread, but for `add` and what it tells."""

    def __init__(self, sets: Sets, lanes: tuple[Lane, ...], context: StepContext) -> None:
        self.lanes = lanes
        self.context = context
        self.keys = 0
        self._sets = sets
        self._jobs: deque[Job] = deque()

    def add(self, jobs: Iterable[Job]) -> None:
        """They are done when there is time."""
        self._jobs.extend(jobs)

    def go(self) -> None:
        """Until the step is to end. Raises Stopped, psycopg.Error, Superseded."""
        with self._sets.group(self.lanes, self.context) as group:
            group.take_over()
            group.settle(self._sets.tenants(self.lanes))
            self._switching = Switching(group, self._sets.control, self._sets.write_gap)
            self._prove_again()
            for shard in group.shards:
                self._take_in(group, shard, group.unknown(shard))
            told = looked = 0.0
            while True:
                self.context.raise_if_stopped()
                is_busy = self._once(group)
                if time.monotonic() - told > _TELL_EVERY:
                    self._tell(group)
                    told = time.monotonic()
                if time.monotonic() - looked > _LOOK_FOR_PLACED_EVERY:
                    self._look_for_placed(group)
                    looked = time.monotonic()
                if not is_busy:
                    self.context.rest(_IDLE)

    def _once(self, group: Group) -> bool:
        try:
            keys = group.round()
        except NewTenants as new:
            self._take_in(group, new.shard, new.tenants)
            return True
        job = self._next()
        if job is not None:
            self._do(group, job)
        return bool(keys) or job is not None

    def _next(self) -> Job | None:
        """Everybody goes to green after all who are known."""
        for _ in range(len(self._jobs)):
            job = self._jobs.popleft()
            is_last = job.tenant.tenant == EVERYBODY and job.to_green
            if job.not_before <= time.monotonic() and not (is_last and self._jobs):
                return job
            self._jobs.append(job)
        return None

    def _do(self, group: Group, job: Job) -> None:
        try:
            if job.tenant.tenant == EVERYBODY:
                job.gap = self._switching.switch_everybody(to_green=job.to_green)
                self._tell_switch(None, job.gap * 1000, by_shard(group.lanes, blue=not job.to_green))
            elif not self._is_there(job):
                self._keep(job, self._switching.switch(job.tenant, to_green=job.to_green))
        except NewTenants as new:
            self._take_in(group, new.shard, new.tenants)
            self._jobs.appendleft(job)
        except (psycopg.OperationalError, errors.ControlUnavailable):
            self._jobs.appendleft(job)
            raise
        except NotNow as error:
            self._again(job, str(error))
        else:
            job.is_done = True

    def _is_there(self, job: Job) -> bool:
        with self._sets.control() as changes:
            return changes.tenant(self.context.run, job.tenant.tenant).at_green == job.to_green

    def _again(self, job: Job, reason: str) -> None:
        if reason != job.told:
            whom = repr(job.tenant.tenant) if job.tenant.tenant else _OTHERS
            self.context.tell(f"{whom}: not yet: {reason}")
        job.told, job.tries = reason, job.tries + 1
        job.not_before = time.monotonic() + _PAUSES[min(job.tries, len(_PAUSES)) - 1]
        self._jobs.append(job)

    def _keep(self, job: Job, done: Done) -> None:
        """The certificate is kept; rows that differ are told at once, and end the step."""
        found = done.comparison
        certificate = {
            "equal": found.is_equal,
            "source": [proof.as_dict() for proof in found.source],
            "target": [proof.as_dict() for proof in found.target],
            "differences": [str(each) for each in found.differences],
        }
        with self._sets.control() as changes:
            changes.note_switch(
                self.context.run, job.tenant.tenant, write_gap=done.as_write_gap(), certificate=certificate
            )
        shard = job.tenant.green if job.to_green else job.tenant.blue
        self._tell_switch(job.tenant.tenant, done.as_write_gap()["gap_ms"], [shard])
        if not found.is_equal:
            told = "\n".join(map(str, found.differences[:_SHOWN]))
            raise errors.RowsDiffer(run=self.context.run, differences=told)

    def _tell_switch(self, tenant: str | None, gap: float | None, shards: Iterable[str]) -> None:
        whose = f"{_OTHERS} are" if tenant is None else f"{tenant} is"
        told = "not measured" if gap is None else f"{gap:.1f} ms"
        self.context.tell(f"{whose} on {', '.join(shards)}; write gap {told}")

    def _prove_again(self) -> None:
        """Whoever died after a switch may have left it without its proof. Before anything is brought back."""
        with self._sets.control() as changes:
            found = changes.unproven(self.context.run, [lane.pair for lane in self.lanes])
        for tenant, epoch in found:
            done = self._switching.prove(tenant, epoch, to_green=tenant.at_green)
            self._keep(Job(tenant, tenant.at_green), done)

    def _look_for_placed(self, group: Group) -> None:
        """Tenants that the directory has on the side that everybody has left, though they have no row there: they
        could not be written anywhere."""
        with self._sets.control() as changes:
            new = {shard: changes.placed_only(self.context.run, shard) for shard in self._left_by_everybody(changes)}
        for shard, tenants in new.items():
            self._take_in(group, shard, tenants)

    def _left_by_everybody(self, changes: Changes) -> set[str]:
        """The shards that take no new tenants any more."""
        pairs = {lane.pair for lane in self.lanes}
        lanes = [each for each in changes.lanes(self.context.run) if (each.blue, each.green) in pairs]
        return {each.blue if each.everybody_at_green else each.green for each in lanes}

    def _take_in(self, group: Group, shard: str, tenants: Sequence[str]) -> None:
        """Tenants that came after the start belong to the change, and are brought to the other side where everybody is
        there already."""
        found = write_down(self._sets, self.lanes, shard, tenants)
        if not found:
            return
        with self._sets.control() as changes:
            is_left = shard in self._left_by_everybody(changes)
        for each in found:
            self.context.tell(f"{each.tenant} is new on {shard}")
            if is_left and each.shard == shard:
                self._jobs.append(Job(each, not each.at_green))  # before a shard may die over the next line
        group.add_tenants(found, come_late=True)

    def _tell(self, group: Group) -> None:
        group.forget_unwanted()
        behind = group.behind()
        self.keys = sum(found.total for found in behind.values())
        with suppress(errors.ControlUnavailable, psycopg.Error), self._sets.control() as changes:
            for lane in self.lanes:
                there, back = behind.get(lane.blue), behind.get(lane.green)
                changes.note_lane(self.context.run, LaneTold(
                    *lane.pair, keys=there.total if there else 0, lag_seconds=there.lag if there else 0.0,
                    back_keys=back.total if back else None, back_lag_seconds=back.lag if back else None,
                ))  # fmt: skip


@dataclass
class Conductor:
    """All groups at once. `is_over` says when the step is done; `orders` says which jobs there are to do."""

    sets: Sets
    is_over: Callable[[Changes], bool]
    phase: str
    _failure: BaseException | None = None
    _over: threading.Event = field(default_factory=threading.Event)
    _speaking: threading.Lock = field(default_factory=threading.Lock)
    _told: str = ""
    _under_way: dict[int, list[Job]] = field(default_factory=dict)

    def go(self) -> None:
        """Raises Stopped, and whatever ended one of the groups."""
        context = self.sets.context
        followers = [Follower(self.sets, lanes, self._within(context)) for lanes in self.sets.groups]
        threads = [
            threading.Thread(target=self._follow, args=(each,), name=f"bluegreen {each.lanes[0].blue}", daemon=True)
            for each in followers
        ]
        for thread in threads:
            thread.start()
        is_done = False
        try:
            is_done = self._conduct(context, followers)
        finally:
            self._over.set()
            for thread in threads:
                thread.join()
        if self._failure is not None:
            raise self._failure
        if not is_done:  # a thread has heard before us that the step is to stop
            raise Stopped

    def _conduct(self, context: StepContext, followers: Sequence[Follower]) -> bool:
        """Whether the step is done; else a thread has ended."""
        while not self._over.is_set():
            with self._waiting(context), self.sets.control() as changes:
                while not self._over.is_set():
                    self._obey(changes, followers)
                    if self.is_over(changes):
                        return True
                    keys = sum(each.keys for each in followers)
                    with self._speaking:
                        context.report(Progress(self.phase, 0, keys or None, "keys"))
                    context.rest(_LOOK_EVERY)
        return False

    def _follow(self, follower: Follower) -> None:
        try:
            while True:
                with self._waiting(follower.context):
                    follower.go()
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 raised again by whoever waits for the threads
            self._failure = self._failure or error
        finally:
            self._over.set()

    @contextmanager
    def _waiting(self, context: StepContext) -> Iterator[None]:
        """A database that is away is waited for, however long: a run that is parked keeps nothing in step."""
        try:
            yield
        except (psycopg.OperationalError, errors.ControlUnavailable) as error:
            told = f"{explain(error).reason}; waits for it"
            if told != self._told:
                context.tell(told)
            self._told = told
            context.rest(_AWAY)

    def _within(self, context: StepContext) -> StepContext:
        """For a thread: ends with the others; tells under one lock, and reports nothing by itself."""

        def stop_wanted() -> str | None:
            return "over" if self._over.is_set() else context.stop_wanted()

        def tell(text: str) -> None:
            with self._speaking:
                context.tell(text)

        return replace(context, stop_wanted=stop_wanted, tell=tell, report=lambda _: None, shelf=Shelf())

    # --- orders ---------------------------------------------------------------------------------

    def _obey(self, changes: Changes, followers: Sequence[Follower]) -> None:
        run = self.sets.context.run
        for order in changes.orders(run):
            if order.kind == "finish":
                continue
            if order.id not in self._under_way:
                self._under_way[order.id] = self._begin(changes, order, followers)
            jobs = self._under_way[order.id]
            if all(job.is_done for job in jobs) and not self._came_meanwhile(changes, order, followers):
                changes.end_order(order.id, _told(jobs))
                del self._under_way[order.id]

    def _came_meanwhile(self, changes: Changes, order: Order, followers: Sequence[Follower]) -> bool:
        """Whether there are tenants that did not exist yet when all were to be switched: they are, too."""
        if order.tenants is not None or order.share is not None:
            return False
        jobs = [job for job in self._jobs(changes, order) if job.tenant.tenant != EVERYBODY]
        self._under_way[order.id] += jobs
        self._hand_out(jobs, followers)
        return bool(jobs)

    def _begin(self, changes: Changes, order: Order, followers: Sequence[Follower]) -> list[Job]:
        self.sets.require_schemas()
        if order.kind == "switch":  # whoever goes home finds blue's numbers above green's, as they have to be then
            self._require_room()
        jobs = self._jobs(changes, order)
        self._hand_out(jobs, followers)
        return jobs

    def _hand_out(self, jobs: Sequence[Job], followers: Sequence[Follower]) -> None:
        for follower in followers:
            pairs = {lane.pair for lane in follower.lanes}
            follower.add(job for job in jobs if (job.tenant.blue, job.tenant.green) in pairs)

    def _require_room(self) -> None:
        """Blue has not drawn its last number below those that green begins with. Raises SequencesRefused."""
        kept = self.sets.context.results.get("compare", {}).get("rooms", ())
        rooms = [Room.from_dict(each) for each in kept]
        for each in room_left(self.sets.blue, rooms)[:1] if rooms else ():
            if each.left <= 0:
                fact = f"{each.room.sequence}: blue has drawn up to the numbers that green begins with"
                raise errors.SequencesRefused(findings=fact)
            if each.left < each.used:
                self.sets.context.tell(f"{each.room.sequence}: blue can draw {each.left:,} numbers more, no further")

    def _jobs(self, changes: Changes, order: Order) -> list[Job]:
        """Tenants that are named, or a share of those that are left, or all; and with all, everybody at the end."""
        run, to_green = self.sets.context.run, order.kind == "switch"
        busy = {job.tenant.tenant for jobs in self._under_way.values() for job in jobs if not job.is_done}
        found = changes.tenants(run)
        left = [each for each in found if each.tenant not in busy and each.at_green != to_green]
        left = meant(left, of=len(found), named=order.tenants, share=order.share)
        if order.share is not None:
            changes.name_tenants(order.id, [each.tenant for each in left])  # or a death would begin another share
        jobs = [Job(each, to_green) for each in left]
        if order.tenants is None and order.share is None:
            pairs = [lanes[0].pair for lanes in self.sets.groups]
            everybody = [Job(Tenant(EVERYBODY, *pair, at_green=not to_green), to_green) for pair in pairs]
            jobs = [*jobs, *everybody] if to_green else [*everybody, *jobs]
        return jobs


def _told(jobs: Sequence[Job]) -> str:
    """What has become of an order: how many tenants were switched, and how long nobody could write for the others."""
    tenants = sum(job.tenant.tenant != EVERYBODY for job in jobs)
    gaps = [job.gap for job in jobs if job.gap is not None]
    told = f"{tenants} switched"
    return f"{told}; {_OTHERS}: write gap {max(gaps) * 1000:.1f} ms" if gaps else told
