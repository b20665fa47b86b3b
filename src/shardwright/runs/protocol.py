"""What a run's process and its workers say to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shardwright.shard import Shard


@dataclass(frozen=True)
class Order:
    """Do `task` (`module:function`) on `shard`. Time-outs in milliseconds; `lock` is the shard's advisory lock.

    `alone`: the session that holds the lock does the work itself.
    """

    shard: Shard
    task: str
    payload: Mapping[str, Any]
    application_name: str
    lock: int
    lock_timeout: int
    statement_timeout: int
    attempt: int
    alone: bool = False


@dataclass(frozen=True)
class Cancel:
    """Cancel what the worker's sessions are running; with `hard`, end the sessions."""

    reason: str
    hard: bool = False


@dataclass(frozen=True)
class Begun:
    """The worker has the order in hand; starting the process takes longer than many a migration."""


@dataclass(frozen=True)
class Progress:
    """The task came to a point worth telling."""

    message: str


@dataclass(frozen=True)
class Reply:
    """How an order ended: a value, or a reason why not. `again` says that trying later may help."""

    value: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    hint: str | None = None
    again: bool = False


Request = Order | Cancel
Answer = Begun | Progress | Reply
