"""The nouns of a move, as values: shards, writers, movers, the catalog; and one state of them all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from move.search import Arrow

HOME, AWAY = 0, 1  # the two shards: where the tenant is at first, and where it is to go
NAMES = ("home", "away")
NOWHERE = -1
OPEN, CLOSED, NO_FENCE = "open", "closed", ""
ANYTHING = "?"  # was written past the triggers: nobody answers for this row
KEYS = (0, 1)

Rows = tuple[str, str]  # by key; a row is its unique name, "" where there is none
Entries = frozenset[tuple[int, str]]  # captured keys, each with the transaction that left it
Arrows = Iterator[Arrow["State"]]


class Transaction(NamedTuple):
    """What a writer does at once: rows by key, "" to delete. Unless it inserts, it changes rows that are there."""

    name: str
    changes: tuple[tuple[int, str], ...]
    inserts: bool = False
    is_replica: bool = False  # a session with session_replication_role = replica
    is_unseen: bool = False  # somebody has disabled the source's triggers for it


@dataclass(frozen=True)
class Rules:
    """Who writes what, and how the protocol is played; `mutant` names the one thing that is done wrong, if any."""

    programs: tuple[tuple[Transaction, ...], ...]
    mutant: str = ""
    may_go_back: bool = False  # somebody may ask for the undo, at any time
    tells_early: bool = False  # where the tenant goes is told with the closing, not only once it is there


class Writer(NamedTuple):
    """An application's session: how many transactions are acknowledged, and where the present one is."""

    done: int = 0
    phase: str = "idle"  # idle, wrote (uncommitted, before the fence), passed (holds the lock in shared mode), unseen
    route: int = HOME  # the cached placement
    seen: str = ""  # the flag in the snapshot of its statement: for the mutant that believes it


class Mover(NamedTuple):
    """A process that does the move's steps. Its sessions on a shard live and end together, but for L."""

    runner: int
    next: str = "claim home"
    sessions: tuple[bool, bool] = (False, False)
    source: int = HOME
    lock: int = NOWHERE  # the shard on which its session L holds the exclusive lock
    read: tuple[Entries, Rows] = (frozenset(), ("", ""))  # queue and rows in snapshot S


class Catalog(NamedTuple):
    """The control database: the placement, and the run's row."""

    is_up: bool = True
    placement: int = HOME
    phase: str = "moving"
    runner: int = 1
    wish: str = "there"  # or "back"
    certificate: str = ""  # or holds, differs
    late: tuple[int, int] | None = None  # a switch on its way: the runner who sent it, the source


class Faults(NamedTuple):
    """What may still go wrong, counted."""

    total: int = 0
    kill: int = 0
    stop: int = 0
    crash: int = 0
    lock_lost: int = 0
    catalog_down: int = 0
    no_answer: int = 0


class Shard(NamedTuple):
    """One shard: the tenant's rows, and what the move has made there."""

    rows: Rows = ("", "")
    fence: str = NO_FENCE
    queue: Entries = frozenset()
    gone_to: int = NOWHERE
    runner: int = 0
    copied: tuple[int, ...] = ()


class State(NamedTuple):
    """All of it."""

    shards: tuple[Shard, Shard]
    writers: tuple[Writer, ...]
    movers: tuple[Mover, ...]
    catalog: Catalog
    faults: Faults
    truth: Rows  # what the acknowledged writes make, in the order of their acknowledgement


# --- questions ----------------------------------------------------------------------------------


def agrees(rows: Rows, truth: Rows) -> bool:
    """Whether a shard holds every acknowledged write."""
    return all(truth[key] in (rows[key], ANYTHING) for key in KEYS)


def is_same_but_for_captured(state: State, winner: int) -> bool:
    """The certificate: the frozen loser against the winner, leaving out the keys that the winner has captured since."""
    rows, frozen = state.shards[winner].rows, state.shards[1 - winner].rows
    captured = {key for key, _ in state.shards[winner].queue}
    return all(rows[key] == frozen[key] for key in KEYS if key not in captured)


def is_used(state: State, shard: int) -> bool:
    """Whether a transaction there holds the tables, so that no trigger can be made or dropped."""
    return any(writer.phase != "idle" and writer.route == shard for writer in state.writers)


def rows_in_use(rules: Rules, state: State, shard: int) -> set[int]:
    """The keys of rows that writers have changed there, and not committed."""
    return {
        key
        for writer, program in zip(state.writers, rules.programs, strict=True)
        if writer.phase != "idle" and writer.route == shard
        for key, _ in program[writer.done].changes
    }


# --- changes ------------------------------------------------------------------------------------


def placed(items: tuple[Any, ...], at: int, item: object) -> Any:
    """The tuple with another item there."""
    return (*items[:at], item, *items[at + 1 :])


def with_changes(rows: Rows, changes: tuple[tuple[int, str], ...]) -> Rows:
    """The rows after a transaction."""
    for key, row in changes:
        rows = placed(rows, key, row)
    return rows


def with_writer(state: State, number: int, **changed: Any) -> State:
    """That writer has gone on."""
    return state._replace(writers=placed(state.writers, number, state.writers[number]._replace(**changed)))


def with_mover(state: State, number: int, **changed: Any) -> State:
    """That mover has gone on."""
    return state._replace(movers=placed(state.movers, number, state.movers[number]._replace(**changed)))


def without_mover(state: State, number: int) -> State:
    """A mover's process is gone, and with it its sessions and locks."""
    return state._replace(movers=(*state.movers[:number], *state.movers[number + 1 :]))


def without_sessions(state: State, shard: int) -> State:
    """No mover has a session on that shard any more."""
    for number, mover in enumerate(state.movers):
        lock = NOWHERE if mover.lock == shard else mover.lock
        state = with_mover(state, number, sessions=placed(mover.sessions, shard, False), lock=lock)
    return state


def with_shard(state: State, shard: int, **changed: Any) -> State:
    """Something is different on that shard."""
    return state._replace(shards=placed(state.shards, shard, state.shards[shard]._replace(**changed)))


def with_catalog(state: State, **changed: Any) -> State:
    """Something is different in the control database."""
    return state._replace(catalog=state.catalog._replace(**changed))


def with_fault(state: State, kind: str) -> State:
    """One fault less is left."""
    left = state.faults
    return state._replace(faults=left._replace(total=left.total - 1, **{kind: getattr(left, kind) - 1}))
