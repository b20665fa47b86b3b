"""What a process knows of where tenants are: epochs, doubt, age, size. No database."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shardwright.routing.known import Answer, Known, Moment, Place

LIVES, UNHEARD = 1000.0, 10.0


def known(size: int = 100, *, heard: bool = True) -> Known:
    made = Known(size=size, lives=LIVES, unheard=UNHEARD)
    made.is_heard = heard
    return made


def shard_of(epoch: int) -> str | None:
    """The catalog's history in these tests."""
    return f"shard_{epoch % 2}"


PLACES = st.builds(lambda epoch: Place(shard_of(epoch), epoch), st.integers(1, 9))
FORGOTTEN = st.builds(lambda epoch: Place(None, epoch), st.integers(1, 9))
MESSAGES = st.lists(
    st.one_of(
        st.tuples(st.just("answered"), PLACES),
        st.tuples(st.just("announced"), st.one_of(PLACES, FORGOTTEN)),
        st.tuples(st.just("refused"), PLACES),
        st.tuples(st.just("doubt"), st.none()),
    ),
    max_size=12,
)


def deliver(to: Known, message: tuple[str, Any], asked: Moment) -> None:
    kind, place = message
    if kind == "answered":
        to.answered("t", place, asked, 0.0)
    elif kind == "announced":
        to.announced("t", place, 0.0)
    elif kind == "refused":
        to.refused("t", "elsewhere", place, 0.0)
    else:
        to.doubt_all()


@given(messages=MESSAGES)
def test_whatever_the_order_of_messages_the_newest_epoch_wins(messages: list[tuple[str, Any]]) -> None:
    """Answers that were under way, announcements and refusals: an older epoch never replaces a newer one."""
    told = known()
    asked = told.now()  # every answer was read before all else was heard
    newest = (0, False)
    rumoured = 0
    for kind, place in messages:
        deliver(told, (kind, place), asked)
        if kind in ("answered", "announced"):
            newest = max(newest, (place.epoch, place.shard is None))
        elif kind == "refused" and place.epoch > newest[0]:
            rumoured = max(rumoured, place.epoch)
        epoch, is_forgotten = newest
        found = told.look("t", 0.0)
        if rumoured > epoch:
            assert found == Answer(str(shard_of(rumoured)), is_sure=False)
        elif epoch == 0 or is_forgotten:
            assert found is None
        else:
            assert found is not None
            assert found.shard == shard_of(epoch)


def test_an_answer_read_before_an_announcement_does_not_undo_it() -> None:
    """Also of a tenant of which nothing was known when it was announced, and of one that was forgotten."""
    told = known()
    asked = told.now()
    told.announced("t", Place("b", 2), 0.0)
    told.answered("t", Place("a", 1), asked, 0.0)
    assert told.look("t", 0.0) == Answer("b", is_sure=True)
    told.announced("t", Place(None, 2), 0.0)
    told.answered("t", Place("b", 2), asked, 0.0)
    assert told.look("t", 0.0) is None
    told.answered("t", Place("a", 3), told.now(), 0.0)
    assert told.look("t", 0.0) == Answer("a", is_sure=True)


def test_no_such_tenant_read_before_it_was_placed_does_not_hide_it() -> None:
    """An answer 'none' is as old as its question."""
    told = known()
    asked = told.now()
    told.announced("t", Place("a", 1), 0.0)
    told.answered("t", None, asked, 0.0)
    assert told.look("t", 0.0) == Answer("a", is_sure=True)
    told.answered("t", None, told.now(), 0.0)
    assert told.look("t", 0.0) is None


def test_a_refusal_leads_on_but_is_not_yet_sure() -> None:
    """The switch may be taken back: so the catalog is asked, and its later answer decides, whatever the epoch."""
    told = known()
    told.answered("t", Place("a", 1), told.now(), 0.0)
    before = told.now()
    assert told.refused("t", "a", Place("b", 2), 0.0) == "b"
    told.answered("t", Place("a", 1), before, 0.0)  # was under way
    assert told.look("t", 0.0) == Answer("b", is_sure=False)
    told.answered("t", Place("a", 1), told.now(), 0.0)
    assert told.look("t", 0.0) == Answer("a", is_sure=True)


def test_a_shard_that_refuses_what_another_sent_ends_the_rumour() -> None:
    """Before the switch is through, both shards point to each other: what the catalog said stands."""
    told = known()
    told.answered("t", Place("a", 1), told.now(), 0.0)
    told.refused("t", "a", Place("b", 2), 0.0)
    assert told.refused("t", "b", Place("a", 1), 0.0) == "a"
    assert told.look("t", 0.0) == Answer("a", is_sure=True)


def test_a_refusal_that_says_what_was_heard_before_is_followed_without_a_question() -> None:
    """The announcement was faster than the shard: no reason to doubt it."""
    told = known()
    told.announced("t", Place("b", 2), 0.0)
    assert told.refused("t", "a", Place("b", 2), 0.0) == "b"
    assert told.refused("t", "a", Place("c", 1), 0.0) == "b"
    assert told.look("t", 0.0) == Answer("b", is_sure=True)


def test_an_aborted_switch_to_one_shard_does_not_hide_the_one_to_another() -> None:
    """Both have the same epoch; the catalog's word is the one that counts."""
    told = known()
    told.answered("t", Place("a", 1), told.now(), 0.0)
    told.refused("t", "a", Place("b", 2), 0.0)
    told.announced("t", Place("c", 2), 0.0)
    assert told.look("t", 0.0) == Answer("c", is_sure=True)


def test_a_refusal_without_a_place_or_with_an_old_one_is_a_reason_to_ask() -> None:
    """What is known stands meanwhile: it is all there is while the control database is away."""
    for gone_to in (None, Place("b", 1), Place("b", 2), Place("a", 9)):
        told = known()
        told.answered("t", Place("a", 2), told.now(), 0.0)
        assert told.refused("t", "a", gone_to, 0.0) is None
        assert told.look("t", 0.0) == Answer("a", is_sure=False)


def test_what_may_have_been_missed_is_asked_again() -> None:
    """An answer that was read before the listener came back is no surer than what was there."""
    told = known()
    told.answered("t", Place("a", 1), told.now(), 0.0)
    asked = told.now()
    told.doubt_all()
    assert told.look("t", 0.0) == Answer("a", is_sure=False)
    told.answered("t", Place("a", 1), asked, 0.0)
    assert told.look("t", 0.0) == Answer("a", is_sure=False)
    told.answered("t", Place("a", 1), told.now(), 0.0)
    assert told.look("t", 0.0) == Answer("a", is_sure=True)


def test_a_placement_gets_old_and_then_is_gone() -> None:
    """In doubt at half its life, sooner while nobody listens; never used after its life, nor is a rumour."""
    for heard, doubted in ((True, LIVES / 2), (False, UNHEARD)):
        told = known(heard=heard)
        told.answered("t", Place("a", 1), told.now(), 0.0)
        assert told.look("t", doubted - 1) == Answer("a", is_sure=True)
        assert told.look("t", doubted) == Answer("a", is_sure=False)
        assert told.look("t", LIVES - 1) == Answer("a", is_sure=False)
        assert told.look("t", LIVES) is None
    told.refused("t", "a", Place("b", 2), 0.0)
    assert told.look("t", LIVES) is None


def test_of_too_many_those_that_are_used_stay() -> None:
    """And asking for tenants that there are not drives nobody out."""
    told = known(size=3)
    for tenant in "abc":
        told.answered(tenant, Place("s", 1), told.now(), 0.0)
    told.look("a", 0.0)
    told.answered("d", Place("s", 1), told.now(), 0.0)
    for number in range(10):
        told.answered(f"nobody {number}", None, told.now(), 0.0)
    assert len(told) == 3
    assert [tenant for tenant in "abcd" if told.look(tenant, 0.0)] == ["a", "c", "d"]
