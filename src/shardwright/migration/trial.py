"""Whether a plan can be all shards or none: what is known beforehand, and a trial on a scratch copy of the schema."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import psycopg

from shardwright import errors
from shardwright.catalog.ask import ask_each
from shardwright.config import FleetConfig
from shardwright.dsn import DatabaseUrl
from shardwright.migration import atomic
from shardwright.migration.history import History
from shardwright.migration.plan import Plan, ShardPlan
from shardwright.migration.recorder import Rendering
from shardwright.migration.render import Way, way_of
from shardwright.migration.scratch import NoScratch, scratch_copy
from shardwright.migration.versions import read_state
from shardwright.migration.ways import Ways
from shardwright.pg import prepared
from shardwright.pg.connect import connect
from shardwright.pg.contents import contents
from shardwright.pg.faults import explain
from shardwright.pg.fingerprint import fingerprint
from shardwright.runs.events import Listener, Warned
from shardwright.runs.fanout import FanOutLimits, run_all
from shardwright.runs.stopping import StopRequest
from shardwright.shard import Shard

_NAME = "shardwright trial"
_SETTINGS = {"lock_timeout": "2s", "statement_timeout": "10s"}
_PATIENCE = timedelta(minutes=1)
_PLACES_HELP = (
    "set max_prepared_transactions to {needed} or more in postgresql.conf there, restart the server, then repeat"
)


def require_feasible(fleet: FleetConfig, plan: Plan, renderings: Mapping[Way, list[Rendering]]) -> None:
    """Raises NotAtomic where a shard can't take part, a server has no place, or a revision is no one transaction."""
    if plan.not_well:
        first = plan.not_well[0]
        raise errors.NotAtomic(reason=f"{first.shard}: {first.error}", help=first.hint or "shardwright status")
    for rendered in renderings.values():
        _require_one_transaction(rendered)
    _require_places(fleet, plan.todo)


def _require_one_transaction(renderings: Sequence[Rendering]) -> None:
    for each in renderings:
        if each.is_in_parts:
            reason = f"revision {each.revision} has statements outside of a transaction (autocommit_block)"
            raise errors.NotAtomic(reason=reason, help="migrate up to it and over it without --atomic")
    if len(renderings) > 1 and any(each.own_transaction for each in renderings):
        reason = "env.py asks for a transaction per migration"
        raise errors.NotAtomic(
            reason=reason, help=f"one at a time: shardwright migrate {renderings[0].revision} --atomic"
        )


def _require_places(fleet: FleetConfig, todo: Sequence[ShardPlan]) -> None:
    """Each shard's host can keep as many prepared transactions as it has shards with work."""
    needed = Counter(each.shard.host for each in todo)
    one_each = {each.shard.host: each.shard for each in todo}
    limit = fleet.config.limits.connections_per_host
    free = ask_each(one_each.values(), _free_places, connections_per_host=limit)
    for host, shard in one_each.items():
        places = free[shard.name]
        if isinstance(places, str):
            raise errors.NotAtomic(reason=f"{shard.name}: {places}", help="shardwright shards check")
        if places < needed[host]:
            reason = f"{host} can keep {places} more prepared transactions, and {needed[host]} are needed"
            raise errors.NotAtomic(reason=reason, help=_PLACES_HELP.format(needed=needed[host]))


def _free_places(shard: Shard) -> int | str:
    try:
        with connect(shard.url, application_name=_NAME, settings=_SETTINGS) as connection:
            return prepared.free_places(connection)
    except psycopg.Error as error:
        return explain(error).reason


def try_out(
    fleet: FleetConfig, history: History, plan: Plan, ways: Ways, *, stop: StopRequest, on_event: Listener
) -> None:
    """Raises NotAtomic where PostgreSQL will not prepare what the plan does, or something of it escapes a roll-back.

    Each way through the history is prepared on a scratch copy of the schema and rolled back. Where no scratch copy
    can be made it is told, and the fleet itself will say: a shard that can't prepare means that none commits.
    Ends early, having found nothing, once `stop` is asked.
    """
    for each in {way_of(each): each for each in plan.todo}.values():
        if stop.is_asked:
            return
        try:
            with scratch_copy(each.shard.url, fleet.control, history.location.version_table) as url:
                _try_on(url, fleet, history, each, ways, stop)
        except (NoScratch, psycopg.Error) as error:
            if not stop.is_asked:  # Ctrl-C ends pg_dump too
                reason = explain(error).reason if isinstance(error, psycopg.Error) else str(error)
                on_event(Warned(f"not tried on a scratch copy beforehand: {reason}"))
            return


def _try_on(
    url: DatabaseUrl, fleet: FleetConfig, history: History, plan: ShardPlan, ways: Ways, stop: StopRequest
) -> None:
    with connect(url, application_name=_NAME) as connection:
        if prepared.free_places(connection) < 1:
            raise NoScratch("max_prepared_transactions is too small on the control database's server")
        name = f"shardwright_trial_{url.database}"
        before = _everything(connection, history)
        limits = FanOutLimits.from_config(fleet.config.limits, jobs=1, timeout=_PATIENCE)
        job = atomic.job(history, _on(url, plan), ways, name)
        (result,) = run_all("trial", [[job]], limits=limits, stop=stop)
        if name in prepared.names(connection, name):  # or what its worker's death left of it
            prepared.finish(connection, name, commit=False)
        if stop.is_asked:
            return
        if not result.succeeded:
            reason = result.reply.reason or "no reason given"
            raise errors.NotAtomic(reason=f"on a scratch copy, {reason}", help=result.reply.hint or _WITHOUT)
        if _everything(connection, history) != before:
            reason = f"{', '.join(plan.steps)} changed something that a roll-back does not undo"
            raise errors.NotAtomic(reason=reason, help=_WITHOUT)


_WITHOUT = "migrate without --atomic"


def _everything(connection: psycopg.Connection[tuple[object, ...]], history: History) -> object:
    table = history.location.version_table
    return fingerprint(connection).digest, contents(connection), read_state(connection, table)


def _on(url: DatabaseUrl, plan: ShardPlan) -> ShardPlan:
    return replace(plan, shard=Shard("scratch", url, {}))
