"""How a call follows its tenant: the first hint at once, then ever slower, and not for ever. No database, no clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardwright import errors
from shardwright.routing.following import FIRST_PAUSE, LONGEST_PAUSE, Following


def test_the_first_hint_is_followed_at_once() -> None:
    """A move that is through costs a call nothing but the try."""
    following = Following("t", patience=30)
    assert following.refused("a", "b", 0.0) == 0.0
    assert following.next_shard == "b"


def test_without_a_hint_the_catalog_gets_a_moment() -> None:
    """And is asked: there is no next shard."""
    following = Following("t", patience=30)
    assert 0 < following.refused("a", None, 0.0) <= FIRST_PAUSE
    assert following.next_shard is None


@given(hints=st.lists(st.sampled_from(["a", "b", None]), min_size=12, max_size=40))
def test_shards_that_point_to_each_other_are_not_asked_in_a_loop(hints: list[str | None]) -> None:
    """From the second refusal on every try waits, up to a quarter of a second."""
    following = Following("t", patience=1000)
    pauses = [following.refused("x", hint, 0.0) for hint in hints]
    assert all(pause >= FIRST_PAUSE / 2 for pause in pauses[1:])
    assert all(LONGEST_PAUSE / 2 <= pause <= LONGEST_PAUSE for pause in pauses[7:])


def test_patience_ends() -> None:
    """Counted from the first refusal; the error says of whom, for how long and where, and keeps its cause."""
    following, cause = Following("acme", patience=2.0), ValueError("the refusal")
    following.refused("a", "b", 100.0)
    following.refused("b", "a", 101.5)
    with pytest.raises(errors.TenantIsMoving, match=r"'acme' is moving: .* for 2\.0 s, last on a") as caught:
        following.refused("a", "b", 102.0, cause)
    assert (caught.value.seconds, caught.value.__cause__) == (2.0, cause)
