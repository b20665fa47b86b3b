"""Who has signed in: tokens, sessions, and forms of our own."""

from __future__ import annotations

import pytest

from shardwright import errors
from shardwright.web.door import SESSION, Door, Session, TooManyTries, spelled
from web.stage import TOKEN

HERE = "10.0.0.9"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def door(clock: Clock) -> Door:
    return Door(TOKEN, clock=clock)


def signed_in(door: Door, who: str = "ada") -> tuple[str, Session]:
    cookie = door.sign_in(TOKEN, who, address=HERE)
    assert cookie is not None
    session = door.session(cookie)
    assert session is not None
    return cookie, session


def test_whoever_knows_the_token_has_a_session_in_his_name(door: Door) -> None:
    """And nobody else has."""
    _, session = signed_in(door)
    assert session.who == "ada"
    assert door.sign_in(TOKEN + "x", "eve", address=HERE) is None


def test_a_session_ends_by_itself(door: Door, clock: Clock) -> None:
    """After twelve hours its cookie is worth nothing."""
    cookie, _ = signed_in(door)
    clock.now += SESSION - 1
    assert door.session(cookie)
    clock.now += 2
    assert door.session(cookie) is None


def test_a_session_outlives_a_restart_and_not_a_new_token(door: Door, clock: Clock) -> None:
    """The cookie is signed by what follows from the token."""
    cookie, _ = signed_in(door)
    assert Door(TOKEN, clock=clock).session(cookie)
    assert Door("another-token-of-length", clock=clock).session(cookie) is None
    assert Door(None, clock=clock).session(cookie) is None


def test_who_signs_out_ends_the_session_also_for_a_copied_cookie(door: Door) -> None:
    """Other sessions go on."""
    cookie, session = signed_in(door)
    other, _ = signed_in(door, "grace")
    door.sign_out(session)
    assert door.session(cookie) is None
    assert door.session(other)


@pytest.mark.parametrize("forge", [
    lambda _: "",
    lambda _: ".",
    lambda cookie: cookie + "0",
    lambda cookie: cookie[1:],
    lambda cookie: cookie.partition(".")[0] + ".",
    lambda cookie: "e30." + cookie.partition(".")[2],
    lambda cookie: "\N{SNOWMAN}" + cookie,
])  # fmt: skip
def test_a_forged_cookie_is_nobodys(door: Door, forge: object) -> None:
    """Whatever was done to it."""
    cookie, _ = signed_in(door)
    assert callable(forge)
    assert door.session(forge(cookie)) is None


def test_without_a_token_nobody_can_sign_in() -> None:
    """Not with an empty one either."""
    door = Door(None)
    assert not door.is_there
    assert door.sign_in("", "ada", address=HERE) is None


def test_tokens_cannot_be_tried_out(door: Door, clock: Clock) -> None:
    """After five wrong ones an address has to wait for a minute, also with the right one; others have not."""
    for _ in range(5):
        assert door.sign_in("wrong", "eve", address=HERE) is None
    with pytest.raises(TooManyTries):
        door.sign_in(TOKEN, "eve", address=HERE)
    assert door.sign_in(TOKEN, "ada", address="10.0.0.10")
    clock.now += 61
    assert door.sign_in(TOKEN, "ada", address=HERE)


def test_what_is_remembered_of_strangers_does_not_grow(door: Door) -> None:
    """A million addresses that try are not a million entries."""
    for number in range(3000):
        door.sign_in("wrong", "eve", address=f"10.{number >> 8}.{number & 255}.1")
    assert len(door._failures) <= 1000


def test_a_form_is_of_one_session(door: Door) -> None:
    """Another session's form, or none, is not ours."""
    _, session = signed_in(door)
    _, other = signed_in(door)
    assert door.is_own_form(session, door.form_token(session))
    assert not door.is_own_form(session, door.form_token(other))
    assert not door.is_own_form(session, "")


def test_a_token_that_can_be_guessed_is_refused() -> None:
    """Before anything listens."""
    with pytest.raises(errors.WeakToken, match="16"):
        Door("secret")


@pytest.mark.parametrize(("given", "kept"), [
    ("ada", "ada"), ("  ada\nlovelace\x00 ", "ada lovelace"), ("", "somebody"), ("\u202e", "somebody"),
    ("x" * 99, "x" * 60),
])  # fmt: skip
def test_a_name_is_one_line_of_the_ledger(given: str, kept: str) -> None:
    """Without what a terminal would obey."""
    assert spelled(given) == kept
