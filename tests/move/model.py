"""The move of a tenant as a machine: who may do what next, what may go wrong, and when all is quiet.

One arrow is one statement, or one message, of one process; between two of them anything else may happen. `search.py`
walks them all, `scenarios.py` says with which writers and which faults. `python tests/move/model.py` prints the count.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from move import mover, switch, writers
from move.search import Arrow, Broken
from move.state import (
    AWAY,
    HOME,
    NAMES,
    NOWHERE,
    OPEN,
    Arrows,
    Mover,
    Rules,
    Shard,
    State,
    agrees,
    with_catalog,
    with_fault,
    with_mover,
    with_shard,
    with_writer,
    without_mover,
    without_sessions,
)

STEPS: dict[str, Callable[[Rules, State, int], Arrows]] = {
    "claim home": mover.claim,
    "claim away": mover.claim,
    "look": mover.look,
    "capture": mover.capture,
    **{f"read {part}": mover.read for part in ("0", "1", "last")},  # each of the two ranges; the last drain
    **{f"apply {part}": mover.apply for part in ("0", "1", "last")},
    **{f"forget {part}": mover.forget for part in ("0", "1", "last")},
    "lock": switch.take_lock,
    "close": switch.close,
    "tell": switch.tell,
    "switch": switch.switch,
    "reopen": switch.reopen,
    "open": switch.open_target,
    "release": switch.release,
    "certify": switch.certify,
    "keep": switch.keep,
    "certify again": switch.certify,
    "clean": switch.clean,
    "open home": mover.open_home,
    "wait for routers": mover.wait_for_routers,
    "delete": mover.delete,
    "drop loser": mover.drop,
    "drop winner": mover.drop,
    "end": mover.end,
}
ENDS = frozenset({"end", "held"})  # held: the certificate differs, and a human has to look


def arrows(rules: Rules, state: State) -> Arrows:
    """Each thing that may happen next."""
    for number in range(len(state.writers)):
        yield from writers.goes_on(rules, state, number)
    for number, each in enumerate(state.movers):
        yield from STEPS[each.next](rules, state, number)
    yield from somebody_steps_in(rules, state)
    yield from catalog_goes_on(rules, state)
    if state.faults.total:
        yield from something_fails(state)


def is_finish(rules: Rules, state: State) -> bool:
    """Whether all is quiet. By then nothing is lost (I1), and nothing of the move is left."""
    catalog = state.catalog
    if state.movers or catalog.late or catalog.phase not in ENDS:
        return False
    if any(writer.done < len(program) for writer, program in zip(state.writers, rules.programs, strict=True)):
        return False
    here, other = state.shards[catalog.placement], state.shards[1 - catalog.placement]
    if not agrees(here.rows, state.truth):
        raise Broken("I1", f"acknowledged {state.truth}, {NAMES[catalog.placement]} holds {here.rows}")
    if catalog.phase == "end" and (here, other) != (Shard(rows=here.rows), Shard()):
        raise Broken("I4", f"the move has ended and left something behind: {state.shards}")
    return True


def somebody_steps_in(rules: Rules, state: State) -> Arrows:
    """An operator who wants the tenant back; a successor with the next number, also of a mover that only slept."""
    catalog = state.catalog
    if catalog.phase in ENDS or not catalog.is_up:
        return
    if rules.may_go_back and catalog.wish == "there" and catalog.phase not in {"finishing", "cleaning"}:
        yield Arrow("somebody asks for the way back", with_catalog(state, wish="back"), is_fault=True)
    sleeps = any(each.runner == catalog.runner for each in state.movers)
    if sleeps and not (state.faults.total and state.faults.stop):
        return
    runner = catalog.runner + 1
    after = with_catalog(state, runner=runner)._replace(movers=(*state.movers, Mover(runner)))
    if sleeps:
        yield Arrow(
            f"✗ mover {catalog.runner} seems dead, mover {runner} takes over", with_fault(after, "stop"), is_fault=True
        )
    else:
        yield Arrow(f"mover {runner} takes over", after)


def catalog_goes_on(rules: Rules, state: State) -> Arrows:
    """It comes back; what has been sent to it arrives, or never does."""
    catalog = state.catalog
    if not catalog.is_up:
        yield Arrow("the catalog is back", with_catalog(state, is_up=True))
    if catalog.late:
        runner, source = catalog.late
        without = with_catalog(state, late=None)
        yield Arrow("the switch without an answer never arrives", without)
        if catalog.is_up and switch.is_runner(rules, catalog, runner):
            yield Arrow(f"mover {runner}'s switch without an answer arrives", switch.switched(rules, without, source))


def something_fails(state: State) -> Arrows:
    """A process is killed, a shard crashes and starts again, L is lost, the catalog goes away."""
    left = state.faults
    for number, each in enumerate(state.movers):
        if left.kill:
            yield fault(f"mover {each.runner} is killed", without_mover(state, number), "kill")
        if left.lock_lost and each.lock != NOWHERE:
            lost = with_mover(state, number, lock=NOWHERE)
            yield fault(f"mover {each.runner}'s session L is terminated", lost, "lock_lost")
    if left.crash:
        yield from crash(state, HOME)
        yield from crash(state, AWAY)
    if left.catalog_down and state.catalog.is_up:
        yield fault("the catalog is away", with_catalog(state, is_up=False), "catalog_down")


def crash(state: State, shard: int) -> Arrows:
    """All sessions there are gone, and what was not committed; setval is safe only once a commit has followed."""
    is_uncommitted = any(each.next == "tell" and each.lock == shard for each in state.movers)
    state = without_sessions(state, shard)
    for number, writer in enumerate(state.writers):
        if writer.phase != "idle" and writer.route == shard:
            state = with_writer(state, number, phase="idle", seen="")
    yield fault(f"{NAMES[shard]} crashes", state, "crash")
    if is_uncommitted and state.catalog.placement == shard:
        yield fault(f"{NAMES[shard]} crashes and forgets the flag", with_shard(state, shard, fence=OPEN), "crash")


def fault(label: str, state: State, kind: str) -> Arrow[State]:
    """Something that goes wrong."""
    return Arrow(f"✗ {label}", with_fault(state, kind), is_fault=True)


if __name__ == "__main__":
    from move.scenarios import report

    report()
