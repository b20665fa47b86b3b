"""`migrate --rehearse`: the plan on copies of the shards' schemas, up, down and up again, before any is touched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from shardwright import errors
from shardwright.config import FleetConfig
from shardwright.dsn import DatabaseUrl
from shardwright.migration.drift import survey_schemas
from shardwright.migration.history import History, State
from shardwright.migration.observe import Observed
from shardwright.migration.plan import ShardPlan
from shardwright.migration.render import Way, way_of
from shardwright.migration.sample import copy_sample
from shardwright.migration.scratch import NoScratch, scratch_copy, scratch_database
from shardwright.pg.connect import connect
from shardwright.pg.faults import explain
from shardwright.pg.fingerprint import Difference, Fingerprint, differences, fingerprint
from shardwright.pg.queries import load
from shardwright.runs.events import Listener, Rehearsed, Rehearsing
from shardwright.runs.fanout import FanOutLimits, Job, JobResult, run_all
from shardwright.runs.results import revisions_text
from shardwright.runs.stopping import StopRequest

MOST_ROWS = 100_000  # of each table: it is a sample, and its places are kept in memory
_NAME = "shardwright rehearsal"


@dataclass(frozen=True)
class RevisionRehearsal:
    """What one revision did on the copy. `irreversible` says why its downgrade is no way back, None where it is one.

    `differences`: what its downgrade left otherwise than it was before its upgrade; left is after, right before.
    """

    revision: str
    statements: tuple[Observed, ...] = ()
    irreversible: str | None = None
    differences: tuple[Difference, ...] = ()

    @property
    def seconds(self) -> float:
        """How long its statements took."""
        return sum(each.seconds for each in self.statements)

    def as_dict(self) -> dict[str, Any]:
        """The revision as `--json` prints it."""
        return {
            "revision": self.revision,
            "seconds": round(self.seconds, 4),
            "statements": [each.as_dict() for each in self.statements],
            "irreversible": self.irreversible,
            "differences": [
                {"kind": each.kind, "name": each.name, "before": each.right, "after": each.left}
                for each in self.differences
            ],
        }


@dataclass(frozen=True)
class SchemaRehearsal:
    """The rehearsal for the `shards` that are alike: one schema, one way to go; made on a copy of the first of them.

    `failure` says why the upgrade, or the second one after the way back, is not to be made anywhere.
    `irreversible` says why the way back as a whole is none. `rows` has the sample's size by table.
    """

    shards: tuple[str, ...]
    schema: str
    before: State
    after: State
    rows: Mapping[str, int]
    revisions: tuple[RevisionRehearsal, ...]
    failure: str | None = None
    irreversible: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The rehearsal as `--json` prints it."""
        return {
            "shards": list(self.shards),
            "schema": self.schema,
            "from": revisions_text(self.before),
            "to": revisions_text(self.after),
            "rows": dict(self.rows),
            "failure": self.failure,
            "irreversible": self.irreversible,
            "revisions": [each.as_dict() for each in self.revisions],
        }


@dataclass(frozen=True)
class Rehearsal:
    """The rehearsal of a plan: one for each distinct schema and way."""

    schemas: tuple[SchemaRehearsal, ...] = ()

    def faults(self, *, way_back: bool) -> tuple[str, ...]:
        """Why the plan must not be carried out; with `way_back` an irreversible downgrade is a reason too."""
        return tuple(
            f"on a copy of {each.shards[0]}: {reason}"
            for each in self.schemas
            for reason in (each.failure, each.irreversible if way_back else None)
            if reason is not None
        )

    def require_sound(self, *, way_back: bool) -> None:
        """Raises RehearsalFailed where there is a fault."""
        if faults := self.faults(way_back=way_back):
            raise errors.RehearsalFailed(faults="\n".join(faults))

    def as_dict(self) -> dict[str, Any]:
        """The rehearsal as `--json` prints it."""
        return {"schemas": [each.as_dict() for each in self.schemas]}


def rehearse(
    fleet: FleetConfig,
    history: History,
    todo: Sequence[ShardPlan],
    *,
    rows: int | None,
    limits: FanOutLimits,
    stop: StopRequest,
    on_event: Listener,
) -> Rehearsal:
    """What `todo` does on scratch copies, with up to `rows` rows of each table; changes nothing on the shards.

    Ends early, with what it has, once `stop` is asked. Raises NoRehearsal where no copy can be made, UsageError.
    """
    if rows is not None and not 0 <= rows <= MOST_ROWS:
        raise errors.UsageError(reason=f"--rehearse-rows {rows} is not a number from 0 to {MOST_ROWS}")
    done = []
    for schema, alike in _groups(fleet, todo):
        if stop.is_asked:
            break
        on_event(Rehearsing(alike[0].shard.name, len(alike)))
        if found := _Stage(fleet, history, alike, rows or 0, limits, stop).rehearse(schema):
            done.append(found)
    rehearsal = Rehearsal(tuple(done))
    if done:
        on_event(Rehearsed(rehearsal.as_dict()))
    return rehearsal


def _groups(fleet: FleetConfig, todo: Sequence[ShardPlan]) -> Iterable[tuple[Fingerprint, list[ShardPlan]]]:
    """The shards with the same schema and the same way to go."""
    readings = survey_schemas(fleet, [plan.shard for plan in todo])
    groups: dict[tuple[Fingerprint, Way], list[ShardPlan]] = {}
    for plan in todo:
        reading = readings[plan.shard.name]
        if reading.schema is None:
            reason = reading.fault.reason if reading.fault else "it did not say its schema"
            raise errors.NoRehearsal(shard=plan.shard.name, reason=reason)
        groups.setdefault((reading.schema, way_of(plan)), []).append(plan)
    return ((schema, alike) for (schema, _), alike in groups.items())


_Blame = tuple[str, tuple[Difference, ...]]


@dataclass(frozen=True)
class _End:
    """How one act on a scratch copy ended, and the schema it left there."""

    result: JobResult
    schema: Fingerprint

    @property
    def reason(self) -> str | None:
        """Why it failed; None where it did not."""
        if self.result.succeeded:
            return None
        return self.result.reply.reason or "was not tried"


@dataclass(frozen=True)
class _Stage:
    """Where the way of one group of alike shards is gone on copies of the first of them."""

    fleet: FleetConfig
    history: History
    alike: Sequence[ShardPlan]
    rows: int
    limits: FanOutLimits
    stop: StopRequest

    @property
    def plan(self) -> ShardPlan:
        return self.alike[0]

    def rehearse(self, schema: Fingerprint) -> SchemaRehearsal | None:
        """The rehearsal; None where it was interrupted before it had begun. Raises NoRehearsal."""
        try:
            return self._rehearse(schema)
        except (NoScratch, psycopg.Error) as error:
            if self.stop.is_asked:  # Ctrl-C ends pg_dump too
                return None
            reason = str(error) if isinstance(error, NoScratch) else explain(error).reason
            raise errors.NoRehearsal(shard=self.plan.shard.name, reason=reason) from error

    def _rehearse(self, schema: Fingerprint) -> SchemaRehearsal:
        """All steps up, all down, all up again, as a rollout and its rollback would go.

        Where the way back is not clean, also step by step on a fresh copy, to say whose downgrade it is.
        """
        steps = self.plan.steps
        with self._copy() as (copy, rows):
            with scratch_database(self.fleet.control, template=copy.database) as scratch:
                clean = _schema(scratch)
                up, back, again = self._act(scratch, [self._up(steps), self._back(self.plan.before), self._up(steps)])
            is_way_back = up.reason is not None or (back.reason is None and back.schema == clean)
            blame = {} if is_way_back else self._blame(copy, clean, back)
        statements = up.result.reply.value.get("statements", ())
        return SchemaRehearsal(
            shards=tuple(each.shard.name for each in self.alike),
            schema=schema.digest,
            before=self.plan.before,
            after=self.plan.after,
            rows=rows,
            revisions=tuple(
                RevisionRehearsal(
                    each, tuple(seen for seen in statements if seen.revision == each), *blame.get(each, ())
                )
                for each in steps
            ),
            failure=_failure(up, back, again),
            irreversible=None if is_way_back else back.reason or _left(differences(back.schema, clean)),
        )

    @contextmanager
    def _copy(self) -> Iterator[tuple[DatabaseUrl, dict[str, int]]]:
        shard, table = self.plan.shard.url, self.history.location.version_table
        sampled: dict[str, int] = {}

        def fill(target: DatabaseUrl) -> None:
            if self.rows:
                sampled.update(copy_sample(shard, target, self.rows, table, self.stop))

        with scratch_copy(shard, self.fleet.control, table, fill=fill) as copy:
            _make_version_table(copy, table)
            yield copy, sampled

    def _blame(self, copy: DatabaseUrl, clean: Fingerprint, back: _End) -> dict[str, _Blame]:
        """Of each revision whose downgrade is no way back: why, and what it left."""
        steps = self.plan.steps
        if len(steps) == 1:
            return dict(_blames(steps, [clean], [back]))
        states = [self.history.after(self.plan.before, self.history.steps(steps[:n])) for n in range(len(steps))]
        acts = [*(self._up((step,)) for step in steps), *(self._back(state) for state in reversed(states))]
        with scratch_database(self.fleet.control, template=copy.database) as scratch:
            ends = self._act(scratch, acts)
        ups, downs = ends[: len(steps)], ends[len(steps) :]
        return dict(_blames(steps, [clean, *(end.schema for end in ups)], downs))

    def _up(self, steps: tuple[str, ...]) -> Job:
        payload = {"location": self.history.location, "steps": steps}
        return Job(self.plan.shard, "shardwright.migration.observe:upgrade", payload)

    def _back(self, state: State) -> Job:
        payload = {"location": self.history.location, "state": state}
        return Job(self.plan.shard, "shardwright.migration.apply:return_to", payload)

    def _act(self, scratch: DatabaseUrl, acts: Sequence[Job]) -> list[_End]:
        """How each act on `scratch` ended, one after the other; after the first that fails none is begun."""
        schemas: list[Fingerprint] = []
        ends = run_all(
            "rehearsal",
            [[replace(act, shard=replace(act.shard, url=scratch))] for act in acts],
            limits=self.limits,
            stop=self.stop,
            on_result=lambda _: schemas.append(_schema(scratch)),
        )
        return [_End(end, schema) for end, schema in zip(ends, schemas, strict=True)]


def _make_version_table(scratch: DatabaseUrl, version_table: str) -> None:
    """A shard at base may lack it; no downgrade takes it away again, and none has to."""
    names = version_table.split(".")
    query = load(__package__)["create_version_table"].format(
        table=sql.Identifier(*names), key=sql.Identifier(f"{names[-1]}_pkc")
    )
    with connect(scratch, application_name=_NAME) as connection, suppress(psycopg.errors.InvalidSchemaName):
        connection.execute(query)  # where the schema is not there either, env.py makes both


def _schema(scratch: DatabaseUrl) -> Fingerprint:
    with connect(scratch, application_name=_NAME) as connection:
        return fingerprint(connection)


def _failure(up: _End, back: _End, again: _End) -> str | None:
    """Why the upgrade is not to be made anywhere."""
    if up.reason is not None or back.reason is not None:
        return up.reason
    if again.reason is not None:
        return f"the upgrade can't be repeated after its way back: {again.reason}"
    if again.schema != up.schema:
        return f"repeated after its way back, the upgrade {_left(differences(again.schema, up.schema))}"
    return None


def _blames(
    steps: Sequence[str], schemas: Sequence[Fingerprint], downs: Sequence[_End]
) -> Iterator[tuple[str, _Blame]]:
    """The steps whose downgrades failed, were not reached, or left what was not there in `schemas` before them."""
    known: set[Difference] = set()  # what a later revision left is still there when an earlier one is gone
    for step, before, down in zip(reversed(steps), reversed(schemas[: len(steps)]), downs, strict=True):
        if down.reason is not None:
            yield step, (down.reason, ())
            continue
        left = tuple(each for each in differences(down.schema, before) if each not in known)
        known.update(left)
        if left:
            yield step, (_left(left), left)


def _left(found: Sequence[Difference]) -> str:
    first, more = found[0], f", and {len(found) - 1} more" if len(found) > 1 else ""
    how = "behind" if first.right is None else "dropped" if first.left is None else "changed"
    return f"leaves {first.kind} {first.name} {how}{more}"
