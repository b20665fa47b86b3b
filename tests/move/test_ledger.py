"""Nothing that was acknowledged is lost: a tenant goes back and forth while everybody writes."""

from __future__ import annotations

from hypothesis import strategies as st

from moves import MakeArena

# What may become of a move, and of the one after it.
ENDS = st.sampled_from(["finish", "undo", "cancel"])


def test_a_tenant_goes_there_and_back_while_everybody_writes(make_arena: MakeArena) -> None:
    """Undone once, then moved for good: each acknowledged write is where the tenant is, once."""
    arena = make_arena()
    arena.write()
    arena.move()
    arena.go_on()
    arena.undo()
    arena.go_on()
    arena.move()
    arena.go_on()
    arena.finish()
    arena.go_on()
    arena.require_all("there")
    arena.require_nothing_left()
