"""Plans of small worlds: every one keeps every rule, and none that does is better."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from rebalance.worlds import Every, worlds
from shardwright.rebalance.check import broken
from shardwright.rebalance.plan import plan
from shardwright.rebalance.rules import Rules
from shardwright.rebalance.world import World

Case = tuple[World, Rules, frozenset[str], frozenset[str]]


@settings(max_examples=150, deadline=None)
@given(case=worlds())
def test_a_plan_keeps_every_rule_and_no_other_is_better(case: Case) -> None:
    """First as few tenants as can be are left where they ought not to be, then the shards are as even as the tolerance
    asks or as can be, then it is the cheapest; the bound is below what it reaches.
    """
    made, rules, empty, only_to = case
    rules = replace(rules, frees_after=None)
    found = plan(made, rules, empty=empty, only_to=only_to)
    assert broken(made, rules, found.moves, empty=empty, only_to=only_to) == ()
    every = Every(made, rules, empty, only_to)
    places = {each.tenant: each.shard for each in made.tenants} | {each.tenant: each.target for each in found.moves}
    reached, best = every.score(places), every.best()
    assert (reached[0], reached[2]) == (best[0], best[2])
    assert abs(reached[1] - best[1]) < 1e-5
    assert found.bound.imbalance <= found.after.worst + 1e-6
    assert found.bound.cost <= found.cost
    assert (found.bytes, found.cost) == (sum(each.bytes for each in found.moves), reached[2])


@settings(max_examples=60, deadline=None)
@given(case=worlds())
def test_a_plan_that_frees_what_has_moved_keeps_every_rule(case: Case) -> None:
    """Also where rounds wait for the room that earlier ones give back; and it says truly what it brings."""
    made, rules, empty, only_to = case
    found = plan(made, rules, empty=empty, only_to=only_to)
    assert broken(made, rules, found.moves, empty=empty, only_to=only_to) == ()
    places = {each.tenant: each.shard for each in made.tenants} | {each.tenant: each.target for each in found.moves}
    carried = dict.fromkeys(found.after.loads, 0.0)
    every = Every(made, rules, empty, only_to)
    for name, place in places.items():
        if place in carried:
            carried[place] += every.loads[name] / every.due[place]
    if any(every.loads.values()):
        assert all(abs(load - carried[name]) < 1e-9 for name, load in found.after.loads.items())


@settings(max_examples=40, deadline=None)
@given(case=worlds(), seed=st.integers(0, 9))
def test_the_same_world_has_the_same_plan(case: Case, seed: int) -> None:
    """In whatever order its tenants and shards are given."""
    made, rules, empty, only_to = case
    dice = random.Random(seed)  # noqa: S311 shuffles
    tenants, shards = list(made.tenants), list(made.shards)
    dice.shuffle(tenants)
    dice.shuffle(shards)
    shuffled = replace(made, tenants=tuple(tenants), shards=tuple(shards))
    one, other = (plan(each, rules, empty=empty, only_to=only_to) for each in (made, shuffled))
    assert one.as_dict() == other.as_dict()
