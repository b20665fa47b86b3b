"""Which revisions are rendered once and sent to all shards, and which run online: the choice, and its proof."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import groupby
from typing import Any

import psycopg

from shardwright.catalog.ask import ask_each
from shardwright.catalog.store import proof_known, remember_proof
from shardwright.config import FleetConfig
from shardwright.dsn import DatabaseUrl
from shardwright.migration.history import History
from shardwright.migration.plan import ShardPlan
from shardwright.migration.recorder import Rendering, Segment
from shardwright.migration.render import Way, render, way_of
from shardwright.migration.scratch import NoScratch, scratch_copy, scratch_database
from shardwright.migration.send import begun_renderings
from shardwright.pg.connect import connect
from shardwright.pg.contents import contents
from shardwright.pg.faults import explain
from shardwright.pg.fingerprint import differences, fingerprint
from shardwright.runs.fanout import FanOutLimits, Job, run_all
from shardwright.runs.stopping import StopRequest
from shardwright.shard import Shard

_PATIENCE = timedelta(minutes=1)  # for a proof: the copies hold no rows, so whatever takes longer is not for sending
FROM_SHARDS = 8  # below this the proof costs more than it saves
_NAME = "shardwright proof"
_SETTINGS = {"lock_timeout": "2s"}


@dataclass(frozen=True)
class Ways:
    """For each way through the history its segments; `why_online` says of each online revision why.

    `finishing` has the segments of shards, by name, whose next revision was begun and not finished.
    """

    segments: dict[Way, tuple[Segment, ...]] = field(default_factory=dict)
    finishing: dict[str, tuple[Segment, ...]] = field(default_factory=dict)
    why_online: dict[str, str] = field(default_factory=dict)

    @property
    def rendered(self) -> tuple[str, ...]:
        """The revisions that are sent, on some shard at least."""
        cuts = (*self.segments.values(), *self.finishing.values())
        return tuple(sorted({each.revision for cut in cuts for segment in cut for each in segment.renderings}))

    def take(self, way: Way, renderings: Sequence[Rendering], cut: tuple[Segment, ...], doubt: str | None) -> None:
        """`way` goes by `cut`, or where there is a doubt online altogether."""
        self.segments[way] = cut if doubt is None else (Segment(way[1]),)
        for each in renderings:
            if reason := doubt or each.why_not:
                self.why_online[each.revision] = reason

    def segments_of(self, plan: ShardPlan) -> tuple[Segment, ...]:
        """How this shard goes its way; empty where that is online altogether."""
        return self.finishing.get(plan.shard.name) or self.segments.get(way_of(plan), ())

    def job(self, history: History, plan: ShardPlan, target: str) -> Job:
        """What is to be done on this shard: sent from a thread, run in a worker process, or both in order there."""
        segments = self.segments_of(plan)
        location = history.location
        if not any(segment.renderings for segment in segments):
            return Job(plan.shard, "shardwright.migration.apply:upgrade", {"location": location, "target": target})
        if all(segment.renderings for segment in segments):
            renderings = [rendering for segment in segments for rendering in segment.renderings]
            states = {"version_table": location.version_table, "before": plan.before, "after": plan.after}
            sent = {**states, "renderings": renderings}
            return Job(plan.shard, "shardwright.migration.send:send", sent, in_thread=True, alone=True)
        mixed = {"location": location, "before": plan.before, "segments": segments}
        return Job(plan.shard, "shardwright.migration.apply:mixed", mixed)


def choose(
    fleet: FleetConfig,
    history: History,
    todo: Sequence[ShardPlan],
    control: psycopg.Connection[Any],
    stop: StopRequest,
    *,
    rendered: Mapping[Way, list[Rendering]] | None = None,
    from_shards: int | None = None,
) -> Ways:
    """The ways of all shards with work to be done; a rendering that is not proven equal is not used.

    `rendered`: what `render` gives for `todo`, where it is known already.

    A revision that was sent half way (its autocommit_block failed) is finished by the rendering that began it, however
    few the shards are. Changes nothing on the shards; proofs are made on scratch databases and remembered.
    """
    few = len(todo) < (FROM_SHARDS if from_shards is None else from_shards)
    if few and not any(_begun(fleet, todo).values()):
        return Ways()
    groups = {way: [plan for plan in todo if way_of(plan) == way] for way in dict.fromkeys(map(way_of, todo))}
    chosen = Ways({}, {}, {})
    for way, renderings in (rendered or render(history.location, todo)).items():
        cut = _cut(renderings)
        if not any(segment.renderings for segment in cut):
            chosen.why_online.update({each.revision: each.why_not or "" for each in renderings})
            continue
        begun = _begun(fleet, groups[way]) if renderings[0].is_in_parts else {}
        finishing = {name for name, digests in begun.items() if renderings[0].digest in digests}
        chosen.finishing.update(dict.fromkeys(finishing, cut))
        others = [plan for plan in groups[way] if plan.shard.name not in finishing]
        if others and not few:
            doubt = _Proof(fleet, history, others[0], cut, stop).doubt(control)
            chosen.take(way, renderings, cut, doubt)
    return chosen


def _begun(fleet: FleetConfig, todo: Sequence[ShardPlan]) -> Mapping[str, frozenset[str]]:
    """For each shard the digests of the renderings that were sent to it half way."""
    limit = fleet.config.limits.connections_per_host
    return ask_each([plan.shard for plan in todo], _begun_on, connections_per_host=limit)


def _begun_on(shard: Shard) -> frozenset[str]:
    try:
        with connect(shard.url, application_name=_NAME, settings=_SETTINGS) as connection:
            return frozenset(begun_renderings(connection))
    except psycopg.Error:
        return frozenset()  # its own job will say what is the matter


def _cut(renderings: Sequence[Rendering]) -> tuple[Segment, ...]:
    groups = groupby(renderings, key=lambda rendering: rendering.why_not is None)
    return tuple(
        Segment(tuple(each.revision for each in group), tuple(group) if can else ())
        for can, group in ((can, list(group)) for can, group in groups)
    )


@dataclass(frozen=True)
class _Proof:
    """One way through the history, sent and run online on two copies of the fleet's present schema."""

    fleet: FleetConfig
    history: History
    plan: ShardPlan
    segments: tuple[Segment, ...]
    stop: StopRequest

    def doubt(self, control: psycopg.Connection[Any]) -> str | None:
        """Why the renderings can't be trusted, or None: they do the same. Proofs are remembered."""
        shard, server = self.plan.shard.url, self.fleet.control
        try:
            key = self._key()
            if proof_known(control, key):
                return None
            with (
                scratch_copy(shard, server, self.history.location.version_table) as online,
                scratch_database(server, template=online.database) as sent,
            ):
                doubt = self._try_both(online, sent) or _difference(online, sent)
        except NoScratch as error:
            return f"the proof could not be made: {error}"
        except psycopg.Error as error:
            return f"the proof could not be made: {explain(error).reason}"
        if doubt is None:
            remember_proof(control, key)
        return doubt

    def _key(self) -> str:
        with connect(self.plan.shard.url, application_name=_NAME, settings=_SETTINGS) as connection:
            present, major = fingerprint(connection).digest, connection.info.server_version // 10000
        digests = [each.digest for segment in self.segments for each in segment.renderings]
        facts = (present, major, self.plan.before, self.plan.steps, digests)
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def _try_both(self, online: DatabaseUrl, sent: DatabaseUrl) -> str | None:
        results = run_all(
            "proof",
            [[self._online(Shard("online", online, {})), self._sent(Shard("sent", sent, {}))]],
            limits=FanOutLimits.from_config(self.fleet.config.limits, jobs=2, timeout=_PATIENCE),
            stop=self.stop,
            max_failures=None,
        )
        failed = next((result for result in results if not result.succeeded), None)
        return None if failed is None else f"on a copy of the schema, {failed.job.shard.name}: {failed.reply.reason}"

    def _online(self, copy: Shard) -> Job:
        segments = (Segment(self.plan.steps),)
        payload = {"location": self.history.location, "before": self.plan.before, "segments": segments}
        return Job(copy, "shardwright.migration.apply:mixed", payload)

    def _sent(self, copy: Shard) -> Job:
        """As every shard will get it."""
        ways = Ways({way_of(self.plan): self.segments})
        return ways.job(self.history, replace(self.plan, shard=copy), target="")


def _difference(online: DatabaseUrl, sent: DatabaseUrl) -> str | None:
    with connect(online, application_name=_NAME) as left, connect(sent, application_name=_NAME) as right:
        found = differences(fingerprint(left), fingerprint(right))
        if found:
            return f"rendered and online differ in {found[0].kind} {found[0].name}"
        if contents(left) != contents(right):
            return "rendered and online write different rows"
    return None
