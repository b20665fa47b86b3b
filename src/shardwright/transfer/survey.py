"""The tables of one shard of the fleet, placed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg

from shardwright import errors
from shardwright.config import FleetConfig
from shardwright.pg.connect import connect
from shardwright.pg.faults import explain
from shardwright.pg.tables import TableName, Tables, read_tables
from shardwright.shard import Shard
from shardwright.transfer.graph import TableGraph
from shardwright.transfer.names import quoted
from shardwright.transfer.place import table_graph

# A migration may hold a table's lock: nobody waits for it here. Names come as text from SQL_ASCII, too.
_SETTINGS = {"lock_timeout": "2s", "statement_timeout": "30s", "client_encoding": "UTF8"}
_EXAMPLE = "organizations", "organization_id"


@dataclass(frozen=True)
class ShardTables:
    """The table graph as it is on `shard`."""

    shard: str
    graph: TableGraph

    def as_dict(self) -> dict[str, Any]:
        """The tables as `--json` prints them."""
        return {"shard": self.shard, **self.graph.as_dict()}


def survey_tables(fleet: FleetConfig, shards: str | None = None) -> ShardTables:
    """The tables of the first of `shards` (default: of all) that answers; reads only.

    Raises NoShardAnswered, NoTenants where the configuration has no [tenants], and what `select` raises.
    """
    shard, tables = _first_that_answers(fleet.select(shards), fleet.config.fleet.version_table)
    if fleet.config.tenants is None:
        root, key = propose_root(tables) or _EXAMPLE
        raise errors.NoTenants(file=str(fleet.config.file), key="tenants", root=quoted(root), column=quoted(key))
    return ShardTables(shard.name, table_graph(tables, fleet.config.tenants))


def propose_root(tables: Tables) -> tuple[str, str] | None:
    """The table that most others refer to by columns of one name, and that name; None where no two agree."""
    users: dict[tuple[TableName, str], set[TableName]] = defaultdict(set)
    for table in tables.tables:
        for key in table.foreign_keys:
            if len(key.columns) == 1 and key.table != table.name:
                users[key.table, key.columns[0]].add(table.name)
    best = max(users, key=lambda each: (len(users[each]), each), default=None)
    if best is None or len(users[best]) < 2:
        return None
    return tables.shown(best[0]), best[1]


def _first_that_answers(shards: Iterable[Shard], version_table: str) -> tuple[Shard, Tables]:
    faults = {}
    for shard in shards:
        try:
            with connect(
                shard.url, application_name="shardwright tables", settings=_SETTINGS, connect_timeout=5
            ) as connection:
                return shard, read_tables(connection, version_table)
        except psycopg.Error as error:
            faults[shard.name] = explain(error)
    told = "\n".join(f"{name}: {fault.reason}" for name, fault in faults.items())
    raise errors.NoShardAnswered(faults=told)
