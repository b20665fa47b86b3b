"""Nothing that was acknowledged is lost: a tenant goes back and forth while everybody writes."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from moves import ACTS, Arena, MakeArena
from points import at

# Where a move is cancelled that does not come to its end.
MOMENTS = ("after capture.install 1", "after Copy._note 2", "after compare.compare 1", "before fence.lock 1")
END = st.sampled_from(["finish", "finish", "undo", "undo", *MOMENTS])


def journey(arena: Arena, ends: list[str]) -> str:
    """One move after the other, each with its end, while writers are at work; gives where the tenant is then."""
    here, other = arena.home, arena.there
    for end in ends:
        run = arena.start(to=other)
        with ExitStack() as stack:
            if end in MOMENTS:
                stack.enter_context(at(end, lambda run=run: cancel(arena, run)))  # type: ignore[misc]
            status = arena.carry(run)
        arena.go_on()
        if end in MOMENTS:
            assert status.run.state == "cancelled", arena.story(run)
            continue
        assert status.move.phase == "switched", arena.story(run)
        if end == "finish":
            arena.finish()
            here, other = other, here
        else:
            arena.undo()
        arena.go_on()
    return here


def cancel(arena: Arena, run: int) -> None:
    """An operator does."""
    with arena.board() as board:
        board.cancel(run)


def test_a_tenant_goes_there_and_back_while_everybody_writes(make_arena: MakeArena) -> None:
    """Undone once, then moved for good: each acknowledged write is where the tenant is, once."""
    arena = make_arena(rows=60)
    arena.write()
    arena.require_all(journey(arena, ["undo", "finish"]))
    arena.require_nothing_left()


@pytest.mark.faults
@pytest.mark.timeout(3600)
@settings(
    max_examples=20,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    ends=st.lists(END, min_size=1, max_size=4),
    routers=st.integers(1, 5),
    ignorant=st.integers(0, 2),
    rows=st.sampled_from([10, 300, 3000]),
    acts=st.sets(st.sampled_from(sorted(set(ACTS) - {"insert"})), min_size=3),
    restless=st.booleans(),
)
def test_any_journey_with_any_writers(
    make_arena: MakeArena,
    *,
    ends: list[str],
    routers: int,
    ignorant: int,
    rows: int,
    acts: set[str],
    restless: bool,
) -> None:
    """However often it goes, and is cancelled or undone, and whatever is written meanwhile."""
    arena = make_arena(rows=rows)
    arena.pause = 0.0 if restless else 0.05
    try:
        arena.write(routers=routers, ignorant=ignorant, acts=("insert", "insert", *sorted(acts)))
        arena.require_all(journey(arena, ends))
        arena.require_nothing_left()
    finally:
        arena.end()
