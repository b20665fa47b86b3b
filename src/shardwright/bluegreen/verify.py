"""Whether the shards of a change take the writes of the tenants that the control database says are theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

import psycopg

from shardwright.bluegreen.sets import NAME
from shardwright.bluegreen.store import Changes
from shardwright.catalog.ask import ask_each
from shardwright.catalog.control import read_control
from shardwright.config import FleetConfig
from shardwright.move.verify import Odd
from shardwright.move.way import asking
from shardwright.pg import databases
from shardwright.pg.faults import explain
from shardwright.shard import Shard
from shardwright.transfer import capture, everyone, fence
from shardwright.transfer.everyone import Tenant

_CURE = "shardwright bluegreen status"
_MOST = 10
_DOES = {True: "takes their writes", False: "refuses their writes"}


def verify_change(fleet: FleetConfig) -> list[Odd]:
    """What is odd on the shards of both sets: flags that contradict the control database, leftovers of a change that is
    over. A switch that is under way at this moment may be seen half done; asked again, it is not. Changes nothing.

    Raises ControlUnavailable.
    """
    with read_control(fleet.control, application_name=NAME) as control:
        found = Changes(control, fleet.shard_set).last() if control else None
        if control is None or found is None:
            return []
        changes = Changes(control, fleet.shard_set)
        tenants = {each.tenant: each for each in changes.tenants(found.run)}
        takes_new = {lane.green if lane.everybody_at_green else lane.blue for lane in changes.lanes(found.run)}
    run, is_open = found.run, found.is_open

    def look(shard: Shard) -> list[Odd]:
        try:
            with asking(shard) as connection:
                if not capture.is_registered(connection, run):
                    return []
                if not is_open:
                    fact = f"what blue-green change {run} has made there is still there, and the change is over"
                    return [Odd(shard.name, fact, f"shardwright runs show {run}")]
                odd = list(_contradictions(shard, everyone.flags(connection, run), tenants))[:_MOST]
                takes = fence.is_open(connection, fence.of_everybody(run))
                if takes != (shard.name in takes_new):
                    where = ", ".join(sorted(takes_new))
                    fact = f"shared rows and new tenants are on {where}, and the shard {_DOES[takes]}"
                    odd.append(Odd(shard.name, fact, _CURE))
                return odd
        except psycopg.Error as error:
            if shard in fleet.green and not _is_there(shard):  # it is not made yet, or was taken back
                return []
            fault = explain(error)
            return [Odd(shard.name, f"its fences could not be read: {fault.reason}", fault.hint)]

    answers = ask_each(fleet.every, look, connections_per_host=fleet.config.limits.connections_per_host)
    return [each for odd in answers.values() for each in odd]


def _is_there(shard: Shard) -> bool:
    """Whether the shard has a database, or may have one."""
    with suppress(psycopg.Error):
        return databases.is_there(shard.url, application_name=NAME)
    return True


def _contradictions(shard: Shard, flags: Mapping[str, bool], tenants: Mapping[str, Tenant]) -> Iterator[Odd]:
    for tenant, is_open in flags.items():
        found = tenants.get(tenant)
        if found is not None and is_open != (found.shard == shard.name):
            fact = f"tenant {tenant!r} is on {found.shard}, and the shard {_DOES[is_open]}"
            yield Odd(shard.name, fact, _CURE)
