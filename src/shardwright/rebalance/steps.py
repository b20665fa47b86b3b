"""The steps of a rebalance: its moves are made, their way back is kept, their sources are cleaned."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from types import MappingProxyType
from typing import Any

from shardwright import errors
from shardwright.catalog.placement import loads, moment
from shardwright.move.operate import ask_finish, ask_undo
from shardwright.move.store import Move, Moves
from shardwright.rebalance.carriers import Carriers
from shardwright.rebalance.outcome import found, outcome, told
from shardwright.rebalance.rounds import LOOK_EVERY, Rounds
from shardwright.rebalance.store import AMISS, Line, Rebalances, control_of
from shardwright.runs.board import DurableRun
from shardwright.runs.kinds import Kind, Progress, Step, StepContext

Result = Mapping[str, Any]
_PATIENCE = 600.0  # seconds that the control database may be away for while moves are made
_AWAY = 1.0
_BEGUN = ("begun", "moved", "failed")


# --- there ----------------------------------------------------------------------------------------


def make_moves(context: StepContext) -> Result:
    """Every tenant that can be is where it was planned to go, its way back open; the others are named with why."""
    with Carriers(context) as carriers:
        rounds = Rounds(context, carriers)
        while not _turned(context, rounds):
            time.sleep(LOOK_EVERY)  # a pause waits for what is under way, so `turn` hears of it and not `rest`
    with _rebalances(context) as rebalances:
        rebalances.write_phase(context.run, context.runner, "moved", after=("moving", "stopping", "moved"))
        return _summary(rebalances.lines(context.run), _left(context))


def _turned(context: StepContext, rounds: Rounds) -> bool:
    """A turn, made once the control database answers: moves under way wait for it too."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return rounds.turn()
        except errors.ControlUnavailable:
            if time.monotonic() > until:
                raise
            context.rest(_AWAY)


def _left(context: StepContext) -> Mapping[str, int]:
    """How many tenants the directory still has on shards that were to be emptied."""
    with control_of(context) as control:
        there = loads(control, context.fleet.shard_set)
    left = {name: there[name] for name in context.plan["options"]["empty"] if name in there}
    for name, count in left.items():
        context.tell(f"{name} still has {count} tenant{'' if count == 1 else 's'}")
    return left


def _summary(lines: Sequence[Line], left: Mapping[str, int] = MappingProxyType({})) -> Result:
    counts = Counter(line.state for line in lines)
    amiss = any(counts[state] for state in AMISS)
    return {"moves": counts, "left": dict(left), "exit_code": 1 if amiss or left else 0}


# --- and back -------------------------------------------------------------------------------------


def take_back(context: StepContext) -> None:
    """Every tenant whose source still has its rows is there again, with all that was written since: the last round
    first, so that at no moment is anything fuller than it was on the way there. Raises MoveStuck."""
    with _rebalances(context) as rebalances:
        rebalances.write_phase(
            context.run, context.runner, "returning", after=("moving", "stopping", "moved", "returning")
        )
        rebalances.replan(context.run, context.runner, (), "the rebalance is taken back")
        lines = [line for line in rebalances.lines(context.run) if line.state in _BEGUN]
    for number in sorted({line.round for line in lines}, reverse=True):
        _bring(context, [line for line in lines if line.round == number], "undo", _turn_back, _back)


def _turn_back(context: StepContext, line: Line) -> None:
    with suppress(errors.NoSuchMove, errors.NotSwitched, errors.TooLate):  # its source is cleaned, or being cleaned
        ask_undo(context.fleet, line.tenant)


def _back(line: Line, run: DurableRun, move: Move) -> str | None:
    if not move.is_open:
        return "kept" if move.phase == "kept" else "returned"
    if run.state == "parked":
        raise errors.MoveStuck(tenant=line.tenant, run=run.id, reason=run.note or "")
    return None


# --- the end --------------------------------------------------------------------------------------


def keep(context: StepContext) -> Result:
    """The ways back were open as long as they were to be."""
    del context
    return {}


def keep_for(context: StepContext) -> float:
    """Seconds until the last way back closes; 0 where none is open."""
    with control_of(context) as control:
        lines = Rebalances(control, context.fleet.shard_set).lines(context.run)
        mine = {line.run for line in lines}
        until = [move.keep_until for move in Moves(control, context.fleet.shard_set).open() if move.run in mine]
        return _longest([each for each in until if each is not None], moment(control))


def _longest(until: Sequence[datetime], now: datetime) -> float:
    return max([0.0, *((each - now).total_seconds() for each in until)])


def clean(context: StepContext) -> Result:
    """No source has rows of a tenant that was moved; what could not be cleaned is named."""
    with _rebalances(context) as rebalances:
        rebalances.write_phase(context.run, context.runner, "finishing", after=("moved", "finishing"))
        lines = [line for line in rebalances.lines(context.run) if line.state == "moved"]
    _bring(context, lines, "finish", _let_go, _cleaned)
    with _rebalances(context) as rebalances:
        rebalances.write_phase(context.run, context.runner, "done", after=("finishing", "done"))
        return _summary(rebalances.lines(context.run))


def _let_go(context: StepContext, line: Line) -> None:
    with suppress(errors.NoSuchMove, errors.NotSwitched):
        ask_finish(context.fleet, line.tenant)


def _cleaned(line: Line, run: DurableRun, move: Move) -> str | None:
    del line
    state, _ = outcome(run, move)
    return state if state in ("kept", "returned", "failed") else None


# --- small words ----------------------------------------------------------------------------------


def _bring(
    context: StepContext,
    lines: Sequence[Line],
    phase: str,
    ask: Callable[[StepContext, Line], None],
    end: Callable[[Line, DurableRun, Move], str | None],
) -> None:
    """Each of these moves is asked for and carried, some at once, until it is in the state that `end` gives."""
    left, asked, told_of = list(lines), set[int](), -1
    with Carriers(context) as carriers:
        while left:
            for line in left[: context.fleet.config.runs.at_once]:
                run, move = found(context, line)
                if line.number not in asked and move.is_open:  # so it is the tenant's one open move
                    ask(context, line)
                    asked.add(line.number)
                elif (state := end(line, run, move)) is not None:
                    _write(context, line, state, run, move)
                    left.remove(line)
                else:
                    carriers.carry(run.id)
            if (far := len(lines) - len(left)) != told_of:
                told_of = far
                context.report(Progress(phase, far, len(lines), "tenants"))
            context.rest(LOOK_EVERY if left else 0)


def _write(context: StepContext, line: Line, state: str, run: DurableRun, move: Move) -> None:
    note = outcome(run, move)[1]
    with _rebalances(context) as rebalances:
        rebalances.note(context.run, context.runner, line.number, state, note)
    context.tell(told(line, state, note, move))


@contextmanager
def _rebalances(context: StepContext) -> Iterator[Rebalances]:
    with control_of(context) as control:
        yield Rebalances(control, context.fleet.shard_set)


KIND = Kind(
    "rebalance",
    (
        Step("move", make_moves, take_back),
        Step("keep", keep, approval="delete the tenants' rows at the sources?", waits=keep_for),
        Step("clean", clean, final=True),
    ),
)
