"""Which shard is in hand: for code of ours that a user's revision calls, and that is given no session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shardwright.runs.session import ShardSession

_session: ContextVar[ShardSession | None] = ContextVar("session", default=None)


def current() -> ShardSession | None:
    """The shard's session that this thread's task was given; None outside of a worker."""
    return _session.get()


@contextmanager
def in_hand(session: ShardSession) -> Iterator[None]:
    """`current` gives `session` within."""
    token = _session.set(session)
    try:
        yield
    finally:
        _session.reset(token)
