"""The protocol of a move, walked in every order: nothing is lost, and whatever stops it, it can be finished."""

from __future__ import annotations

import pytest

from move.scenarios import LARGE, MUTANTS, SCENARIOS, Mutant, Scenario, explored
from move.search import Arrow, Broken, explore


@pytest.mark.parametrize("scenario", [pytest.param(each, id=name) for name, each in SCENARIOS.items()])
def test_every_order_of_steps_keeps_the_invariants(scenario: Scenario) -> None:
    """No interleaving of writers, movers and faults breaks I1, I2, I4, I5 or I6."""
    seen = explored(scenario)
    assert seen.finishes
    assert seen.states > 100


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", [pytest.param(each, id=name) for name, each in LARGE.items()])
def test_more_writers_and_more_faults_keep_the_invariants(scenario: Scenario) -> None:
    """The same with larger bounds."""
    assert explored(scenario).states > 10_000


@pytest.mark.parametrize(("name", "mutant"), [pytest.param(*each, id=each[0]) for each in MUTANTS.items()])
def test_each_rule_of_the_protocol_is_needed(name: str, mutant: Mutant) -> None:
    """Left out alone, each breaks an invariant, in a scenario in which the protocol itself breaks none."""
    assert explored(mutant.scenario).finishes
    with pytest.raises(Broken) as broken:
        explored(mutant.scenario, name)
    assert broken.value.invariant == mutant.breaks, str(broken.value)


@pytest.mark.faults
def test_the_runners_guard_of_the_switch_is_a_second_belt() -> None:
    """The guard by phase alone is enough for every order of one fault; the runner's number alone is not."""
    assert explored(SCENARIOS["any one fault"], "no_runner_guard").finishes


def test_the_shortest_way_to_a_broken_promise_is_told() -> None:
    """A trace has one line a step, and none that could be left out."""

    def arrows(number: int) -> list[Arrow[int]]:
        if number == 3:
            raise Broken("I1", "three", ("the step that breaks it",))
        return [Arrow(f"to {number + 1}", number + 1), Arrow("to 3", 3)]

    with pytest.raises(Broken) as broken:
        explore(0, arrows, lambda _: False)
    assert str(broken.value) == "I1: three\n   1. to 3\n   2. the step that breaks it"


def test_a_state_that_only_a_fault_could_leave_is_no_way_out() -> None:
    """I4: a dead end is found, and the way into it."""
    ways = {
        "start": [Arrow("well", "end"), Arrow("badly", "stuck")],
        "stuck": [Arrow("luck", "end", is_fault=True)],
        "end": [],
    }
    with pytest.raises(Broken, match=r"(?s)I4: .*stuck.*1\. badly"):
        explore("start", ways.__getitem__, lambda state: state == "end")
