"""Both sets of a change as its steps see them: shards and their sessions, schemas, lanes, the control database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from psycopg import sql

from shardwright import errors
from shardwright.bluegreen.group import Group
from shardwright.bluegreen.lanes import Lane, Schemas, groups
from shardwright.bluegreen.shapes.describe import describe
from shardwright.bluegreen.shapes.shape import BACK, FORWARD, images
from shardwright.bluegreen.store import Changes
from shardwright.catalog.control import open_control
from shardwright.catalog.tenants import require_tenants
from shardwright.config import FleetConfig
from shardwright.move.way import asking
from shardwright.pg.connect import milliseconds
from shardwright.pg.fingerprint import fingerprint
from shardwright.pg.tables import read_tables
from shardwright.runs.kinds import StepContext
from shardwright.shard import Shard
from shardwright.transfer.everyone import Tenant
from shardwright.transfer.place import table_graph
from shardwright.transfer.sessions import Sessions
from shardwright.transfer.whose import EVERYBODY

NAME = "shardwright bluegreen"
_SETTINGS = {"default_transaction_read_only": "off"}  # which blue is made by ourselves at the end


@dataclass(frozen=True)
class Sets:
    """One change, for the runner of `context`."""

    context: StepContext

    @property
    def fleet(self) -> FleetConfig:
        """The configuration that names both."""
        return self.context.fleet

    @property
    def patience(self) -> timedelta:
        """For how long anybody may wait behind us at a table's lock."""
        return self.fleet.config.limits.lock_timeout

    @property
    def write_gap(self) -> timedelta:
        """For how long a tenant's writers may be held up at a switch."""
        return self.fleet.config.limits.write_gap

    @property
    def has_way_back(self) -> bool:
        """Whether what green writes is brought to blue."""
        return not self.context.plan.get("one_way")

    @cached_property
    def shards(self) -> Mapping[str, Shard]:
        """Those of both sets by their names, blue ones first. Raises ShardNotThere."""
        known = {shard.name: shard for shard in self.fleet.every}
        names = [*self.context.plan["blue"], *self.context.plan["green"]]
        if missing := [name for name in names if name not in known]:
            raise errors.ShardsGone(run=self.context.run, shards=", ".join(missing), file=str(self.fleet.config.file))
        return {name: known[name] for name in names}

    @property
    def blue(self) -> tuple[Shard, ...]:
        """The old set."""
        return tuple(self.shards[name] for name in self.context.plan["blue"])

    @property
    def green(self) -> tuple[Shard, ...]:
        """The new one."""
        return tuple(self.shards[name] for name in self.context.plan["green"])

    @cached_property
    def sessions(self) -> Mapping[str, Sessions]:
        """Of every shard, for this runner."""
        context = self.context
        return {
            name: Sessions(shard, context.run, context.runner, keeps=True, settings=_SETTINGS)
            for name, shard in self.shards.items()
        }

    @cached_property
    def schemas(self) -> Schemas:
        """As the first shard of each set has them; all of a set are alike. Raises ShapesBroken."""
        return read_schemas(self.fleet, self.blue[0], self.green[0], has_way_back=self.has_way_back)

    @cached_property
    def lanes(self) -> tuple[Lane, ...]:
        """Every pair of shards that has tenants."""
        return self.schemas.lanes(self.context.run, [tuple(pair) for pair in self.context.plan["lanes"]])

    @cached_property
    def groups(self) -> list[tuple[Lane, ...]]:
        """Lanes that share shards."""
        return groups(self.lanes)

    def group(self, lanes: tuple[Lane, ...], context: StepContext) -> Group:
        """These lanes with sessions of their own, for a thread."""
        names = {name for lane in lanes for name in lane.pair}
        return Group(lanes, {name: self.sessions[name] for name in names}, context)

    def tenants(self, lanes: tuple[Lane, ...]) -> list[Tenant]:
        """Who is between these shards, and on which side, by the control database; everybody else, too."""
        run = self.context.run
        pairs = [lane.pair for lane in lanes]
        with self.control() as changes:
            found = changes.tenants(run, pairs)
            known = {(lane.blue, lane.green): lane.everybody_at_green for lane in changes.lanes(run)}
        return [*found, *(Tenant(EVERYBODY, *pair, at_green=known[pair]) for pair in pairs)]

    @contextmanager
    def control(self, patience: timedelta | None = None) -> Iterator[Changes]:
        """The changes in the control database, where no statement takes longer than `patience`.

        Raises ControlUnavailable. For any thread.
        """
        with open_control(self.fleet.control, application_name=NAME) as connection:
            if patience is not None:
                limit = sql.Literal(f"{milliseconds(patience)}ms")
                connection.execute(sql.SQL("SET statement_timeout = {}").format(limit))
            yield Changes(connection, self.fleet.shard_set)

    def hold(self) -> str:
        """The phase, once no decision of an earlier runner can be on its way any more. Raises Superseded."""
        with self.control() as changes:
            return changes.held(self.context.run, self.context.runner).phase

    def require_schemas(self) -> None:
        """Every schema is what it was at the start. Raises SchemaChanged, psycopg.Error."""
        known = {**self.context.plan["fingerprints"], **self.context.results.get("create", {}).get("fingerprints", {})}
        for shard in self.shards.values():
            if shard.name not in known:
                continue
            with asking(shard) as connection:
                present = fingerprint(connection)
            if present.digest != known[shard.name]:
                raise errors.SchemaChanged(
                    shard=shard.name, run=self.context.run, objects="shardwright status --schema   shows the groups"
                )

    def close(self) -> None:
        """No session is kept."""
        for sessions in self.sessions.values():
            sessions.close()


def read_schemas(fleet: FleetConfig, blue: Shard, green: Shard, *, has_way_back: bool) -> Schemas:
    """How each side shows the other's tables. Raises ShapesBroken, psycopg.Error."""
    config, section = fleet.config, fleet.config.bluegreen
    assert section is not None  # noqa: S101 a change is configured, or it can't have begun
    version_table = config.fleet.version_table
    with asking(blue) as here, asking(green) as there:
        blue_tables, green_tables = read_tables(here, version_table), read_tables(there, version_table)
        blue_graph = table_graph(blue_tables, require_tenants(config))
        green_graph = table_graph(green_tables, config.green_tenants or require_tenants(config))
        given, wrong = describe(here, blue_tables, section.tables, FORWARD)
        forward = images(blue_tables, green_tables, section.tables, green_graph, described=given, section=FORWARD)
        back = None
        if has_way_back:
            given, more = describe(there, green_tables, section.back, BACK)
            wrong += more
            back = images(green_tables, blue_tables, section.back, blue_graph, described=given, section=BACK)
    problems = [*forward.problems, *(back.problems if back else ())]
    told = [*(f"{each.fact}; try: {each.cure}" for each in problems), *(each.fact for each in wrong)]
    if told:
        raise errors.ShapesBroken(problems="\n".join(f"  {each}" for each in dict.fromkeys(told)))
    return Schemas(blue_graph, green_graph, forward, back)
