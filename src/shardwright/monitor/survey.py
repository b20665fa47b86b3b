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
    """What each of `shards` says by name, read concurrently within the budget of each host.

    Once a host has not answered at all, its other shards are not waited for one after the other.
    """
    table, threshold = fleet.config.fleet.version_table, fleet.config.monitor.exhaustion
    seen: dict[str, Fingerprint] = {}
    silent: dict[str, Answer] = {}

    def ask(shard: Shard) -> Answer:
        if shard.host in silent:
            return silent[shard.host]
        try:
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
        except psycopg.Error as error:
            reading = unread(error)
            answer = Answer(reading if "schema" in parts else None, fault=reading.fault)
            if reading.host_is_silent:
                silent[shard.host] = answer
            return answer

    return ask_each(shards, ask, connections_per_host=fleet.config.limits.connections_per_host)


def _or_fault(connection: psycopg.Connection[Any], read: Callable[[], T]) -> T | Fault:
    """A part that fails takes no other along, unless the connection is gone."""
    try:
        return read()
    except psycopg.Error as error:
        if connection.broken:
            raise
        return explain(error)
