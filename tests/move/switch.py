"""The mover at the switch: the lock, the closing, the catalog, the opening; then the certificate, and the way back."""

from __future__ import annotations

from move.mover import starts_anew
from move.search import Arrow, Broken
from move.state import (
    CLOSED,
    HOME,
    NAMES,
    NOWHERE,
    OPEN,
    Arrows,
    Catalog,
    Mover,
    Rules,
    State,
    agrees,
    is_same_but_for_captured,
    with_catalog,
    with_fault,
    with_mover,
    with_shard,
    without_mover,
)


def take_lock(rules: Rules, state: State, number: int) -> Arrows:
    """Session L waits for all who have passed the fence; new ones wait behind it."""
    mover = state.movers[number]
    if not mover.sessions[mover.source]:
        yield starts_anew(state, number)
        return
    shared = any(writer.phase == "passed" and writer.route == mover.source for writer in state.writers)
    if not shared and not any(other.lock == mover.source for other in state.movers):
        following = "apply last" if rules.mutant == "snapshot_before_lock" else "read last"
        yield Arrow(f"mover {mover.runner} has the lock", with_mover(state, number, next=following, lock=mover.source))


def holds(rules: Rules, mover: Mover) -> bool:
    """Whether L lives, and with it the lock."""
    return mover.sessions[mover.source] if rules.mutant == "closed_by_another" else mover.lock == mover.source


def close(rules: Rules, state: State, number: int) -> Arrows:
    """The flag, by L itself: a lock that has been lost can't close."""
    mover = state.movers[number]
    if not holds(rules, mover):
        yield starts_anew(state, number)
        return
    state = with_shard(state, mover.source, fence=CLOSED)
    following = "tell" if rules.tells_early else "switch"
    yield Arrow(f"mover {mover.runner} closes {NAMES[mover.source]}", with_mover(state, number, next=following))


def tell(rules: Rules, state: State, number: int) -> Arrows:
    """Where the tenant is, for those who are refused at the source."""
    mover = state.movers[number]
    if not (holds(rules, mover) if rules.tells_early else mover.sessions[mover.source]):
        yield starts_anew(state, number)
        return
    state = with_shard(state, mover.source, gone_to=1 - mover.source)
    following = "switch" if rules.tells_early else "release"
    yield Arrow(f"mover {mover.runner} tells of {NAMES[1 - mover.source]}", with_mover(state, number, next=following))


def switch(rules: Rules, state: State, number: int) -> Arrows:
    """The catalog: the point of no return. Its answer may be lost, or the switch itself come late."""
    mover, catalog = state.movers[number], state.catalog
    unanswered = with_mover(state, number, next="reopen")
    if state.faults.total and state.faults.no_answer and not catalog.late:
        sent = with_catalog(with_fault(unanswered, "no_answer"), late=(mover.runner, mover.source))
        yield Arrow(f"✗ mover {mover.runner} switches, and gets no answer", sent, is_fault=True)
    if not catalog.is_up:
        yield Arrow(f"mover {mover.runner} can't reach the catalog", unanswered)
    elif is_runner(rules, catalog, mover.runner):
        following = "release" if rules.mutant == "open_before_switch" else "open"
        moved = with_mover(switched(rules, state, mover.source), number, next=following)
        yield Arrow(f"mover {mover.runner} switches the placement to {NAMES[1 - mover.source]}", moved)
    else:
        yield Arrow(f"mover {mover.runner} is refused by the catalog", without_mover(state, number))


def is_runner(rules: Rules, catalog: Catalog, runner: int) -> bool:
    """One of the two guards of the switch."""
    return catalog.runner == runner or rules.mutant in {"no_runner_guard", "no_guard"}


def switched(rules: Rules, state: State, source: int) -> State:
    """Placement and phase; the other guard: a switch that belongs to another phase changes nothing."""
    before, after = ("moving", "switched") if source == HOME else ("returning", "returned")
    if state.catalog.phase != before and rules.mutant not in {"no_phase_guard", "no_guard"}:
        return state
    return with_catalog(state, placement=1 - source, phase=after, certificate="")


def reopen(rules: Rules, state: State, number: int) -> Arrows:
    """Without an answer: writers go on at the source, by L; the switch is tried again."""
    mover = state.movers[number]
    if not holds(rules, mover) and rules.mutant != "reopened_by_another":
        yield starts_anew(state, number)
        return
    state = with_shard(state, mover.source, fence=OPEN)
    label = f"mover {mover.runner} opens {NAMES[mover.source]} again"
    both_open_is_broken(state, label)
    yield Arrow(label, with_mover(state, number, next="look", lock=NOWHERE))


def open_target(rules: Rules, state: State, number: int) -> Arrows:
    """The target's flag. Its queue is empty: what it captures from now on is the way back."""
    mover, target = state.movers[number], 1 - state.movers[number].source
    if not mover.sessions[target]:
        yield starts_anew(state, number)
        return
    label, shard = f"mover {mover.runner} opens {NAMES[target]}", state.shards[target]
    if shard.queue:
        raise Broken("I6", f"its queue holds {sorted(shard.queue)} before the first write", (label,))
    state = with_shard(state, target, fence=OPEN)
    both_open_is_broken(state, label)
    if not agrees(shard.rows, state.truth):
        raise Broken("I1", f"acknowledged {state.truth}, opened with {shard.rows}", (label,))
    following = "release" if rules.tells_early else "tell"
    if rules.mutant == "open_before_switch":
        following = "close"
    yield Arrow(label, with_mover(state, number, next=following))


def both_open_is_broken(state: State, label: str) -> None:
    """I2, where a flag has been opened."""
    if all(shard.fence == OPEN for shard in state.shards):
        raise Broken("I2", "both shards accept writes", (label,))


def release(rules: Rules, state: State, number: int) -> Arrows:
    """Writers who waited are refused, and go to the target."""
    label = f"mover {state.movers[number].runner} releases the lock"
    yield Arrow(label, with_mover(state, number, next="certify", lock=NOWHERE))


def certify(rules: Rules, state: State, number: int) -> Arrows:
    """The comparison, written down. I6: what the winner has captured since brings the loser up to it."""
    mover, catalog = state.movers[number], state.catalog
    if not all(mover.sessions):
        yield starts_anew(state, number)
    elif catalog.is_up and catalog.runner == mover.runner:
        is_same = is_same_but_for_captured(state, 1 - mover.source)
        label = f"mover {mover.runner} compares: {'equal' if is_same else 'different'}"
        if not is_same and not any(each.is_unseen for program in rules.programs for each in program):
            raise Broken("I6", f"the way back would lose a write: {state.shards}", (label,))
        state = with_catalog(state, certificate="holds" if is_same else "differs")
        following = "keep" if mover.next == "certify" else "clean"
        yield Arrow(label, with_mover(state, number, next=following))
    elif catalog.is_up:
        yield Arrow(f"mover {mover.runner} is refused by the catalog", without_mover(state, number))


def keep(rules: Rules, state: State, number: int) -> Arrows:
    """For as long as anybody likes; then the way back, or the cleaning: one of the two."""
    mover, catalog = state.movers[number], state.catalog
    if not catalog.is_up:
        return
    if catalog.runner != mover.runner:
        yield Arrow(f"mover {mover.runner} is refused by the catalog", without_mover(state, number))
    elif catalog.phase == "switched" and catalog.wish == "back":
        state = with_catalog(state, phase="returning", certificate="")
        yield Arrow(f"mover {mover.runner} begins the return", with_mover(state, number, next="look"))
    else:
        state = with_catalog(state, phase="finishing")
        yield Arrow(f"mover {mover.runner} ends the keeping", with_mover(state, number, next="wait for routers"))


def clean(rules: Rules, state: State, number: int) -> Arrows:
    """By the certificate, the source's rows may go; once they do, it can't be had again."""
    mover, catalog = state.movers[number], state.catalog
    if not catalog.is_up:
        return
    if catalog.runner != mover.runner:
        yield Arrow(f"mover {mover.runner} is refused by the catalog", without_mover(state, number))
    elif catalog.certificate == "holds" or rules.mutant == "no_certificate":
        state = with_catalog(state, phase="cleaning")
        yield Arrow(f"mover {mover.runner} begins to clean", with_mover(state, number, next="delete"))
    else:
        state = with_catalog(state, phase="held")
        yield Arrow(f"mover {mover.runner} refuses to clean: rows differ", without_mover(state, number))
