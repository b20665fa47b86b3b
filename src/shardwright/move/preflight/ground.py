"""What the checks look at: a tenant, the two shards of the move, and their tables; nothing is changed there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import psycopg
from psycopg import sql

from shardwright import errors
from shardwright.config import FleetConfig, LimitsSection
from shardwright.dsn import DatabaseUrl
from shardwright.pg.connect import connect, milliseconds
from shardwright.pg.fingerprint import Fingerprint, fingerprint
from shardwright.pg.queries import load
from shardwright.pg.spelling import SPELLING
from shardwright.pg.tables import Table, TableName, read_tables
from shardwright.shard import Shard
from shardwright.transfer.graph import PlacedTable, TableGraph, with_partitions
from shardwright.transfer.place import table_graph
from shardwright.transfer.rows import rows_of_tenant

Query: TypeAlias = sql.SQL | sql.Composed

_queries = load(__package__)


@dataclass(frozen=True)
class Side:
    """One of the two shards, its connection, and its tables."""

    shard: Shard
    connection: psycopg.Connection[Any]
    graph: TableGraph

    @property
    def name(self) -> str:
        """The shard's name."""
        return self.shard.name

    @cached_property
    def role(self) -> str:
        """Who the mover is on this shard."""
        return str(self.one(sql.SQL("SELECT current_user"))[0])

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Its schema."""
        return fingerprint(self.connection)

    @cached_property
    def carried(self) -> tuple[Table, ...]:
        """The tables whose rows are carried to the other side: those of tenants, with their partitions."""
        return tuple(table for each in self.graph.tables if each.is_of_tenants for table in with_partitions(each))

    def ask(self, query: Query, values: Any = None) -> list[tuple[Any, ...]]:
        """All rows of `query`. A % in a name is only safe in a query without values."""
        rows: list[tuple[Any, ...]] = self.connection.execute(query, values).fetchall()
        return rows

    def one(self, query: Query, values: Any = None) -> tuple[Any, ...]:
        """The first row of `query`, of which there is one always."""
        return self.ask(query, values)[0]

    def ask_of(self, tables: Sequence[Table], query: Query, **values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query of the catalogs, which takes the names of `tables` as `schemas` and `names`.

        Expressions and types come with their schemas, so that they mean the same in any session.
        """
        names = {"schemas": [table.name.schema for table in tables], "names": [table.name.name for table in tables]}
        with self.connection.transaction(force_rollback=True):
            self.ask(_queries["plain_path"])
            return self.ask(query, names | values)

    def shown(self, name: TableName) -> str:
        """The table's name as people write it."""
        return self.graph.catalog.shown(name)


class Shards(Protocol):
    """What checks look at that ask of every shard by itself, whatever is about to be carried between them."""

    @property
    def sides(self) -> Sequence[Side]:
        """All of them, those that rows come from first."""

    @property
    def giving(self) -> Sequence[Side]:
        """Those that rows come from."""

    @property
    def tables(self) -> Sequence[PlacedTable]:
        """What is carried."""


@dataclass
class Ground:
    """The two shards of one move. The connections are in autocommit, and have time-outs and spelling of `open_ground`.

    `offline`: the tenant's writes will be refused from the begin of the copy.
    """

    fleet: FleetConfig
    tenant: str
    source: Shard
    target: Shard
    on_source: psycopg.Connection[Any]
    on_target: psycopg.Connection[Any]
    graph: TableGraph
    target_graph: TableGraph
    offline: bool = False

    @cached_property
    def source_side(self) -> Side:
        """The shard that the tenant is on."""
        return Side(self.source, self.on_source, self.graph)

    @cached_property
    def target_side(self) -> Side:
        """The shard that the tenant goes to."""
        return Side(self.target, self.on_target, self.target_graph)

    @property
    def sides(self) -> tuple[Side, Side]:
        """Source and target."""
        return self.source_side, self.target_side

    @property
    def giving(self) -> tuple[Side]:
        """The source."""
        return (self.source_side,)

    @cached_property
    def tables(self) -> tuple[PlacedTable, ...]:
        """The tables that hold rows of tenants on both shards, parents first; the schema check tells of others."""
        names = (name for group in self.graph.copy_order for name in group)
        return tuple(self.graph[name] for name in names if name in self.target_graph.catalog.by_name)

    @cached_property
    def root(self) -> PlacedTable | None:
        """The table whose rows are the tenants."""
        return next((each for each in self.tables if each.kind == "root"), None)

    @property
    def is_broken(self) -> bool:
        """Whether a connection is lost, so that nothing more can be asked."""
        return self.on_source.closed or self.on_target.closed

    def is_of_tenant(self, name: TableName, row: str = "r") -> sql.Composable:
        """A condition on `row`, true for the tenant's rows of that table."""
        return rows_of_tenant(self.graph, name, sql.Literal(self.tenant), row=row)

    def count(self, side: Side, placed: PlacedTable, most: int) -> int:
        """How many rows of the tenant that shard has in the table, counted no further than one more than `most`."""
        query = sql.SQL("SELECT count(*) FROM (SELECT FROM {} AS r WHERE {} LIMIT {}) AS found").format(
            placed.table.source, self.is_of_tenant(placed.table.name), sql.Literal(most + 1)
        )
        return int(side.one(query)[0])


@contextmanager
def open_ground(
    fleet: FleetConfig, tenant: str, source: Shard, target: Shard, *, offline: bool = False
) -> Iterator[Ground]:
    """The ground of a move, with two connections that are closed afterwards.

    No statement waits for a lock longer than 2 s or takes longer than limits.statement_timeout. Raises NoTenants where
    the configuration has no [tenants], and psycopg.Error where a shard does not answer.
    """
    section = fleet.config.tenants
    if section is None:
        raise errors.NoTenants(file=str(fleet.config.file), key="tenants")
    with ExitStack() as stack:
        on_source, on_target = (
            stack.enter_context(looking(shard.url, fleet.config.limits)) for shard in (source, target)
        )
        version_table = fleet.config.fleet.version_table
        graph, target_graph = (
            table_graph(read_tables(each, version_table), section) for each in (on_source, on_target)
        )
        yield Ground(fleet, tenant, source, target, on_source, on_target, graph, target_graph, offline)


def looking(url: DatabaseUrl, limits: LimitsSection) -> AbstractContextManager[psycopg.Connection[Any]]:
    """A session in autocommit that spells values as every other does, and is not in anybody's way for long."""
    timeout = f"{milliseconds(limits.statement_timeout)}ms"
    settings = SPELLING | {"lock_timeout": "2s", "statement_timeout": timeout}
    return connect(url, application_name="shardwright preflight", settings=settings)
