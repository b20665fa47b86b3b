"""A rebalance as it runs: under traffic, over changes of the fleet, back and to its end."""

from __future__ import annotations

from rebalances import MakeEstate


def test_a_skewed_fleet_is_balanced_under_traffic_and_nothing_is_lost(make_estate: MakeEstate) -> None:
    """Every tenant is where the plan has it, every acknowledged write is there once, and the sources are clean."""
    estate = make_estate()
    estate.write()
    proposal = estate.plan()
    assert proposal.plan.before.imbalance > 1
    run = estate.start()
    found = estate.carry(run)
    assert (found.run.state, found.rebalance.phase, found.exit_code) == ("waiting", "moved", 0), estate.story(run)
    planned = {line.tenant: line.target for line in proposal.lines}
    places = {tenant: estate.placement(tenant) for tenant in planned}
    assert places == planned
    estate.go_on()
    found = estate.project.fleet().finish_rebalance()
    assert (found.run.state, found.rebalance.phase, found.exit_code) == ("finished", "done", 0), estate.story(run)
    assert {line.state for line in found.lines} == {"kept"}
    estate.require_all()
