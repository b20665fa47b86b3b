"""Makes the moves of a rebalance round by round: looks at the fleet before each, plans anew where it has changed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shardwright import errors
from shardwright.move.operate import ask_cancel
from shardwright.move.start import MovePlan, plan_move, start_move
from shardwright.rebalance.carriers import Carriers
from shardwright.rebalance.changed import changed
from shardwright.rebalance.look import look, new_lines, plan_for
from shardwright.rebalance.options import RebalanceOptions
from shardwright.rebalance.outcome import found, outcome, told
from shardwright.rebalance.rules import Rules
from shardwright.rebalance.store import Line, Rebalances, control_of
from shardwright.runs.kinds import Progress, StepContext
from shardwright.windows import is_open, next_open

LOOK_EVERY = 0.4
ALIVE_EVERY = 60.0  # seconds at most without a word of how far it is
FRESH = timedelta(minutes=15)  # how old figures may be for a new plan
_SHOWN = 5  # of what has changed
Clock = Callable[[], datetime]


class Rounds:
    """The moves of one rebalance in this runner's hands. `clock`: which says whether moves may be begun now."""

    def __init__(self, context: StepContext, carriers: Carriers, clock: Clock = lambda: datetime.now(UTC)) -> None:
        self._context = context
        self._fleet = context.fleet
        self._carriers = carriers
        self._clock = clock
        self._options = RebalanceOptions.of_data(context.plan["options"])
        self._looked_at: int | None = None  # the round before which the fleet was looked at
        self._is_amiss = False  # a move has failed since the last plan
        self._waits = False
        self._lines: list[Line] | None = None  # as they were written last; only who has the run in hand writes them
        self._told: tuple[tuple[int, int], float] = ((-1, -1), 0.0)

    def turn(self) -> bool:
        """Does what there is to be done now; whether all of it is done. Raises Stopped, Superseded."""
        lines = self._noted()
        self._report(lines)
        under_way = [line for line in lines if line.state == "begun"]
        for line in under_way:
            self._carriers.carry(line.its_run)
        if self._is_stopping():
            self._stop(under_way)
            return not under_way
        if (reason := self._context.stop_wanted()) and not (reason == "pause" and under_way):
            self._context.raise_if_stopped()
        todo = [line for line in lines if line.state == "planned"]
        if todo and not reason and self._may_begin():
            self._begin(todo, under_way)
            return False
        return not todo and not under_way

    # --- what has become of those that were begun -----------------------------------------------

    def _noted(self) -> list[Line]:
        if self._lines is None:
            with self._control() as rebalances:
                self._lines = rebalances.lines(self._context.run)
        self._lines = [self._note(line) if line.state == "begun" else line for line in self._lines]
        return self._lines

    def _note(self, line: Line) -> Line:
        """As it is now; what it has come to is written down and told."""
        run, move = found(self._context, line)
        state, note = outcome(run, move)
        if state == "begun":
            return line
        self._is_amiss |= state not in ("moved", "kept")
        self._write(line, state, note)
        self._context.tell(told(line, state, note, move))
        return replace(line, state=state, note=note)

    def _write(self, line: Line, state: str, note: str | None) -> None:
        with self._control() as rebalances:
            rebalances.note(self._context.run, self._context.runner, line.number, state, note)

    def _report(self, lines: Sequence[Line]) -> None:
        counts = Counter(line.state for line in lines)
        total = len(lines) - counts["dropped"]
        done = total - counts["planned"] - counts["begun"]
        before, at = self._told
        if before != (done, total) or time.monotonic() - at > ALIVE_EVERY:
            self._told = (done, total), time.monotonic()
            self._context.report(Progress("move", done, total, "tenants"))

    # --- the operator's word to end it ----------------------------------------------------------

    def _is_stopping(self) -> bool:
        with self._control() as rebalances:
            return rebalances.rebalance(self._context.run).phase == "stopping"

    def _stop(self, under_way: Sequence[Line]) -> None:
        with self._control() as rebalances:
            rebalances.replan(self._context.run, self._context.runner, (), "an operator cancelled the rebalance")
        self._lines = None
        for line in under_way:
            with suppress(errors.NoSuchMove, errors.NotSwitched, errors.TooLate, errors.NotNow):
                ask_cancel(self._fleet, line.tenant)

    # --- beginning ------------------------------------------------------------------------------

    def _may_begin(self) -> bool:
        """Whether it is a time in which moves may be begun; told once where it is not."""
        windows, now = self._fleet.config.rebalance.windows, self._clock()
        may = is_open(windows, now)
        if not may and not self._waits:
            self._context.tell(f"the next move is begun at {next_open(windows, now):%a %Y-%m-%d %H:%M} UTC: windows")
        self._waits = not may
        return may

    def _begin(self, todo: Sequence[Line], under_way: Sequence[Line]) -> None:
        """Those of the next round that there is a place for; before its first, the fleet is looked at."""
        number = min(line.round for line in todo)
        if any(line.round != number for line in under_way):
            return
        if not under_way and self._looked_at != number:
            todo = self._look_again(todo)
            if not todo:
                return
            number = self._looked_at = min(line.round for line in todo)
        places = self._fleet.config.runs.at_once - len(under_way)
        for line in [line for line in todo if line.round == number][: max(places, 0)]:
            if self._is_to_go_on():
                self._lines = None
                self._begin_one(line)

    def _is_to_go_on(self) -> bool:
        return not self._context.stop_wanted() and not self._is_stopping()

    def _begin_one(self, line: Line) -> None:
        """The move has its run, or is refused. No second run is made: its line gets it in the same transaction."""
        context = self._context

        def also(control: Any, run: int) -> None:
            Rebalances(control, self._fleet.shard_set).begin(context.run, context.runner, line.number, run)

        try:
            move = plan_move(self._fleet, line.tenant, self._options.of_move(line.target))
            require_as_planned(line, move)
            start_move(self._fleet, move, also)
        except (errors.Refused, errors.NoSuchTenant, errors.UsageError) as error:
            self._is_amiss = True
            self._write(line, "refused", str(error))
            context.tell(told(line, "refused", str(error)))

    # --- planning anew --------------------------------------------------------------------------

    def _look_again(self, todo: Sequence[Line]) -> list[Line]:
        """The moves that are left: as they were planned, or of a new plan where the fleet has changed meanwhile."""
        run, runner = self._context.run, self._context.runner
        with self._control() as rebalances:
            rules = rules_for_the_rest(Rules.of(self._fleet.config), rebalances.lines(run))
        reasons = changed(look(self._fleet), rules, self._options, todo)
        if self._is_amiss:
            reasons.append("a move was not made")
        if not reasons:
            return list(todo)
        world = look(self._fleet, fresh=FRESH)
        plan = plan_for(world, rules, self._options)
        note = "; ".join(reasons[:_SHOWN]) + (f"; and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else "")
        with self._control() as rebalances:
            rebalances.replan(run, runner, new_lines(world, plan), note)
            left = [line for line in rebalances.lines(run) if line.state == "planned"]
        self._lines = None
        self._is_amiss = False
        self._context.tell(f"planned anew, {len(left)} moves in place of {len(todo)}: {note}")
        for each in plan.refused:
            self._context.tell(f"{each.tenant} stays: {each.why}")
        return left

    @contextmanager
    def _control(self) -> Iterator[Rebalances]:
        with control_of(self._context) as control:
            yield Rebalances(control, self._fleet.shard_set)


def require_as_planned(line: Line, move: MovePlan) -> None:
    """Raises PlacementChanged where the tenant is not where it was planned from."""
    if (move.source, move.epoch) != (line.source, line.epoch):
        expected = f"{line.source} since epoch {line.epoch}"
        raise errors.PlacementChanged(tenant=line.tenant, shard=move.source, epoch=move.epoch, expected=expected)


def rules_for_the_rest(rules: Rules, lines: Sequence[Line]) -> Rules:
    """Who was moved, or could not be, stays where it is; what was copied is no longer in the budget."""
    settled = {line.tenant for line in lines if line.state not in ("planned", "dropped")}
    copied = sum(line.bytes for line in lines if line.run is not None)
    most = None if rules.most_bytes is None else max(rules.most_bytes - copied, 0)
    return replace(rules, pinned=rules.pinned | settled, most_bytes=most)
