"""What every shard says to a check that reads no rows: schema, what runs out, what is left; over one connection."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg

from shardwright.catalog.ask import ask_each
from shardwright.config import FleetConfig
from shardwright.migration.drift import SchemaReading, connect_to_read, read_schema, unread
from shardwright.monitor.exhaustion import Exhaustions, exhaustions
from shardwright.monitor.leftovers import Traces, read_traces
from shardwright.pg.faults import LOCK_TIMEOUT, Fault, explain
from shardwright.pg.fingerprint import Fingerprint
from shardwright.shard import Shard

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """One shard's; None for what it was not asked. `fault`: it could not be reached at all."""

    schema: SchemaReading | None = None
    exhaustion: Exhaustions | Fault | None = None
    traces: Traces | Fault | None = None
    fault: Fault | None = None


def survey(fleet: FleetConfig, shards: Sequence[Shard], parts: Collection[str]) -> dict[str, Answer]:
    """What each of `shards` says by name, read concurrently within the budget of each host."""
    table, threshold = fleet.config.fleet.version_table, fleet.config.monitor.exhaustion
    seen: dict[str, Fingerprint] = {}

    def ask(shard: Shard) -> Answer:
        with connect_to_read(shard) as connection:
            schema = read_schema(connection, table, seen) if "schema" in parts else None
            if schema is not None and schema.fault is not None and schema.fault.sqlstate == LOCK_TIMEOUT:
                return Answer(schema)  # what holds that lock would be waited for in every part
            return Answer(
                schema,
                _or_fault(connection, lambda: exhaustions(connection, shard.name, threshold))
                if "exhaustion" in parts
                else None,
                _or_fault(connection, lambda: read_traces(connection)) if "leftovers" in parts else None,
            )

    def failed(_: Shard, error: psycopg.Error) -> Answer:
        reading = unread(error)
        return Answer(reading if "schema" in parts else None, fault=reading.fault)

    limit = fleet.config.limits.connections_per_host
    return ask_each(shards, ask, connections_per_host=limit, failed=failed)


def _or_fault(connection: psycopg.Connection[Any], read: Callable[[], T]) -> T | Fault:
    """A part that fails takes no other along, unless the connection is gone."""
    try:
        return read()
    except psycopg.Error as error:
        if connection.broken:
            raise
        return explain(error)
