"""The steps of a move. Each may be done again wherever it had come to, and taken back until the source is cleaned."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import psycopg

from shardwright import errors
from shardwright.move import certificate
from shardwright.move.store import Moves
from shardwright.move.way import Way
from shardwright.pg import retry
from shardwright.pg.faults import explain
from shardwright.runs.board import Undecided
from shardwright.runs.kinds import Kind, Progress, Step, StepContext
from shardwright.runs.store import operator
from shardwright.transfer import capture, fence
from shardwright.transfer.clear import clear
from shardwright.transfer.compare import Comparison, compare
from shardwright.transfer.copy import Copy
from shardwright.transfer.drain import captured, drain, forget_drained, make_room, snapshot
from shardwright.transfer.gap import gap_in_data
from shardwright.transfer.sessions import Sessions, write_silently
from shardwright.transfer.switch import LOCK_PATIENCE, NotNow, Switch, Switched
from shardwright.transfer.throttle import Throttle, limits_now

Result = Mapping[str, Any]
_SETTLED = 2.0  # a round that fits, and is more than half as long as the one before, is as short as it gets
_SHOWN = 5
_TELL_AFTER = 5
_ASK_AGAIN = 0.2
_AWAY = 1.0
T = TypeVar("T")


# --- capture --------------------------------------------------------------------------------------


def begin_capture(context: StepContext) -> Result:
    """Both shards note and guard the tenant's writes: the source's fence open, the target's closed."""
    way = Way.of(context)
    way.require_schema()
    sides: tuple[tuple[Sessions, dict[str, Any]], ...] = (
        (way.target, {"side": "target", "is_open": False, "gone_to": way.source.shard.name, "epoch": way.epoch}),
        (way.source, {"side": "source", "is_open": not way.offline, "gone_to": None, "epoch": way.epoch}),
    )
    for sessions, values in sides:
        with way.shard_lock(sessions) as connection:
            capture.make_schema(connection)
            capture.register(connection, way.scope, runner=context.runner, **values)
        sessions.take_over()
        with sessions.open() as connection:
            capture.install(connection, way.scope, values["side"], context, way.patience)
    return {"closed_at": _close_early(way)} if way.offline else {}


def _close_early(way: Way) -> float:
    """Nobody writes for the tenant any more, and nothing that was captured is left to be drained; since when."""
    tries = 0
    while True:
        way.context.raise_if_stopped()
        tries += 1
        with way.source.open() as connection, way.source.open() as watch:
            if fence.lock(connection, way.scope.fence, LOCK_PATIENCE):
                fence.close_for_writes(connection, way.scope.fence)
                closed_at = time.time()
                fence.unlock(connection, way.scope.fence)
                with snapshot(watch) as taken:
                    pass
                forget_drained(watch, way.scope.tables, taken)
                return closed_at
            if tries % _TELL_AFTER == 1:
                holders = ", ".join(map(str, fence.holders(watch, way.scope.fence)))
                way.context.tell(f"waits for the tenant's writers to end: {holders}")
        way.context.rest(retry.pause(min(tries, 4)).total_seconds())


def end_capture(context: StepContext) -> None:
    """Nothing of the move is left on either shard; the tenant is at the source."""
    way = Way.of(context)
    _take_away(way)
    with way.control() as moves:
        moves.write_phase(context.run, context.runner, "undone")


def _take_away(way: Way) -> None:
    for sessions in (way.target, way.source):
        with way.shard_lock(sessions) as connection:
            capture.take_away(connection, sessions, way.context, way.patience)


# --- copy -----------------------------------------------------------------------------------------


def copy(context: StepContext) -> Result:
    """Every row of the tenant is at the target, as of some moment."""
    way = Way.of(context)
    way.take_over()
    way.require_schema()
    began = time.monotonic()
    with _throttle(way) as throttle:
        streams = int(context.plan.get("streams", 2))
        brought = Copy(way.scope, way.source, way.target, context, streams=streams, pace=throttle).copy()
    return {"rows": brought.rows, "bytes": brought.bytes, "seconds": round(time.monotonic() - began, 3)}


def undo_copy(context: StepContext) -> None:
    """No row of the tenant is at the target, whose fence has been closed all the while.

    Raises AssertionError where the target is the tenant's shard.
    """
    way = Way.of(context)
    if not way.is_known_at(way.target):
        return  # it is another database by now: there is nothing of ours
    way.take_over()
    if (phase := way.phase()) not in ("given_up", "returned", "moving"):
        raise AssertionError(f"move {context.run} is {phase}: the target's rows are the tenant's")
    _clear(way, way.target)


def _clear(way: Way, sessions: Sessions) -> int:
    with sessions.open() as connection:
        if fence.is_open(connection, way.scope.fence):
            raise AssertionError(f"{sessions.shard.name} takes the tenant's writes: its rows are not deleted")
        write_silently(connection)
        return clear(connection, way.scope, way.context)


# --- catch up and compare -------------------------------------------------------------------------


def catch_up(context: StepContext) -> Result:
    """What is captured and not drained yet drains within the write gap."""
    way = Way.of(context)
    way.take_over()
    way.require_schema()
    return {"rounds": _catch_up(way)}


def _catch_up(way: Way) -> int:
    """Rounds of draining until one is so short that the next fits into the write gap."""
    context, budget = way.context, way.write_gap.total_seconds()
    with way.source.open() as reader, way.target.open() as writer, _throttle(way) as throttle:
        write_silently(writer)
        make_room(writer, way.scope.tables)
        rounds, before = 0, float("inf")
        while True:
            context.raise_if_stopped()
            began = time.monotonic()
            with snapshot(reader) as taken:
                found = captured(reader, way.scope)
                context.report(Progress("catch up", 0, found.total, "keys", lag=found.lag))
                drained = drain(reader, writer, way.scope, way.scope.tables)
            if drained.keys:
                forget_drained(reader, way.scope.tables, taken)
            seconds, rounds = time.monotonic() - began, rounds + 1
            if seconds < budget / 4 or (seconds < budget / 2 and seconds > before / _SETTLED):
                return rounds
            if seconds > before:
                context.tell(
                    f"catching up does not gain: {drained.keys} keys took {seconds:.1f} s, before {before:.1f} s"
                )
            before = seconds
            throttle(0)


def compare_both(context: StepContext) -> Result:
    """Source and target hold the same rows, at one moment while writers run. Raises RowsDiffer."""
    way = Way.of(context)
    way.take_over()
    way.require_schema()
    found = _compare(way)
    _require_equal(context, found)
    return {"rows": found.rows}


def _compare(way: Way) -> Comparison:
    """A snapshot of the source is drained to, and then compared with the target, which only the mover writes."""
    total = len(way.scope.tables)
    with way.source.open() as reader, way.target.open() as writer:
        write_silently(writer)
        make_room(writer, way.scope.tables)
        with snapshot(reader) as taken:
            drained = drain(reader, writer, way.scope, way.scope.tables)
            found = compare(
                reader, writer, way.scope,
                done=lambda done: way.context.report(Progress("compare", done, total, "tables")),
            )  # fmt: skip
        if drained.keys:
            forget_drained(reader, way.scope.tables, taken)
    return found


def _require_equal(context: StepContext, found: Comparison) -> None:
    if not found.is_equal:
        raise errors.RowsDiffer(run=context.run, differences="\n".join(map(str, found.differences[:_SHOWN])))


# --- switch ---------------------------------------------------------------------------------------


def switch(context: StepContext) -> Result:
    """The tenant is at the target: placement, fences, write gap noted. Until then it is at the source."""
    return _settled(context, _switch_there)


def _switch_there(context: StepContext) -> Result:
    way = Way.of(context)
    way.take_over()
    phase = way.phase()
    is_moving = phase == "moving"
    if is_moving and not way.offline:
        _open_again(way)

    def decide(moves: Moves) -> None:
        moves.switch(context.run, context.runner, changed_by=operator(), keep=_keep_for(context))

    ready = way.require_schema if is_moving else None
    return _switch(way, decide, "switched", way.epoch + 1, ready=ready, is_decided=phase == "switched")


def _settled(context: StepContext, act: Callable[[StepContext], T]) -> T:
    """What `act` gives. A database that is away is waited for as long as neither shard may be taking the tenant's
    writes: a run that is parked would leave it so."""
    while True:
        try:
            return act(context)
        except (psycopg.OperationalError, errors.ControlUnavailable) as error:
            if _takes_writes(Way.of(context)):
                raise
            context.tell(f"{explain(error).reason}; waits for it, since the tenant may be shut out")
            context.rest(_AWAY)


def _takes_writes(way: Way) -> bool:
    """Whether either shard is known to take the tenant's writes."""
    try:
        with way.source.open() as here, way.target.open() as there:
            return fence.is_open(here, way.scope.fence) or fence.is_open(there, way.scope.fence)
    except psycopg.OperationalError:
        return False


def switch_back(context: StepContext) -> None:
    """The tenant is at the source, with everything that was written since; or it is there still."""
    _settled(context, _switch_home)


def _switch_home(context: StepContext) -> None:
    way = Way.of(context)
    way.take_over()
    with way.control() as moves:
        phase = moves.give_up(context.run, context.runner)
    if phase == "given_up":
        return _open_again(way)
    home = way.back()
    if phase == "switched":
        if _was_never_opened(way):
            switch(context)  # it was decided, and nothing else: to be done to its end before it can be taken back
        _catch_up(home)
        _require_equal(context, _compare(home))

    def decide(moves: Moves) -> None:
        moves.switch_back(context.run, context.runner, changed_by=operator())

    _switch(home, decide, "returned", way.epoch + 2, is_decided=phase == "returned")
    return None


def _open_again(way: Way) -> None:
    """A mover may have died with the source's flag closed, and the target's is."""
    with way.source.open() as here, way.target.open() as there:
        if fence.is_open(there, way.scope.fence):
            raise AssertionError(f"{way.target.shard.name} takes the tenant's writes, though the move is not switched")
        if not fence.is_open(here, way.scope.fence):
            fence.open_for_writes(here, way.scope.fence)


def _was_never_opened(way: Way) -> bool:
    """Whether the target has taken no write of the tenant yet, though the placement says that it does."""
    with way.target.open() as connection:
        return not fence.is_open(connection, way.scope.fence) and fence.epoch(connection, way.scope.fence) == way.epoch


def _switch(
    way: Way,
    decide: Callable[[Moves], None],
    after: str,
    epoch: int,
    *,
    ready: Callable[[], None] | None = None,
    is_decided: bool,
) -> Result:
    """Tried until it is done: what is in the way is told, and what was captured meanwhile drained. `ready` raises
    where it may not be tried any more; `is_decided`: by whoever had it in hand before."""
    context, tries, told = way.context, 0, ""
    while True:
        context.raise_if_stopped()
        if ready is not None:
            ready()
        tries += 1
        try:
            done = _try_switch(way, decide, after, epoch, is_decided=is_decided)
        except NotNow as error:
            if str(error) != told:
                context.tell(f"switch, try {tries}: {error}")
            told = str(error)
            context.rest(retry.pause(min(tries, 4)).total_seconds())
            _catch_up(way)
        else:
            return _told(way, done, tries)


def _try_switch(way: Way, decide: Callable[[Moves], None], after: str, epoch: int, *, is_decided: bool) -> Switched:
    """A shard's error leaves the block in which it would be taken for one of the control database."""
    with way.control(patience=way.write_gap) as moves:
        try:
            return Switch(
                way.scope, way.source, way.target, way.write_gap,
                decide=partial(_decide, way, moves, decide, after), gone_to=way.target.shard.name, epoch=epoch,
                reopens=not way.offline, is_decided=is_decided,
            ).go()  # fmt: skip
        except psycopg.Error as error:
            failed = error
    raise failed


def _decide(way: Way, moves: Moves, decide: Callable[[Moves], None], after: str) -> None:
    """Until it is known what became of the decision, neither shard takes the tenant's writes: with the source open and
    the placement at the target, writers sent there would change rows that have not come yet, and hear of no error."""
    try:
        decide(moves)
    except Undecided:
        way.context.tell("the control database went away over the decision: the tenant's writers wait for it")
        if _known_phase(way) != after:
            raise psycopg.OperationalError("it has not taken the decision") from None


def _known_phase(way: Way) -> str:
    while True:
        try:
            with way.control() as moves:
                return moves.held_phase(way.context.run, way.context.runner)
        except errors.ControlUnavailable:
            time.sleep(_ASK_AGAIN)


def _told(way: Way, done: Switched, tries: int) -> Result:
    seconds = done.gap
    if way.offline and (closed_at := way.context.results.get("capture", {}).get("closed_at")):
        seconds = time.time() - closed_at
    gap = None if seconds is None else round(seconds * 1000, 1)
    result = {"epoch": done.epoch, "gap_ms": gap, "keys": done.keys, "tries": tries}
    with way.control() as moves:
        moves.note_write_gap(way.context.run, {**result, "data_ms": None})
    told = "not measured: the mover died in it" if gap is None else f"{gap} ms"
    way.context.tell(f"{way.tenant} is on {way.target.shard.name} (epoch {done.epoch}); write gap {told}")
    return result


# --- prove, keep, clean ---------------------------------------------------------------------------


def prove(context: StepContext) -> Result:
    """The certificate: the frozen source and the target hold the same rows, but for those written since.

    Raises RowsDiffer.
    """
    way = Way.of(context)
    way.take_over()
    found, in_data = certificate.make(way), _gap_in_data(way)
    with way.control() as moves:
        moves.note_certificate(context.run, found.as_dict())
        moves.note_write_gap(context.run, {"data_ms": in_data})
    _require_equal(context, found.comparison)
    return {"rows": found.comparison.rows}


def _gap_in_data(way: Way) -> float | None:
    """Milliseconds."""
    with way.source.open() as before, way.target.open() as after:
        seconds = gap_in_data(before, after, way.scope)
    return None if seconds is None else round(seconds * 1000, 1)


def keep(context: StepContext) -> Result:
    """The way back was open as long as it was to be."""
    del context
    return {}


def _keep_for(context: StepContext) -> float:
    return float(context.plan["keep_seconds"])


def clean(context: StepContext) -> Result:
    """No row of the tenant is at the source, nothing of the move on either shard. Only what the certificate vouches
    for is deleted. Raises RowsDiffer."""
    way = Way.of(context)
    with way.source.open(claims=False) as connection:
        is_there = capture.is_registered(connection, context.run)
    removed = 0
    if is_there:  # of the target that is not known: what a mover forgets first there, he may have forgotten already
        way.source.take_over()
        with way.control() as moves:
            move = moves.move(context.run)
        if move.phase != "cleaning":  # else the rows that it vouches for are half gone
            certificate.require(way, move)
            with way.control() as moves:
                moves.write_phase(context.run, context.runner, "cleaning")
        removed = _clear(way, way.source)
    _take_away(way)
    with way.control() as moves:
        moves.write_phase(context.run, context.runner, "kept")
    return {"removed": removed}


# --- small words ----------------------------------------------------------------------------------


@contextmanager
def _throttle(way: Way) -> Iterator[Throttle]:
    """By the limits of the configuration, and what operators have said of this move since."""

    def said() -> Mapping[str, Any]:
        with way.control() as moves:
            return moves.move(way.context.run).throttle

    limits = partial(limits_now, way.context.fleet.config.moves, said)
    with way.source.open() as source, way.target.open() as target:
        yield Throttle(way.context, limits, {way.source.shard.name: source, way.target.shard.name: target})


KIND = Kind(
    "move",
    (
        Step("capture", begin_capture, end_capture),
        Step("copy", copy, undo_copy),
        Step("catch up", catch_up),
        Step("compare", compare_both),
        Step("switch", switch, switch_back),
        Step("prove", prove),
        Step("keep", keep, approval="delete the tenant's rows at the source?", waits=_keep_for),
        Step("clean", clean, final=True),
    ),
)
