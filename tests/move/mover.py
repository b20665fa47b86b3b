"""The mover: claims, looks how far the move has come, captures, copies, drains; in the end cleans or undoes."""

from __future__ import annotations

from move.search import Arrow, Broken
from move.state import (
    AWAY,
    CLOSED,
    HOME,
    KEYS,
    NAMES,
    NO_FENCE,
    NOWHERE,
    OPEN,
    Arrows,
    Catalog,
    Mover,
    Rows,
    Rules,
    Shard,
    State,
    is_same_but_for_captured,
    is_used,
    placed,
    rows_in_use,
    with_catalog,
    with_mover,
    with_shard,
    with_writer,
    without_mover,
    without_sessions,
)

LAST_STEPS = {"undoing": "open home", "finishing": "wait for routers", "cleaning": "delete"}


def starts_anew(state: State, number: int) -> Arrow[State]:
    """A statement on a session that is gone fails: new ones have to claim, and the step is done again."""
    mover = state.movers[number]
    label = f"mover {mover.runner} finds its session gone ({mover.next})"
    return Arrow(label, state._replace(movers=placed(state.movers, number, Mover(mover.runner))))


# --- whose it is, and how far it has come -------------------------------------------------------


def claim(rules: Rules, state: State, number: int) -> Arrows:
    """Its number on the shard, refused when smaller; then all other sessions of the move there are ended."""
    mover = state.movers[number]
    shard = HOME if mover.next == "claim home" else AWAY
    label = f"mover {mover.runner} claims {NAMES[shard]}"
    if state.shards[shard].runner > mover.runner:
        yield Arrow(f"{label}, and is refused", without_mover(state, number))
        return
    if state.shards[shard].fence != NO_FENCE:
        state = with_shard(state, shard, runner=mover.runner)
    if rules.mutant != "old_sessions_live":
        state = without_sessions(state, shard)
    following = "claim away" if shard == HOME else "look"
    yield Arrow(label, with_mover(state, number, next=following, sessions=placed(mover.sessions, shard, True)))


def look(rules: Rules, state: State, number: int) -> Arrows:
    """After the claims: is the move still its own, and how far has it come?"""
    mover, catalog = state.movers[number], state.catalog
    if not catalog.is_up:
        return
    if catalog.runner != mover.runner and rules.mutant == "no_look_after_claim":
        following = where_to_go_on(rules, with_catalog(state, phase="moving"), HOME)
        yield Arrow(
            f"mover {mover.runner} goes on as it remembers, with: {following}",
            with_mover(state, number, next=following),
        )
    elif catalog.runner != mover.runner:
        yield Arrow(f"mover {mover.runner} looks, and is no longer the runner", without_mover(state, number))
    else:
        if catalog.phase == "moving" and catalog.wish == "back":
            state = with_catalog(state, phase="undoing")
        source = leaving(state.catalog)
        following = where_to_go_on(rules, state, source)
        label = f"mover {mover.runner} looks, goes on with: {following}"
        yield Arrow(label, with_mover(state, number, next=following, source=source))


def leaving(catalog: Catalog) -> int:
    """The shard whose rows are to go: the one that the tenant leaves, or that an undo empties."""
    if catalog.phase in {"finishing", "cleaning"}:
        return 1 - catalog.placement
    return AWAY if catalog.phase in {"undoing", "returning", "returned"} else HOME


def where_to_go_on(rules: Rules, state: State, source: int) -> str:
    """The next step, by what is there already."""
    catalog, home, away = state.catalog, *state.shards
    match catalog.phase:
        case "undoing" | "finishing" | "cleaning":
            return LAST_STEPS[catalog.phase]
        case "moving" if NO_FENCE in (home.fence, away.fence):
            return "capture"
        case "moving" if len(away.copied) < len(KEYS):
            return f"read {len(away.copied)}"
        case "switched" | "returned" if is_opened(rules, state, 1 - source):
            return "keep" if catalog.certificate else "certify" if rules.tells_early else "tell"
    return "read last" if rules.mutant == "snapshot_before_lock" else "lock"


def is_opened(rules: Rules, state: State, target: int) -> bool:
    """Whether the target accepts writes already."""
    return state.shards[target].fence == OPEN and rules.mutant != "no_look_at_target"


# --- capture, copy, drain -----------------------------------------------------------------------


def capture(rules: Rules, state: State, number: int) -> Arrows:
    """Triggers and fence, closed on the target, open on the source. Waits for transactions that hold the tables."""
    mover = state.movers[number]
    shard = AWAY if state.shards[AWAY].fence == NO_FENCE else HOME
    if not mover.sessions[shard]:
        yield starts_anew(state, number)
    elif state.shards[shard].fence != NO_FENCE:
        yield Arrow(f"mover {mover.runner} finds the capture on {NAMES[shard]}", with_mover(state, number, next="look"))
    elif not is_used(state, shard):
        fence, gone_to = (OPEN, NOWHERE) if shard == HOME else (CLOSED, HOME)
        state = with_shard(state, shard, fence=fence, gone_to=gone_to, runner=mover.runner)
        following = "capture" if shard == AWAY else "look"
        yield Arrow(
            f"mover {mover.runner} makes the capture on {NAMES[shard]}", with_mover(state, number, next=following)
        )


def read(rules: Rules, state: State, number: int) -> Arrows:
    """Snapshot S on the source: the queue, and the present rows."""
    mover = state.movers[number]
    if not mover.sessions[mover.source]:
        yield starts_anew(state, number)
        return
    source, part = state.shards[mover.source], mover.next.removeprefix("read ")
    queue, following = source.queue, f"apply {part}"
    if rules.mutant == "drain_in_batches":
        queue = frozenset(each for each in queue if each[0] == min(key for key, _ in queue))
    if rules.mutant == "snapshot_before_lock" and part == "last" and mover.lock == NOWHERE:
        following = "lock"
    label = f"mover {mover.runner} reads ({part}): queue {shown(queue)}, rows {source.rows}"
    yield Arrow(label, with_mover(state, number, next=following, read=(queue, source.rows)))


def shown(entries: frozenset[tuple[int, str]]) -> str:
    """The keys, for people."""
    return str(sorted(key for key, _ in entries))


def apply(rules: Rules, state: State, number: int) -> Arrows:
    """One transaction on the target: the captured keys are made equal; then the range, if one is copied."""
    mover = state.movers[number]
    target, (entries, there), part = 1 - mover.source, mover.read, mover.next.removeprefix("apply ")
    if not mover.sessions[target]:
        yield starts_anew(state, number)
        return
    shard, drained = state.shards[target], {key for key, _ in entries}
    copied = {int(part)} - set(shard.copied) if part != "last" else set()
    if (drained | copied) & rows_in_use(rules, state, target):
        return
    label = f"mover {mover.runner} makes {sorted(drained | copied)} on {NAMES[target]} as they were"
    rows = made_equal(rules, shard.rows, there, drained, copied, label)
    captured = {(key, "the mover's") for key in drained if rules.mutant == "mover_is_captured"}
    state = with_shard(state, target, rows=rows, copied=(*shard.copied, *copied), queue=shard.queue | captured)
    yield Arrow(label, with_mover(state, number, next=f"forget {part}"))


def made_equal(rules: Rules, rows: Rows, there: Rows, drained: set[int], copied: set[int], label: str) -> Rows:
    """All keys deleted, then the rows inserted that are there: names may have been swapped."""
    stay = {
        "upsert": drained,
        "upsert_after_delete": {key for key in drained if there[key]},
        "range_not_deleted": copied - drained,
    }.get(rules.mutant, set())
    for key in (drained | copied) - stay:
        rows = placed(rows, key, "")
    for key in sorted(drained | copied):
        is_taken = any(rows[other] == there[key] for other in KEYS if other != key)
        if there[key] and (is_taken or (rows[key] and key in copied - drained)):
            raise Broken("I4", f"the target refuses the rows: {there[key]!r} is there already", (label,))
        rows = placed(rows, key, there[key] or rows[key])
    return rows


def forget(rules: Rules, state: State, number: int) -> Arrows:
    """The entries that were read, and only those, leave the queue."""
    mover = state.movers[number]
    if not mover.sessions[mover.source]:
        yield starts_anew(state, number)
        return
    part, (entries, _) = mover.next.removeprefix("forget "), mover.read
    queue = state.shards[mover.source].queue
    if rules.mutant == "forget_by_range":
        entries = frozenset(each for each in queue if each[0] in {key for key, _ in entries})
    label = f"mover {mover.runner} takes {shown(entries)} from the queue"
    following = {"0": "read 1", "1": "look", "last": "close"}[part]
    if part == "last" and rules.mutant == "drain_in_batches" and queue - entries:
        following = "read last"
    if part == "last" and rules.mutant == "open_before_switch":
        following = "open"
    if part == "last" and rules.mutant == "delete_before_switch":
        state = with_rows_deleted(state, mover.source, label + " and deletes the rows")
    state = with_shard(state, mover.source, queue=queue - entries)
    yield Arrow(label, with_mover(state, number, next=following, read=Mover(0).read))


# --- clean, undo --------------------------------------------------------------------------------


def open_home(rules: Rules, state: State, number: int) -> Arrows:
    """The undo before the switch: an earlier runner may have closed the source."""
    mover = state.movers[number]
    if not mover.sessions[HOME]:
        yield starts_anew(state, number)
        return
    if state.shards[HOME].fence != NO_FENCE:
        state = with_shard(state, HOME, fence=OPEN)
    yield Arrow(f"mover {mover.runner} undoes, home is open", with_mover(state, number, next="wait for routers"))


def wait_for_routers(rules: Rules, state: State, number: int) -> Arrows:
    """Until nobody has the loser for the tenant's shard: neither a cached placement nor a transaction.

    An undo needs no such wait where nobody was ever sent to the target.
    """
    mover, loser = state.movers[number], state.movers[number].source
    bound = [
        each
        for each, (writer, program) in enumerate(zip(state.writers, rules.programs, strict=True))
        if writer.route == loser and writer.done < len(program)
    ]
    undoes = state.catalog.phase == "undoing"
    waits = (
        rules.tells_early and rules.mutant != "undo_does_not_wait" if undoes else rules.mutant != "clean_does_not_wait"
    )
    following = "delete" if undoes else "clean" if rules.mutant == "certified_once" else "certify again"
    if not (bound and waits):
        yield Arrow(
            f"mover {mover.runner}: no router is expected on {NAMES[loser]} any more",
            with_mover(state, number, next=following),
        )
    for each in bound:
        if state.writers[each].phase == "idle":
            yield Arrow(f"writer {each}'s cached placement runs out", with_writer(state, each, route=NOWHERE))


def delete(rules: Rules, state: State, number: int) -> Arrows:
    """The loser's rows."""
    mover, loser = state.movers[number], state.movers[number].source
    if not mover.sessions[loser]:
        yield starts_anew(state, number)
        return
    label = f"mover {mover.runner} deletes the rows on {NAMES[loser]}"
    yield Arrow(label, with_mover(with_rows_deleted(state, loser, label), number, next="drop loser"))


def with_rows_deleted(state: State, loser: int, label: str) -> State:
    """I5: nothing is deleted that the tenant's shard does not answer for."""
    if state.catalog.placement == loser:
        raise Broken("I5", f"the rows of {NAMES[loser]} are deleted, and it is the tenant's shard", (label,))
    is_safe = state.catalog.phase == "undoing" or is_same_but_for_captured(state, 1 - loser)
    if any(state.shards[loser].rows) and not is_safe:
        raise Broken("I5", f"{state.shards[loser].rows} deleted, {state.shards[1 - loser].rows} is left", (label,))
    return with_shard(state, loser, rows=("", ""))


def drop(rules: Rules, state: State, number: int) -> Arrows:
    """Triggers, fence and queue; waits for transactions that hold the tables."""
    mover = state.movers[number]
    shard, following = (mover.source, "drop winner") if mover.next == "drop loser" else (1 - mover.source, "end")
    if not mover.sessions[shard]:
        yield starts_anew(state, number)
    elif not is_used(state, shard):
        state = state._replace(shards=placed(state.shards, shard, Shard(rows=state.shards[shard].rows)))
        label = f"mover {mover.runner} takes the capture from {NAMES[shard]}"
        yield Arrow(label, with_mover(state, number, next=following))


def end(rules: Rules, state: State, number: int) -> Arrows:
    """The run is over."""
    mover, catalog = state.movers[number], state.catalog
    if catalog.is_up:
        if catalog.runner == mover.runner:
            state = with_catalog(state, phase="end", certificate="")
        yield Arrow(f"mover {mover.runner} ends", without_mover(state, number))
