"""What happens while a run goes on, for whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shardwright.runs.results import RunResult, ShardResult


@dataclass(frozen=True)
class RunStarted:
    """The plan is made: `todo` of `total` shards have work to be done; `run` is its number in the ledger."""

    kind: str
    run: int | None
    target: str | None
    total: int
    todo: int


@dataclass(frozen=True)
class WaysChosen:
    """These revisions are rendered once and sent to all shards, proven to do the same; the others run online, why."""

    rendered: tuple[str, ...]
    why_online: Mapping[str, str]


@dataclass(frozen=True)
class Rehearsing:
    """The plan is tried on a copy of this shard, for it and the others, `shards` in all, with the same schema."""

    shard: str
    shards: int


@dataclass(frozen=True)
class Rehearsed:
    """The plan was tried on copies; `report` is what `--json` prints of it."""

    report: Mapping[str, Any]


@dataclass(frozen=True)
class Warned:
    """Something worth knowing that stops nothing: what it is, and what helps (empty where nothing need be done)."""

    fact: str
    cure: str = ""


@dataclass(frozen=True)
class WaveStarted:
    """Wave `number` of `of` begins, with this many shards."""

    number: int
    of: int
    shards: int


@dataclass(frozen=True)
class ShardStarted:
    """A worker took this shard, for the `attempt`th time."""

    shard: str
    attempt: int


@dataclass(frozen=True)
class ShardProgress:
    """A shard's work came to a point worth telling."""

    shard: str
    message: str


@dataclass(frozen=True)
class ShardWaiting:
    """A try failed and will be made again after `seconds`."""

    shard: str
    reason: str
    seconds: float


@dataclass(frozen=True)
class ShardFinished:
    """A shard has its result."""

    result: ShardResult


@dataclass(frozen=True)
class ShardPrepared:
    """All shards or none: this one has done its part and waits, its locks held, for the decision."""

    shard: str


@dataclass(frozen=True)
class Decided:
    """All shards or none: `commit` or `abort`, in the ledger; from here on this is what happens on all `shards`."""

    decision: str
    shards: int


@dataclass(frozen=True)
class Stopping:
    """Nothing new is started from here on."""

    reason: str


@dataclass(frozen=True)
class RunFinished:
    """Everything has its result."""

    result: RunResult


Event = (
    RunStarted
    | WaysChosen
    | Rehearsing
    | Rehearsed
    | Warned
    | WaveStarted
    | ShardStarted
    | ShardProgress
    | ShardWaiting
    | ShardFinished
    | ShardPrepared
    | Decided
    | Stopping
    | RunFinished
)
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener of callers that want none."""
    del event


def each_of(*listeners: Listener) -> Listener:
    """A listener that hands every event to all of these, in their order."""

    def listen(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return listen
