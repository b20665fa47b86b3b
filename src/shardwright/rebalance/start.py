"""Plans a rebalance, and puts it into the queue of runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from shardwright import errors
from shardwright.catalog.changes import require_none_open
from shardwright.catalog.control import open_control, read_control
from shardwright.catalog.store import record_shards, set_takes_new
from shardwright.catalog.tenants import require_tenants
from shardwright.config import FleetConfig
from shardwright.move.start import shard_named
from shardwright.rebalance.look import look, new_lines, plan_for
from shardwright.rebalance.options import RebalanceOptions
from shardwright.rebalance.proposal import RebalancePlan
from shardwright.rebalance.rules import Rules
from shardwright.rebalance.steps import KIND
from shardwright.rebalance.store import NAME, NewLine, Rebalances
from shardwright.runs.board import Board

FRESH = timedelta(hours=1)
_ACTION = "a rebalance"


@dataclass(frozen=True)
class Proposal:
    """A plan with what it was asked for; `lines` are its moves as they would be kept, `notes` what is not known for
    sure of the figures."""

    options: RebalanceOptions
    plan: RebalancePlan
    lines: tuple[NewLine, ...]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The proposal as `--json` prints it."""
        asked = {"empty": list(self.options.empty), "only_to": list(self.options.only_to)}
        return {**asked, **self.plan.as_dict(), "notes": list(self.notes)}

    def as_data(self) -> dict[str, Any]:
        """As the run keeps it; its moves have a table of their own."""
        whole = {**self.plan.as_dict(), "notes": list(self.notes)}
        return {"options": self.options.as_data(), **{key: value for key, value in whole.items() if key != "moves"}}


def plan_rebalance(fleet: FleetConfig, options: RebalanceOptions, *, fresh: timedelta | None = FRESH) -> Proposal:
    """What a rebalance would do; moves nothing. Tenants are measured where their figures are older than
    `fresh`; None: never.

    Raises NoTenants, NoSuchShard, ChangeUnderWay, RebalanceUnderWay, ShardsSilent, and what the planner raises.
    """
    require_tenants(fleet.config)
    for name in (*options.empty, *options.only_to):
        shard_named(fleet, name)
    with read_control(fleet.control, application_name=NAME) as control:
        if control is not None:
            require_none_open(control, fleet.shard_set, _ACTION)
            require_no_rebalance(Rebalances(control, fleet.shard_set), _ACTION)
    world = look(fleet, fresh=fresh)
    found = plan_for(world, Rules.of(fleet.config), options)
    return Proposal(options, found, tuple(new_lines(world, found)), world.notes)


def start_rebalance(fleet: FleetConfig, proposal: Proposal, *, closing: tuple[str, ...] = ()) -> int:
    """The rebalance is in the queue, and the shards `closing` take no new tenants; gives its run's number.

    Raises RebalanceUnderWay, ChangeUnderWay, ControlUnavailable.
    """
    with open_control(fleet.control, application_name=NAME) as control, control.transaction():
        record_shards(control, fleet.shard_set, fleet.shards, fleet.green)
        require_none_open(control, fleet.shard_set, _ACTION)
        set_takes_new(control, fleet.shard_set, closing, value=False)
        # No hosts: a rebalance works on none itself, and would take the places of its own moves.
        run = Board(control, fleet.shard_set).create(KIND, proposal.as_data(), target=_told(proposal))
        Rebalances(control, fleet.shard_set).create(run, proposal.lines, proposal.options.empty)
    return run


def _told(proposal: Proposal) -> str:
    count = len(proposal.lines)
    moves = f"{count} move{'' if count == 1 else 's'}"
    return f"{moves} to empty {', '.join(proposal.options.empty)}" if proposal.options.empty else moves


def require_no_rebalance(rebalances: Rebalances, action: str) -> None:
    """Raises RebalanceUnderWay where the set has an open one."""
    if (found := rebalances.open()) is not None:
        raise errors.RebalanceUnderWay(action=action, run=found.run)
