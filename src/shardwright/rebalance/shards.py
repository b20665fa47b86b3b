"""A shard's last days: closed and emptied, opened again, taken out of the fleet."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg

from shardwright import errors
from shardwright.catalog import placement
from shardwright.catalog.changes import require_none_open
from shardwright.catalog.control import open_control, read_control
from shardwright.catalog.remove import remove_shard
from shardwright.catalog.roots import ask_root, is_empty
from shardwright.catalog.store import record_shards, set_takes_new, takes_new
from shardwright.config import Config, FleetConfig
from shardwright.move.start import shard_named
from shardwright.move.store import Moves
from shardwright.pg.faults import Fault
from shardwright.rebalance.options import RebalanceOptions
from shardwright.rebalance.start import FRESH, Proposal, plan_rebalance, require_no_rebalance, start_rebalance
from shardwright.rebalance.store import NAME, Rebalances
from shardwright.runs.store import Ledger
from shardwright.shard import Shard

_PATIENCE = "5s"  # of a look whether a table has a row, while others wait who place tenants


# --- drain, undrain -------------------------------------------------------------------------------


def plan_drain(fleet: FleetConfig, options: RebalanceOptions, *, fresh: timedelta | None = FRESH) -> Proposal:
    """What the drain of the shards in `options.empty` would move; changes nothing. Raises what `plan_rebalance`
    raises, and ShardInUse where no other shard would take new tenants."""
    with read_control(fleet.control, application_name=NAME) as control:
        are_open = takes_new(control, fleet.shard_set) if control else {}
    left = [shard.name for shard in fleet.shards if shard.name not in options.empty and are_open.get(shard.name, True)]
    if not left:
        raise errors.ShardInUse(
            shard=", ".join(options.empty), asked="drained", reason="no other shard would take new tenants",
            help="shardwright shards add NAME URL, or shardwright shards undrain NAME   first",
        )  # fmt: skip
    return plan_rebalance(fleet, options, fresh=fresh)


def drain(
    fleet: FleetConfig, options: RebalanceOptions, *, fresh: timedelta | None = FRESH
) -> tuple[Proposal, int | None]:
    """The shards in `options.empty` take no new tenants, and the moves of those they have are in the queue; gives the
    plan, and the run, None where there is nobody to be moved. Raises what `plan_drain` raises; nothing is closed then.
    """
    plan_drain(fleet, options, fresh=fresh)
    with open_control(fleet.control, application_name=NAME) as control, control.transaction():
        record_shards(control, fleet.shard_set, fleet.shards, fleet.green)
        require_none_open(control, fleet.shard_set, "draining a shard")
        require_no_rebalance(Rebalances(control, fleet.shard_set), "draining a shard")
        set_takes_new(control, fleet.shard_set, options.empty, value=False)
    proposal = plan_rebalance(fleet, options, fresh=fresh)  # anew: until now they were given tenants
    return proposal, start_rebalance(fleet, proposal) if proposal.lines else None


def undrain(fleet: FleetConfig, name: str) -> None:
    """The shard takes new tenants. Raises NoSuchShard, ChangeUnderWay; ShardInUse while it is being emptied."""
    shard_named(fleet, name)
    with open_control(fleet.control, application_name=NAME) as control, control.transaction():
        require_none_open(control, fleet.shard_set, "opening a shard")
        require_not_emptied(control, fleet, name, "opened")
        record_shards(control, fleet.shard_set, fleet.shards, fleet.green)
        set_takes_new(control, fleet.shard_set, [name], value=True)


def require_not_emptied(control: psycopg.Connection[Any], fleet: FleetConfig, name: str, asked: str) -> None:
    """Raises ShardInUse where tenants are being moved away from the shard."""
    found = Rebalances(control, fleet.shard_set).open()
    if found is not None and found.phase in ("moving", "stopping") and name in found.emptied:
        raise errors.ShardInUse(
            shard=name, asked=asked, reason=f"rebalance {found.run} is emptying it", help="shardwright rebalance cancel"
        )


# --- remove ---------------------------------------------------------------------------------------


def require_removable(fleet: FleetConfig, name: str) -> None:
    """Raises NoSuchShard, ChangeUnderWay; ShardInUse where a tenant, a run or a way back needs the shard."""
    with read_control(fleet.control, application_name=NAME) as control:
        shard = shard_named(fleet, name)
        if control is not None:
            _require_removable(control, fleet, shard)
        else:
            _require_no_rows(fleet, shard)


def remove(config: Config, fleet: FleetConfig, name: str) -> Config:
    """The fleet, its configuration file and its catalog have the shard no more; its database is left as it is. Gives
    the configuration as it is now.

    New tenants are kept away from it first, so that none comes between the look and the end. Raises what
    `require_removable` raises, UsageError and ConfigError of `plan_remove`; everything is as it was then.
    """
    shard = shard_named(fleet, name)
    with open_control(fleet.control, application_name=NAME) as control, control.transaction():
        record_shards(control, fleet.shard_set, fleet.shards, fleet.green)
        set_takes_new(control, fleet.shard_set, [name], value=False)
        _require_removable(control, fleet, shard)
        rest = [each for each in fleet.shards if each != shard]
        record_shards(control, fleet.shard_set, rest, fleet.green)
        return remove_shard(config, name)


def _require_removable(control: psycopg.Connection[Any], fleet: FleetConfig, shard: Shard) -> None:
    require_none_open(control, fleet.shard_set, "removing a shard")
    if len(fleet.shards) == 1:
        _refuse(shard, "it is the only shard there is", "shardwright shards add NAME URL   first")
    for check in (_require_no_tenants, _require_no_moves, _require_no_rollout):
        check(control, fleet, shard)
    _require_no_rows(fleet, shard)


def _require_no_tenants(control: psycopg.Connection[Any], fleet: FleetConfig, shard: Shard) -> None:
    tenants = placement.loads(control, fleet.shard_set).get(shard.name, 0)
    if tenants:
        reason = f"the directory has {_counted(tenants, 'tenant')} on it"
        _refuse(shard, reason, f"shardwright shards drain {shard.name}")


def _require_no_moves(control: psycopg.Connection[Any], fleet: FleetConfig, shard: Shard) -> None:
    """A rebalance too, whose moves are still to come."""
    found = Rebalances(control, fleet.shard_set).open()
    if found is not None:
        cure = "shardwright rebalance finish" if found.phase == "moved" else "shardwright rebalance status"
        _refuse(shard, f"rebalance {found.run} is open, with the way back of its tenants", cure)
    for move in Moves(control, fleet.shard_set).open():
        if shard.name in (move.source, move.target):
            reason = f"the move of tenant {move.tenant!r}, run {move.run}, needs it"
            _refuse(shard, reason, f"shardwright move finish {move.tenant}, or: shardwright move undo {move.tenant}")


def _require_no_rollout(control: psycopg.Connection[Any], fleet: FleetConfig, shard: Shard) -> None:
    ledger = Ledger(control, fleet.shard_set)
    rollout = ledger.open_rollout()
    if rollout is not None and ledger.as_it_is(rollout.run).state == "running":
        _refuse(shard, f"run {rollout.run.id} ({rollout.run.kind}) goes on", f"shardwright runs show {rollout.run.id}")


def _require_no_rows(fleet: FleetConfig, shard: Shard) -> None:
    """The shard itself is asked: somebody may be there whom the directory does not know."""
    if fleet.config.tenants is None:
        return
    found = ask_root(shard, fleet.config.tenants.root, is_empty, statement_timeout=_PATIENCE)
    if isinstance(found, Fault):
        raise errors.ShardsSilent(action="removing a shard", shards=shard.name, reason=found.reason)
    if not found:
        reason = f"its table {fleet.config.tenants.root} has tenants whom the directory does not have there"
        _refuse(shard, reason, "shardwright tenants verify")


def _refuse(shard: Shard, reason: str, cure: str) -> None:
    raise errors.ShardInUse(shard=shard.name, asked="removed", reason=reason, help=cure)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
