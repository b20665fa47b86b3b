"""`status --require`: whether every shard has at least one revision, for whoever is about to start what needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shardwright import errors
from shardwright.catalog.control import read_control
from shardwright.config import FleetConfig
from shardwright.migration.history import History, ScriptLocation, State
from shardwright.migration.plan import name_those_ahead, unknown_revision, unreachable
from shardwright.migration.versions import Reading, survey
from shardwright.runs.results import RunResult, ShardResult, Status, revisions_text
from shardwright.runs.store import Ledger
from shardwright.shard import Shard


def require(fleet: FleetConfig, revision: str, *, shards: str | None = None) -> RunResult:
    """`up_to_date` for each shard that has had `revision` applied, whatever came after it; `behind` where it lacks it.

    A shard whose own revision is not in this code's history (newer code has been there) has it if the ledger tells that
    it came from where it had it. Raises NoSuchShard, NoShards, NoMigrations, HistoryBroken, NoSuchRevision, UsageError.
    """
    history = History(ScriptLocation.from_config(fleet.config))
    wanted = _absolute(history, revision)
    chosen = fleet.select(shards)
    limit = fleet.config.limits.connections_per_host
    readings = survey(chosen, history.location.version_table, connections_per_host=limit)
    results = [_result(history, shard, readings[shard.name], wanted) for shard in chosen]
    return RunResult("status", None, revisions_text(wanted), tuple(_by_ledger(fleet, history, wanted, results)))


def _absolute(history: History, revision: str) -> State:
    if revision.startswith(("+", "-")):
        reason = f"{revision} is another revision for each shard, and what is required is one for all"
        raise errors.UsageError(reason=reason, help="name a revision: head, or an id that `alembic history` shows")
    return history.resolve(revision)


def _result(history: History, shard: Shard, reading: Reading, wanted: State) -> ShardResult:
    if reading.state is None:
        return unreachable(shard, reading)
    if history.unknown(reading.state):
        return unknown_revision(shard, reading.state, history)
    has_it = history.ancestry(wanted) <= history.ancestry(reading.state)
    return _ended(shard.name, reading.state, wanted, has_it=has_it)


def _ended(shard: str, state: State, wanted: State, *, has_it: bool) -> ShardResult:
    if has_it:
        return ShardResult(shard, Status.UP_TO_DATE, state, state)
    error = f"it is at {revisions_text(state)}, and lacks {revisions_text(wanted)}"
    return ShardResult(shard, Status.BEHIND, state, state, error=error, hint=f"shardwright migrate {' '.join(wanted)}")


def _by_ledger(
    fleet: FleetConfig, history: History, wanted: State, results: Sequence[ShardResult]
) -> Sequence[ShardResult]:
    """`results`, those of unknown revisions by where the shards came from. Only for these the ledger is asked."""
    unknown = {result.shard: result.after or () for result in results if result.status is Status.UNKNOWN}
    if not unknown:
        return results
    try:
        with read_control(fleet.control, application_name="shardwright status") as control:
            if control is None:
                return results
            ledger = Ledger(control, fleet.shard_set)
            before = _last_known(history, unknown, ledger)
            settled = [
                _ended(result.shard, result.after or (), wanted, has_it=True)
                if history.ancestry(wanted) <= before.get(result.shard, frozenset())
                else result
                for result in results
            ]
            return name_those_ahead(ledger, settled)
    except errors.ControlError:
        return results  # they stay unknown


def _last_known(history: History, unknown: Mapping[str, State], ledger: Ledger) -> dict[str, frozenset[str]]:
    """What each shard has had applied at the last point of its way that this history knows."""
    at, known = dict(unknown), {}
    for shard, before, after in ledger.ways_up(list(unknown)):
        if shard not in known and at[shard] == after:
            at[shard] = before
            if not history.unknown(before):
                known[shard] = history.ancestry(before)
    return known
