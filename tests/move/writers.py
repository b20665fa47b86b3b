"""A writer of the tenant: finds its shard, writes, passes the fence or is refused, commits."""

from __future__ import annotations

from move.search import Arrow, Broken
from move.state import (
    ANYTHING,
    CLOSED,
    HOME,
    NAMES,
    NO_FENCE,
    NOWHERE,
    OPEN,
    Arrows,
    Rows,
    Rules,
    State,
    Transaction,
    agrees,
    rows_in_use,
    with_changes,
    with_shard,
    with_writer,
)


def goes_on(rules: Rules, state: State, number: int) -> Arrows:
    """The next thing this writer may do."""
    writer = state.writers[number]
    if writer.done == len(rules.programs[number]):
        return
    if writer.phase in {"passed", "unseen"}:
        yield commit(rules, state, number)
    elif writer.phase == "wrote":
        yield from pass_fence(rules, state, number)
    elif writer.route != NOWHERE:
        yield from write(rules, state, number)
    elif state.catalog.is_up:
        route = state.catalog.placement
        yield Arrow(f"writer {number} asks the catalog: {NAMES[route]}", with_writer(state, number, route=route))


def write(rules: Rules, state: State, number: int) -> Arrows:
    """Its rows, uncommitted; waits for whoever holds one of them. Where no row is, no trigger fires."""
    writer, transaction = state.writers[number], present(rules, state, number)
    shard, label = state.shards[writer.route], f"writer {number}: {transaction.name} on {NAMES[writer.route]}"
    if rows_in_use(rules, state, writer.route) & {key for key, _ in transaction.changes}:
        return
    if not transaction.inserts and not any(shard.rows[key] for key, _ in transaction.changes):
        label += " finds no row, and succeeds"
        if not agrees(shard.rows, state.truth):
            raise Broken("I2", f"a write that should have changed {state.truth} changed nothing", (label,))
        yield Arrow(label, with_writer(state, number, done=writer.done + 1))
    elif is_unseen(rules, state, number):
        yield Arrow(label, with_writer(state, number, phase="unseen"))
    else:
        seen = shard.fence if rules.mutant == "fence_by_snapshot" else ""
        yield Arrow(label, with_writer(state, number, phase="wrote", seen=seen))


def pass_fence(rules: Rules, state: State, number: int) -> Arrows:
    """In the trigger: the lock in shared mode, then the flag as it is now."""
    writer = state.writers[number]
    shard = state.shards[writer.route]
    if shard.fence == NO_FENCE or is_skipped(rules, present(rules, state, number)):
        yield Arrow(f"writer {number} meets no trigger", with_writer(state, number, phase="passed", seen=""))
    elif any(mover.lock == writer.route for mover in state.movers):
        return
    elif (writer.seen or shard.fence) == OPEN:
        yield Arrow(f"writer {number} passes the fence", with_writer(state, number, phase="passed", seen=""))
    else:
        # Without DETAIL: nothing is told yet, or its snapshot is older than the row that tells.
        for route in {NOWHERE, shard.gone_to}:
            told = f"told of {NAMES[route]}" if route != NOWHERE else "told nothing"
            label = f"writer {number} is refused on {NAMES[writer.route]}, {told}"
            yield Arrow(label, with_writer(state, number, phase="idle", route=route, seen=""))


def commit(rules: Rules, state: State, number: int) -> Arrow[State]:
    """Rows and queue entries are seen by all, the lock is released, the client knows. I2: it was the tenant's shard."""
    writer, transaction = state.writers[number], present(rules, state, number)
    shard, name = state.shards[writer.route], NAMES[writer.route]
    label = f"writer {number} commits on {name}"
    unseen = writer.phase == "unseen"
    if shard.fence == CLOSED and not unseen:
        raise Broken("I2", f"{name} accepts a write behind its closed fence", (label,))
    if not agrees(shard.rows, state.truth) and not unseen:
        fact = f"{name} accepts a write, and holds {shard.rows} where {state.truth} was acknowledged"
        raise Broken("I2", fact, (label,))
    changes = tuple(each for each in transaction.changes if transaction.inserts or shard.rows[each[0]])
    answered = tuple((key, ANYTHING) for key, _ in changes) if unseen else changes
    rows = with_changes(shard.rows, changes)
    captured = {(key, transaction.name) for key, _ in changes if is_captured(rules, state, number, key, rows)}
    state = state._replace(truth=with_changes(state.truth, answered))
    state = with_shard(state, writer.route, rows=rows, queue=shard.queue | captured)
    return Arrow(label, with_writer(state, number, done=writer.done + 1, phase="idle"))


def present(rules: Rules, state: State, number: int) -> Transaction:
    """The transaction the writer is at."""
    return rules.programs[number][state.writers[number].done]


def is_captured(rules: Rules, state: State, number: int, key: int, after: Rows) -> bool:
    """Whether the trigger notes the key. For the mutant, row 1 reaches the tenant only through row 0."""
    writer = state.writers[number]
    if state.shards[writer.route].fence == NO_FENCE or writer.phase == "unseen":
        return False
    if is_skipped(rules, present(rules, state, number)):
        return False
    return not (rules.mutant == "orphans_skipped" and key == 1 and not after[0])


def is_skipped(rules: Rules, transaction: Transaction) -> bool:
    """Whether the triggers don't fire for this session."""
    return transaction.is_replica and rules.mutant == "plain_trigger"


def is_unseen(rules: Rules, state: State, number: int) -> bool:
    """Whether the triggers of the source are disabled for what it does."""
    route = state.writers[number].route
    is_before = state.catalog.phase == "moving" and route == HOME and state.shards[HOME].fence == OPEN
    return is_before and present(rules, state, number).is_unseen
