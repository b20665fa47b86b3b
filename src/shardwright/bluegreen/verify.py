"""Whether the shards of a change take the writes of the tenants that the control database says are theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import psycopg

from shardwright.bluegreen.sets import NAME
from shardwright.bluegreen.store import Changes
from shardwright.catalog.ask import ask_each
from shardwright.catalog.control import read_control
from shardwright.config import FleetConfig
from shardwright.move.verify import Odd
from shardwright.move.way import asking
from shardwright.pg.faults import explain
from shardwright.shard import Shard
from shardwright.transfer import capture, everyone
from shardwright.transfer.everyone import Tenant

_CURE = "shardwright bluegreen status"
_MOST = 10


def verify_change(fleet: FleetConfig) -> list[Odd]:
    """What is odd on the shards of both sets: flags that contradict the control database, leftovers of a change that is
    over. A switch that is under way at this moment may be seen half done; asked again, it is not. Changes nothing.

    Raises ControlUnavailable.
    """
    with read_control(fleet.control, application_name=NAME) as control:
        found = Changes(control, fleet.shard_set).last() if control else None
        if control is None or found is None:
            return []
        tenants = {each.tenant: each for each in Changes(control, fleet.shard_set).tenants(found.run)}
    run, is_open = found.run, found.is_open

    def look(shard: Shard) -> list[Odd]:
        try:
            with asking(shard) as connection:
                if not capture.is_registered(connection, run):
                    return []
                if not is_open:
                    fact = f"what blue-green change {run} has made there is still there, and the change is over"
                    return [Odd(shard.name, fact, f"shardwright runs show {run}")]
                return list(_contradictions(shard, everyone.flags(connection, run), tenants))[:_MOST]
        except psycopg.Error as error:
            fault = explain(error)
            return [Odd(shard.name, f"its fences could not be read: {fault.reason}", fault.hint)]

    answers = ask_each(fleet.every, look, connections_per_host=fleet.config.limits.connections_per_host)
    return [each for odd in answers.values() for each in odd]


def _contradictions(shard: Shard, flags: Mapping[str, bool], tenants: Mapping[str, Tenant]) -> Iterator[Odd]:
    for tenant, is_open in flags.items():
        found = tenants.get(tenant)
        if found is not None and is_open != (found.shard == shard.name):
            states = {True: "takes writes", False: "refuses writes"}
            yield Odd(shard.name, f"tenant {tenant!r} is on {found.shard}, and the shard {states[is_open]}", _CURE)
