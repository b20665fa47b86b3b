"""With which writers and which faults the model is explored; and the mutants, each with what must catch it."""

from __future__ import annotations

import sys
import time
from functools import cache, partial
from typing import NamedTuple

from move import model
from move.search import Explored, explore
from move.state import Catalog, Faults, Mover, Rows, Rules, Shard, State, Transaction, Writer

RENAME = Transaction("rename row 0", ((0, "c"),))
INSERT = Transaction("insert row 1", ((1, "b"),), inserts=True)
DELETE = Transaction("delete row 0", ((0, ""),))
SWAP = Transaction("swap the names of rows 0 and 1", ((0, "b"), (1, "a")))
CASCADE = Transaction("delete row 0, and with it row 1", ((0, ""), (1, "")))
AS_REPLICA = Transaction("rename row 0 as replica", ((0, "c"),), is_replica=True)
UNSEEN = Transaction("rename row 1 while triggers are disabled", ((1, "e"),), is_unseen=True)
ONE, BOTH = ("a", ""), ("a", "b")


class Scenario(NamedTuple):
    """Writers with their transactions, the rows at first, and what may go wrong."""

    programs: tuple[tuple[Transaction, ...], ...]
    rows: Rows = ONE
    faults: Faults = Faults()
    may_go_back: bool = True
    tells_early: bool = False


@cache
def explored(scenario: Scenario, mutant: str = "") -> Explored:
    """All of it, once. Raises Broken."""
    rules = Rules(scenario.programs, mutant, scenario.may_go_back, scenario.tells_early)
    start = State(
        shards=(Shard(rows=scenario.rows), Shard()),
        writers=tuple(Writer() for _ in scenario.programs),
        movers=(Mover(1),),
        catalog=Catalog(),
        faults=scenario.faults,
        truth=scenario.rows,
    )
    return explore(start, partial(model.arrows, rules), partial(model.is_finish, rules))


def at_most(faults: int) -> Faults:
    """So many in one run, of different kinds."""
    return Faults(faults, kill=1, stop=1, crash=1, lock_lost=1, catalog_down=1, no_answer=1)


SCENARIOS = {
    "two writers": Scenario(((RENAME,), (INSERT,))),
    "two writers of one row": Scenario(((RENAME,), (DELETE,))),
    "one writer twice": Scenario(((RENAME, DELETE),)),
    "names swapped": Scenario(((SWAP,),), BOTH),
    "cascade": Scenario(((CASCADE,),), BOTH),
    "replica": Scenario(((AS_REPLICA,),)),
    "triggers disabled": Scenario(((UNSEEN,),), BOTH, may_go_back=False),
    "any one fault": Scenario(((RENAME,),), faults=at_most(1)),
    "mover killed, told early": Scenario(((RENAME,),), faults=Faults(1, kill=1), tells_early=True),
}
LARGE = {
    "any one fault, told early": Scenario(((RENAME,),), faults=at_most(1), tells_early=True),
    "any two faults": Scenario(((RENAME,),), faults=at_most(2)),
    "any two faults, told early": Scenario(((RENAME,),), faults=at_most(2), tells_early=True),
    "two writers, any one fault": Scenario(((RENAME,), (INSERT,)), faults=at_most(1)),
    "one writer twice, any one fault": Scenario(((RENAME, DELETE),), faults=at_most(1)),
    "names swapped, any two faults, no undo": Scenario(((SWAP,),), BOTH, at_most(2), may_go_back=False),
}


class Mutant(NamedTuple):
    """One thing done wrong, in a scenario just large enough, and what breaks there first."""

    scenario: Scenario
    breaks: str


ALONE = Scenario(((RENAME,),), may_go_back=False)
LOST_LOCK = Faults(1, lock_lost=1)
NO_ANSWER = Faults(1, no_answer=1)
SLEEPS = Faults(1, stop=1)
MUTANTS = {
    # capture and fence
    "plain_trigger": Mutant(Scenario(((AS_REPLICA,),)), "I2"),
    "orphans_skipped": Mutant(Scenario(((CASCADE,),), BOTH), "I1"),
    "fence_by_snapshot": Mutant(ALONE, "I2"),
    "mover_is_captured": Mutant(ALONE, "I6"),
    # copy and drain
    "forget_by_range": Mutant(Scenario(((RENAME, DELETE),)), "I1"),
    "upsert": Mutant(Scenario(((DELETE,),)), "I1"),
    "upsert_after_delete": Mutant(Scenario(((SWAP,),), BOTH), "I4"),
    "drain_in_batches": Mutant(Scenario(((SWAP,),), BOTH), "I4"),
    "range_not_deleted": Mutant(Scenario(((INSERT,),)), "I4"),
    # the switch
    "snapshot_before_lock": Mutant(ALONE, "I1"),
    "closed_by_another": Mutant(Scenario(((RENAME,),), faults=LOST_LOCK, may_go_back=False), "I2"),
    "open_before_switch": Mutant(ALONE, "I2"),
    "no_guard": Mutant(Scenario(((RENAME,),), faults=NO_ANSWER), "I5"),
    "no_phase_guard": Mutant(Scenario(((RENAME,),), faults=NO_ANSWER), "I5"),
    "reopened_by_another": Mutant(Scenario((), faults=Faults(2, stop=1, no_answer=1), may_go_back=False), "I2"),
    "no_look_at_target": Mutant(Scenario((), faults=Faults(2, kill=1, catalog_down=1), may_go_back=False), "I2"),
    # takeover
    "old_sessions_live": Mutant(Scenario(((RENAME,),), faults=SLEEPS, may_go_back=False), "I6"),
    "no_look_after_claim": Mutant(Scenario((), faults=SLEEPS), "I4"),
    # clean and undo
    "delete_before_switch": Mutant(ALONE, "I5"),
    "no_certificate": Mutant(Scenario(((UNSEEN,),), BOTH, may_go_back=False), "I5"),
    "certified_once": Mutant(Scenario(((UNSEEN,),), BOTH, may_go_back=False), "I5"),
    "clean_does_not_wait": Mutant(ALONE, "I2"),
    "undo_does_not_wait": Mutant(Scenario(((RENAME,),), faults=Faults(1, kill=1), tells_early=True), "I2"),
}


def report() -> None:
    """Prints the states of each scenario and the time."""
    for name, scenario in {**SCENARIOS, **LARGE}.items():
        begun = time.perf_counter()
        seen = explored(scenario)
        seconds = time.perf_counter() - begun
        sys.stdout.write(f"{name:40}{seen.states:>9,} states {seen.arrows:>10,} arrows {seconds:6.1f} s\n")
        sys.stdout.flush()
