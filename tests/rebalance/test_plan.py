"""Each rule on a world as small as it can be."""

from __future__ import annotations

import builtins
import sys
from dataclasses import replace
from typing import Any

import pytest

from rebalance.worlds import BY_BYTES, move, tenant, world
from shardwright import errors
from shardwright.rebalance.check import broken
from shardwright.rebalance.plan import RebalancePlan, plan
from shardwright.rebalance.rules import Rules
from shardwright.rebalance.world import ShardState, TenantLoad, World


def targets(found: RebalancePlan) -> dict[str, str]:
    return {each.tenant: each.target for each in found.moves}


def full(*sizes: int, **more: Any) -> list[TenantLoad]:
    """Tenants a, b, c … on shard s0, of these sizes."""
    return [tenant(name, "s0", size, **more) for name, size in zip("abcdef", sizes, strict=False)]


def test_nothing_is_moved_within_the_tolerance() -> None:
    """Shards that carry as much as they are due, or a little more, are left alone."""
    found = plan(world([tenant("a", "s0", 11), tenant("b", "s1", 10)], ["s0", "s1"]), BY_BYTES)
    assert (found.moves, found.bytes, found.refused) == ((), 0, ())


def test_the_cheapest_tenant_that_is_enough_is_moved() -> None:
    """As large as the imbalance asks, and no larger; the sentence says why."""
    found = plan(world(full(30, 20, 10), ["s0", "s1"]), BY_BYTES)
    assert targets(found) == {"a": "s1"}
    assert found.after.imbalance == pytest.approx(0)
    assert "s0 carries 100.0% more than its due; a has 50.0% of the fleet's load in 30 bytes" in found.moves[0].why


def test_writes_that_weigh_little_go_first() -> None:
    """A tenant that writes much and is small removes more load for each byte than a large one."""
    tenants = [tenant("small", "s0", 1, writes=50.0), tenant("large", "s0", 50, writes=50.0), tenant("c", "s1", 50)]
    assert targets(plan(world(tenants, ["s0", "s1"]), replace(BY_BYTES, measures={"writes": 1.0}))) == {"small": "s1"}


def test_a_shard_gets_by_its_share() -> None:
    """One that is to carry three times as much as the other has three of four tenants in the end."""
    found = plan(world(full(10, 10, 10, 10), ["s0", "s1"]), replace(BY_BYTES, shares={"s1": 3.0}))
    assert len(found.moves) == 3


def test_a_tenant_larger_than_a_shard_is_no_reason_to_leave_the_others_uneven() -> None:
    """It stays alone; the rest is shared out among the others."""
    tenants = [tenant("giant", "s0", 100), *(tenant(name, "s1", 10) for name in "abcd")]
    found = plan(world(tenants, ["s0", "s1", "s2"]), BY_BYTES)
    assert "giant" not in targets(found)
    assert found.after.loads["s0"] == found.before.loads["s0"]


def test_pinned_and_moving_tenants_stay() -> None:
    """The others go in their stead."""
    tenants = [*full(10, 10, 10), tenant("d", "s0", 10, is_moving=True)]
    found = plan(world(tenants, ["s0", "s1"]), replace(BY_BYTES, pinned=frozenset({"a"})))
    assert targets(found) == {"b": "s1", "c": "s1"}


def test_what_would_be_cheapest_is_left_if_it_may_not_be() -> None:
    """A tenant that moves already, and a shard that is closed to new ones, though both are what balance asks for."""
    moving = [tenant("d", "s0", 30, is_moving=True), *full(20, 10)]
    assert targets(plan(world(moving, ["s0", "s1"]), BY_BYTES)) == {"a": "s1", "b": "s1"}
    closed: list[str | ShardState] = [ShardState("s1", "h1", takes_new=False), "s2"]
    assert set(targets(plan(world(full(10, 10, 10), [*closed, "s0"]), BY_BYTES)).values()) == {"s2"}


def test_labels_say_where_a_tenant_may_live() -> None:
    """One that is where it may not be goes, even if that is not needed for balance; one that fits nowhere is named."""
    shards = [ShardState("s0", "h0", {"region": "eu"}), ShardState("s1", "h1", {"region": "us"})]
    tenants = [tenant("a", "s0", labels={"region": "us"}), tenant("b", "s0", 0, labels={"region": "asia"})]
    found = plan(world(tenants, shards), BY_BYTES)
    assert targets(found) == {"a": "s1"}
    assert found.moves[0].why.startswith("a's region is us, and s0's is eu")
    assert [(each.tenant, "no shard that takes tenants has its region" in each.why) for each in found.refused] == [
        ("b", True)
    ]


def test_tenants_that_belong_together_go_together() -> None:
    """In rounds that follow one another; those that were parted are joined."""
    rules = replace(BY_BYTES, together=(("a", "b"), ("c", "d")), per_host=1)
    tenants = [*full(10, 10, 20), tenant("d", "s1", 1), tenant("e", "s1", 1)]
    found = plan(world(tenants, ["s0", "s1", "s2"]), rules)
    ends = {each.tenant: each.shard for each in tenants} | targets(found)
    assert ends["a"] == ends["b"] != ends["c"] == ends["d"]
    rounds = sorted(each.round for each in found.moves if each.tenant in "ab")
    assert not rounds or rounds[1] - rounds[0] == 1


def test_tenants_that_are_to_be_apart_never_meet() -> None:
    """The one comes when the other has left; a change of places that would need both at once is not planned."""
    shards: list[str | ShardState] = [ShardState("s0", "h0", takes_new=False), "s1", "s2"]
    tenants = [tenant("a", "s0", 10), tenant("b", "s1", 10), tenant("x", "s1", 0)]
    rules = replace(BY_BYTES, apart=(("a", "b"),))
    found = plan(world(tenants, shards), rules, empty=["s0"], only_to=["s1", "s2"])
    ends = {"b": "s1"} | targets(found)
    assert ends["a"] != ends["b"]
    crowded = plan(world([tenant("a", "s0"), tenant("b", "s0")], ["s0", "s1"]), replace(rules, tolerance=1.0))
    assert len(crowded.moves) == 1


def test_who_comes_waits_until_the_other_has_left() -> None:
    """Although it is the larger one, and hosts have room for both moves at once; where both can't go only one does."""
    shards = [ShardState("s0", "h0"), *(ShardState(f"s{n}", f"h{n}", {"region": f"r{n}"}) for n in (1, 2))]
    tenants = [tenant("a", "s0", 50, labels={"region": "r1"}), tenant("b", "s1", 5, labels={"region": "r2"})]
    rules = replace(BY_BYTES, apart=(("a", "b"),))
    found = plan(world(tenants, shards), rules)
    assert [(each.tenant, each.round) for each in found.moves] == [("b", 1), ("a", 2)]
    both_to_one = [replace(each, shard="s0", labels={"region": "r1"}) for each in tenants]
    assert len(plan(world(both_to_one, shards), rules).moves) == 1


def test_what_has_moved_still_fills_its_source() -> None:
    """A host whose disk has room for one tenant gets one, although another leaves it."""
    shards = [ShardState("s0", "h0", disk=1000), ShardState("s1", "h1", bytes=10, disk=25)]
    found = plan(world(full(10, 10, 10, 10), shards), BY_BYTES)
    assert len(found.moves) == 1
    assert found.after.worst == pytest.approx(found.bound.imbalance)


def test_finishing_between_rounds_gives_room_for_the_next() -> None:
    """With `frees_after` two tenants change places over a third shard's host that has room for one of them."""
    shards = [
        ShardState("s0", "h0", disk=1000),
        ShardState("s1", "h1", disk=24, takes_new=True),
        ShardState("s2", "h2"),
    ]
    tenants = [*full(16), tenant("b", "s1", 16)]
    rules = replace(BY_BYTES, apart=(("a", "b"),), frees_after=0, tolerance=0.5)
    found = plan(world(tenants, shards), rules, empty=["s0"], only_to=["s1", "s2"])
    assert not broken(world(tenants, shards), rules, found.moves, empty=["s0"], only_to=["s1", "s2"])
    assert "a" in targets(found)


def test_the_budget_is_kept_and_used_for_what_helps_most() -> None:
    """As even as so many bytes can make it."""
    found = plan(world(full(30, 20, 10), ["s0", "s1"]), replace(BY_BYTES, most_bytes=20))
    assert (targets(found), found.bytes) == ({"b": "s1"}, 20)
    assert 0 < found.bound.imbalance <= found.after.imbalance + 1e-9


def test_moves_at_once_are_counted_on_both_hosts() -> None:
    """With one a host, what leaves one shard leaves it in as many rounds; large ones first."""
    found = plan(world(full(10, 9, 8, 7), ["s0", "s1", "s2"]), replace(BY_BYTES, per_host=1), empty=["s0"])
    assert [(each.number, each.tenant, each.round) for each in found.moves] == [
        (1, "a", 1),
        (2, "b", 2),
        (3, "c", 3),
        (4, "d", 4),
    ]
    assert found.seconds == pytest.approx(8, rel=0.01)
    assert found.gap_ms == 80


def test_a_shard_is_emptied_but_for_whom_nobody_takes() -> None:
    """Who is pinned there is named with the reason; budget or disk leave as few behind as can be."""
    rules = replace(BY_BYTES, pinned=frozenset({"b"}))
    found = plan(world([*full(10, 10), tenant("c", "s1", 1)], ["s0", "s1", "s2"]), rules, empty=["s0"])
    assert targets(found).keys() == {"a"}
    assert [(each.tenant, each.why) for each in found.refused] == [("b", "s0 is to be empty, but b is pinned")]


def test_a_new_shard_is_filled_up_to_its_share() -> None:
    """Although no other shard has more than the tolerance above its due."""
    tenants = [tenant(f"t{number}", f"s{number % 11}", 10) for number in range(121)]
    shards = [f"s{number}" for number in range(12)]
    assert plan(world(tenants, shards), BY_BYTES).moves == ()
    found = plan(world(tenants, shards), BY_BYTES, only_to=["s11"])
    assert {each.target for each in found.moves} == {"s11"}
    assert found.after.lacking <= 0.1


def test_a_name_that_is_no_shard_is_refused() -> None:
    """With those there are."""
    with pytest.raises(errors.NoSuchShard, match="'s7'; it has: s0"):
        plan(world(full(1), ["s0"]), BY_BYTES, empty=["s7"])


def test_without_the_solver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is the command that installs it."""
    imported = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name == "highspy":
            raise ImportError(name)
        return imported(name, *more)

    monkeypatch.delitem(sys.modules, "highspy", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(errors.ExtraMissing) as refused:
        plan(world(full(1), ["s0"]), BY_BYTES)
    assert refused.value.hint == "pip install 'shardwright[rebalance]'"


# --- the checker --------------------------------------------------------------------------------

SHARDS = [
    ShardState("s0", "h0", {"region": "eu"}),
    ShardState("s1", "h1", disk=100),
    ShardState("s2", "h2", takes_new=False),
]
TENANTS = [tenant("a", "s0", 40), tenant("b", "s0", 30), tenant("c", "s1", 20), tenant("d", "s1", 5, is_moving=True)]
CHECKED: World = world(TENANTS, SHARDS)
A, B, C, D = TENANTS


@pytest.mark.parametrize(
    ("rules", "moves", "said"),
    [
        (Rules(), [move(1, A, "s1", 1), move(2, A, "s1", 1)], "a moves 2 times"),
        (Rules(), [move(1, A, "s0", 1)], "does not go from"),
        (Rules(), [move(1, A, "s2", 1)], "s2 takes no tenants"),
        (Rules(), [move(1, A, "s9", 1)], "is not there"),
        (Rules(), [move(2, A, "s1", 1)], "not numbered"),
        (Rules(), [move(1, A, "s1", 2), move(2, C, "s0", 1)], "not in order"),
        (Rules(), [move(1, D, "s0", 1)], "moving already"),
        (Rules(), [move(1, A, "s1", 1), move(2, B, "s1", 2)], "in round 2 h1 is above its high-water mark"),
        (Rules(pinned=frozenset({"a"})), [move(1, A, "s1", 1)], "a is pinned"),
        (Rules(most_bytes=39), [move(1, A, "s1", 1)], "40 bytes are more than 39"),
        (Rules(per_host=1), [move(1, A, "s1", 1), move(2, C, "s0", 1)], "2 moves touch"),
        (Rules(apart=(("a", "c"),)), [move(1, A, "s1", 1)], "a and c meet on s1"),
        (Rules(apart=(("a", "c"),)), [move(1, A, "s1", 1), move(2, C, "s0", 1)], "a and c meet"),
        (Rules(together=(("a", "b"),)), [move(1, A, "s1", 1)], "not together in the end"),
        (Rules(together=(("b", "c"),)), [move(1, B, "s1", 1), move(2, C, "s0", 1)], "not together"),
        (Rules(together=(("b", "x"), ("x", "d"))), [move(1, B, "s1", 1)], "d is moving, and others join it"),
    ],
)
def test_the_checker_names_each_rule_that_is_broken(rules: Rules, moves: list[Any], said: str) -> None:
    """Whatever made the moves."""
    assert any(said in each for each in broken(CHECKED, rules, moves))


def test_the_checker_keeps_to_the_shards_that_were_named() -> None:
    """Nobody goes to a shard that is to be empty, or to another than those to be filled; labels are kept."""
    there = [move(1, A, "s1", 1)]
    assert not broken(CHECKED, Rules(), there)
    assert broken(CHECKED, Rules(), there, empty=["s1"])
    assert broken(CHECKED, Rules(), there, only_to=["s0"])
    labelled = replace(CHECKED, tenants=(replace(A, labels={"region": "eu"}), B, C, D))
    assert broken(labelled, Rules(), there) == ("a is region=eu, and s1 is not",)


def test_a_plan_that_the_checker_refuses_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the solver said."""
    monkeypatch.setattr("shardwright.rebalance.check.broken", lambda *_, **__: ("it breaks a rule",))
    with pytest.raises(errors.NoSoundPlan, match="it breaks a rule"):
        plan(world(full(30, 20, 10), ["s0", "s1"]), BY_BYTES)
