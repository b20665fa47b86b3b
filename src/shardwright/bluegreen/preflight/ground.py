"""What the checks look at: the shards of both sets, what green will be, and their tables; nothing is changed there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import psycopg

from shardwright import errors
from shardwright.bluegreen.shapes.check import Shown, show
from shardwright.bluegreen.shard_sets.create import bring_to, missing
from shardwright.bluegreen.shard_sets.emptiness import empty, filled
from shardwright.bluegreen.shard_sets.loads import Load, read_loads
from shardwright.bluegreen.shard_sets.placement import assign
from shardwright.catalog.ask import ask_each
from shardwright.catalog.tenants import require_tenants
from shardwright.config import BlueGreenSection, FleetConfig, TenantsSection
from shardwright.migration.history import History, State
from shardwright.migration.rollout import script_location
from shardwright.migration.scratch import scratch_database
from shardwright.migration.versions import read_state
from shardwright.move.preflight.ground import Side, looking
from shardwright.pg import databases
from shardwright.pg.faults import explain
from shardwright.pg.tables import Table, TableName, read_tables
from shardwright.runs.fanout import FanOutLimits
from shardwright.runs.stopping import StopRequest
from shardwright.shard import Shard
from shardwright.transfer.graph import PlacedTable, with_partitions
from shardwright.transfer.place import table_graph

_NAME = "shardwright bluegreen plan"
_CARRIED = frozenset({"root", "direct", "indirect", "shared"})
T = TypeVar("T")


class GreenSide(Side):
    """A shard of either set. Shared tables are carried as well."""

    @cached_property
    def carried(self) -> tuple[Table, ...]:
        """The tables of tenants and the shared ones, with their partitions."""
        return tuple(table for each in self.carried_whole for table in with_partitions(each))

    @property
    def carried_whole(self) -> tuple[PlacedTable, ...]:
        """The same, each at the top of its partitions."""
        return tuple(each for each in self.graph.tables if each.kind in _CARRIED)

    @property
    def filled_names(self) -> list[TableName]:
        """The names of the same."""
        return [each.table.name for each in self.carried_whole]


@dataclass
class Ground:
    """The shards of one change; sessions in autocommit, one for each shard.

    `green` are those whose databases are there, `absent` the others. Blue shards are taken to be alike: what is asked
    of the schema is asked of the first.
    """

    fleet: FleetConfig
    history: History
    revision: str
    blue: tuple[GreenSide, ...]
    green: tuple[GreenSide, ...]
    absent: tuple[Shard, ...]
    one_way: bool = False
    allow: tuple[str, ...] = ()
    kept_open: ExitStack = field(default_factory=ExitStack, repr=False)

    # --- what any check of shards asks for ------------------------------------------------------

    @property
    def sides(self) -> tuple[GreenSide, ...]:
        """Every shard that is there, blue ones first."""
        return self.blue + self.green

    @property
    def giving(self) -> tuple[GreenSide, ...]:
        """Blue."""
        return self.blue

    @property
    def tables(self) -> tuple[PlacedTable, ...]:
        """What blue has to give."""
        return self.blue[0].carried_whole

    @property
    def is_broken(self) -> bool:
        """Whether a connection is lost, so that nothing more can be asked."""
        return any(side.connection.closed for side in self.sides)

    # --- what the configuration says ------------------------------------------------------------

    @property
    def section(self) -> BlueGreenSection:
        """[bluegreen]."""
        assert self.fleet.config.bluegreen is not None  # noqa: S101 no plan is made without it
        return self.fleet.config.bluegreen

    @property
    def limit(self) -> int:
        """How many sessions may be open on one server at once, beside those of the ground itself."""
        return self.fleet.config.limits.connections_per_host

    # --- what the shards say ----------------------------------------------------------------------

    def of_each(self, sides: Iterable[GreenSide], ask: Callable[[GreenSide], T]) -> dict[str, T]:
        """What `ask` gives for each, by name; all at once. Raises psycopg.Error."""
        by_name = {side.name: side for side in sides}
        shards = [side.shard for side in by_name.values()]
        return ask_each(shards, lambda shard: ask(by_name[shard.name]), connections_per_host=self.limit)

    @cached_property
    def states(self) -> Mapping[str, State]:
        """At which revisions each shard is. Raises psycopg.Error."""
        table = self.history.location.version_table
        return self.of_each(self.sides, lambda side: read_state(side.connection, table))

    @cached_property
    def loads(self) -> Mapping[str, Load]:
        """How much each tenant has; a tenant of two shards is the last one's. Raises psycopg.Error."""
        known = [side for side in self.blue if any(each.kind == "root" for each in side.graph.tables)]
        found = self.of_each(known, lambda side: read_loads(side.connection, side.graph, side.name))
        return {tenant: load for loads in found.values() for tenant, load in loads.items()}

    @cached_property
    def placed(self) -> Mapping[str, str]:
        """Each tenant's green shard. Raises GreenNotPlaced, psycopg.Error."""
        blue, green = [each.name for each in self.fleet.shards], [each.name for each in self.fleet.green]
        return assign(self.loads, blue, green, self.section.placement, self.section.pins)

    # --- what green will be -----------------------------------------------------------------------

    @cached_property
    def model(self) -> GreenSide:
        """A green shard at its revision and without rows: one that is there, else a scratch database, gone with the
        ground.

        Raises NoScratch, GreenNotMade, psycopg.Error.
        """
        wanted = self.history.resolve(self.revision)
        for side in self.green:
            if self.states[side.name] == wanted and not filled(side.connection, side.filled_names):
                return side
        return self._scratch()

    def _scratch(self) -> GreenSide:
        green = self.fleet.green[0]
        like = databases.nature(self.blue[0].shard.url, application_name=_NAME)
        url = self.kept_open.enter_context(scratch_database(green.url, like=like))
        shard = Shard(f"{green.name} (scratch)", replace(url, driver=green.url.driver), green.labels)
        limits = FanOutLimits.from_config(self.fleet.config.limits)
        bring_to([shard], self.history, self.revision, limits, StopRequest())
        side = self.kept_open.enter_context(_side(self.fleet, shard, green_section(self.fleet)))
        empty(shard, side.filled_names)
        return side

    @cached_property
    def shown(self) -> Shown:
        """Both directions as the configuration has them. Raises what `model` raises."""
        blue, green, section = self.blue[0], self.model, self.section
        return show(blue.connection, green.connection, (blue.graph, green.graph), section.tables, section.back)


@contextmanager
def open_ground(
    fleet: FleetConfig, revision: str, *, one_way: bool = False, allow: Sequence[str] = ()
) -> Iterator[Ground]:
    """The ground of a change; its sessions are closed, and its scratch database is gone, afterwards.

    No statement waits for a lock longer than 2 s or takes longer than limits.statement_timeout. Raises NoTenants,
    GreenNotMade where a green server can't be asked, ShardsSilent where a blue shard can't, NoMigrations,
    HistoryBroken.
    """
    section = require_tenants(fleet.config)
    history = History(script_location(fleet))
    absent = missing(fleet.green, connections_per_host=fleet.config.limits.connections_per_host)
    with ExitStack() as stack:
        blue = tuple(stack.enter_context(_side(fleet, shard, section)) for shard in fleet.shards)
        green = tuple(
            stack.enter_context(_side(fleet, shard, green_section(fleet)))
            for shard in fleet.green if shard.name not in absent
        )  # fmt: skip
        missed = tuple(shard for shard in fleet.green if shard.name in absent)
        yield Ground(fleet, history, revision, blue, green, missed, one_way, tuple(allow), stack)


def green_section(fleet: FleetConfig) -> TenantsSection:
    """How green's tables belong to tenants."""
    return fleet.config.green_tenants or require_tenants(fleet.config)


@contextmanager
def _side(fleet: FleetConfig, shard: Shard, section: TenantsSection) -> Iterator[GreenSide]:
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(looking(shard.url, fleet.config.limits))
            tables = read_tables(connection, fleet.config.fleet.version_table)
        except psycopg.Error as error:
            reason = explain(error).reason
            raise errors.ShardsSilent(action="a change", shards=shard.name, reason=reason) from error
        yield GreenSide(shard, connection, table_graph(tables, section))
