"""`check`: everything in which the fleet is not as it should be, as one value. Reads only."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from shardwright import errors
from shardwright.bluegreen.verify import verify_change
from shardwright.catalog.control import read_control
from shardwright.config import FleetConfig
from shardwright.migration.drift import Schemas, Unread, compare
from shardwright.monitor import leftovers as traces
from shardwright.monitor.exhaustion import Exhaustion, Exhaustions
from shardwright.monitor.leftovers import Leftover, Owners, Traces
from shardwright.monitor.references import ReferenceCheck, check_references
from shardwright.monitor.skew import Skew, Work, read_work, skew
from shardwright.monitor.survey import Answer, survey
from shardwright.move.verify import Verification, verify_tenants
from shardwright.pg.faults import Fault
from shardwright.runs.results import revisions_text
from shardwright.runs.stopping import StopRequest
from shardwright.shard import Shard

T = TypeVar("T")
PARTS = ("schema", "tenants", "references", "exhaustion", "leftovers")
QUICK = ("schema", "exhaustion", "leftovers")  # that read no rows
NO_SCHEMAS = Schemas((), (), ())
_NAME = "shardwright check"


@dataclass(frozen=True)
class NotDone:
    """A part of the check that could not be made, and why."""

    part: str
    fault: Fault

    def as_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {"part": self.part, "error": self.fault.reason, "hint": self.fault.hint or None}


@dataclass(frozen=True)
class FleetCheck:
    """What a check found. `parts`: what was looked at.

    `skew` has every revision where there are several, and why that is expected; `verification` is None where there is
    no [tenants], or tenants were not looked at. `blind`: shards of which something but the schema is not known.
    `not_done`: parts that could not be made at all. `exhaustion` and `leftovers` are those that want to be seen to.
    """

    parts: tuple[str, ...] = PARTS
    schemas: Schemas = NO_SCHEMAS
    skew: tuple[Skew, ...] = ()
    verification: Verification | None = None
    references: tuple[ReferenceCheck, ...] = ()
    exhaustion: tuple[Exhaustion, ...] = ()
    leftovers: tuple[Leftover, ...] = ()
    blind: tuple[Unread, ...] = ()
    not_done: tuple[NotDone, ...] = ()
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    seconds: float = 0.0

    @property
    def unread(self) -> tuple[Unread, ...]:
        """The shards that did not say all they were asked."""
        return (*self.schemas.unread, *self.blind)

    @property
    def unexpected(self) -> tuple[Skew, ...]:
        """The revisions that nothing under way explains."""
        return tuple(each for each in self.skew if each.expected is None)

    @property
    def is_well(self) -> bool:
        """Whether everything was read, and nothing differs but what is expected to."""
        found = (
            self.unread, self.schemas.drifts, self.unexpected, self.exhaustion, self.leftovers, self.not_done
        )  # fmt: skip
        tenants = self.verification is None or self.verification.is_equal
        return tenants and not any(found) and all(each.is_well for each in self.references)

    @property
    def exit_code(self) -> int:
        """0 all well; 1 something differs; 2 a part could not be made; 78 a line of [references] is wrong."""
        wrong = [each.wrong.exit_code for each in self.references if each.wrong is not None]
        return max(0 if self.is_well else 1, 2 if self.not_done else 0, *wrong)

    def as_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "well": self.is_well,
            "at": self.at.isoformat(),
            "seconds": round(self.seconds, 3),
            "parts": list(self.parts),
            **self.schemas.as_dict(),
            "unread": [each.as_dict() for each in self.unread],
            "skew": [each.as_dict() for each in self.skew],
            "tenants": self.verification.as_dict() if self.verification else None,
            "references": [each.as_dict() for each in self.references],
            "exhaustion": [each.as_dict() for each in self.exhaustion],
            "leftovers": [each.as_dict() for each in self.leftovers],
            "not_done": [each.as_dict() for each in self.not_done],
        }


def check(
    fleet: FleetConfig,
    *,
    shards: str | None = None,
    parts: Collection[str] = PARTS,
    stop: StopRequest | None = None,
) -> FleetCheck:
    """What is not as it should be on the chosen shards; what is away is in the answer.

    Where a tenant is, is asked of all shards or of none: with `shards` that is left out. Green shards are looked at
    once a change has built them. Raises NoSuchShard, NoShards.
    """
    return _Check(fleet, shards, parts, stop or StopRequest()).run()


class _Check:
    def __init__(self, fleet: FleetConfig, shards: str | None, parts: Collection[str], stop: StopRequest) -> None:
        has_tenants = fleet.config.tenants is not None and shards is None
        self._fleet, self._stop = fleet, stop
        self._chosen = fleet.select(shards)
        self._is_whole = shards is None
        self._parts = tuple(each for each in PARTS if each in parts and (each != "tenants" or has_tenants))
        self._not_done: list[NotDone] = []
        self._before = self._work() if "schema" in self._parts else None

    def run(self) -> FleetCheck:
        began, at = time.monotonic(), datetime.now(UTC)
        green = self._green()
        asked = [*self._chosen, *green]
        answers = survey(self._fleet, asked, self._parts)
        away = {name: answer.fault for name, answer in answers.items() if answer.fault is not None}
        return FleetCheck(
            self._parts,
            _schemas(answers, self._chosen) + _schemas(answers, green),
            self._skew(answers, [shard.name for shard in green]),
            self._attempt("tenants", lambda: verification(self._fleet), None),
            self._attempt("references", lambda: self._references(away), ()),
            tuple(_running_out(answers)),
            tuple(self._attempt("leftovers", lambda: list(self._leftovers(asked, answers)), [])),
            tuple(_blind(answers)),
            tuple(self._not_done),
            at,
            time.monotonic() - began,
        )

    def _attempt(self, part: str, make: Callable[[], T], otherwise: T) -> T:
        """What `make` gives, where that part is wanted; a control database that is away takes no other part along."""
        if part not in self._parts:
            return otherwise
        try:
            return make()
        except errors.ControlError as error:
            self._not_done.append(NotDone(part, Fault(str(error), error.hint)))
            return otherwise

    # --- revisions --------------------------------------------------------------------------------

    def _work(self) -> Work | errors.ControlError:
        try:
            with read_control(self._fleet.control, application_name=_NAME) as control:
                return read_work(control, self._fleet.shard_set) if control else Work()
        except errors.ControlError as error:
            return error

    def _green(self) -> Sequence[Shard]:
        has_green = isinstance(self._before, Work) and self._before.has_green
        return self._fleet.green if has_green and self._is_whole else ()

    def _skew(self, answers: Mapping[str, Answer], green: Collection[str]) -> tuple[Skew, ...]:
        """What was under way before the shards were asked explains it as well as what is now."""
        readings = {name: answer.schema for name, answer in answers.items() if answer.schema is not None}
        states = {name: reading.state for name, reading in readings.items() if reading.state is not None}
        revisions = {name: revisions_text(state) or "base" for name, state in states.items()}
        if not (found := skew(revisions, Work())):
            return ()
        for work in (self._before, self._work()):
            if isinstance(work, Work):
                found = min(skew(revisions, work, green), found, key=_unexplained)
        if isinstance(self._before, errors.ControlError) and _unexplained(found):
            self._not_done.append(NotDone("skew", Fault(str(self._before), self._before.hint)))
        return found

    # --- the dear parts -----------------------------------------------------------------------------

    def _references(self, away: Mapping[str, Fault]) -> tuple[ReferenceCheck, ...]:
        return check_references(self._fleet, self._chosen, away=away, stop=self._stop)

    # --- leftovers ----------------------------------------------------------------------------------

    def _leftovers(self, shards: Sequence[Shard], answers: Mapping[str, Answer]) -> Iterator[Leftover]:
        """What is there of moves and changes is asked about only where there is any; and, since one may have ended
        between the two questions, looked at once more."""
        found = {name: each.traces for name, each in answers.items() if isinstance(each.traces, Traces)}
        owners = self._owners(found) if any(each.need_owners for each in found.values()) else Owners()
        suspects = [shard for shard in shards if shard.name in found and found[shard.name].need_owners]
        suspects = [shard for shard in suspects if any(traces.leftovers(shard.name, found[shard.name], owners))]
        again = survey(self._fleet, suspects, ("leftovers",))
        for name, answer in answers.items():
            seen = again[name].traces if name in again else None
            seen = seen if isinstance(seen, Traces) else answer.traces
            if isinstance(seen, Traces):
                yield from traces.leftovers(name, seen, owners)

    def _owners(self, found: Mapping[str, Traces]) -> Owners:
        with read_control(self._fleet.control, application_name=_NAME) as control:
            return traces.read_owners(control, self._fleet.shard_set, found) if control else Owners()


def verification(fleet: FleetConfig) -> Verification:
    """Whether every tenant is on exactly one shard, with all its rows, and every fence says the same. Changes nothing.

    Raises NoTenants, NoShards, ControlUnavailable.
    """
    found = verify_tenants(fleet)
    return replace(found, fences=(*found.fences, *verify_change(fleet)))


def _schemas(answers: Mapping[str, Answer], shards: Sequence[Shard]) -> Schemas:
    """How these differ among themselves: green shards are of another shape than blue ones, or of another making."""
    found = {shard.name: answers[shard.name].schema for shard in shards}
    return compare({name: schema for name, schema in found.items() if schema is not None})


def _unexplained(found: tuple[Skew, ...]) -> int:
    return sum(len(each.shards) for each in found if each.expected is None)


def _running_out(answers: Mapping[str, Answer]) -> Iterator[Exhaustion]:
    for answer in answers.values():
        if isinstance(answer.exhaustion, Exhaustions):
            yield from answer.exhaustion.found


def _blind(answers: Mapping[str, Answer]) -> Iterator[Unread]:
    """Shards that did not say something else than their schema; one of which that is told already is not told twice."""
    for name, answer in answers.items():
        state = answer.schema.state if answer.schema else None
        if answer.schema is not None and answer.schema.fault is not None:
            continue
        if answer.fault is not None:
            yield Unread(name, None, answer.fault)
            continue
        if isinstance(answer.exhaustion, Fault):
            yield Unread(name, state, _about("what runs out there", answer.exhaustion))
        elif answer.exhaustion is not None and (blind := answer.exhaustion.blind):
            yield Unread(name, state, Fault(blind, "GRANT SELECT on them to the role of its URL"))
        if isinstance(answer.traces, Fault):
            yield Unread(name, state, _about("what is left over there", answer.traces))


def _about(what: str, fault: Fault) -> Fault:
    return replace(fault, reason=f"{what} is not known: {fault.reason}")
