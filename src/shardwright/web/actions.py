"""What may be done with a run from the page: which buttons it has, what each asks before, and what it does.

Each does what the command of the same name does, by the same method of Fleet. None of them carries the run: that is for
a worker, which outlives the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from shardwright.bluegreen.status import ChangeStatus
from shardwright.fleet import Fleet
from shardwright.move.status import MoveStatus
from shardwright.rebalance.status import RebalanceStatus
from shardwright.runs.board import DurableRun, StepRecord


@dataclass(frozen=True)
class Subject:
    """A durable run with what is known of it: its steps, and the move, change or rebalance that it is."""

    run: DurableRun
    steps: tuple[StepRecord, ...] = ()
    move: MoveStatus | None = None
    change: ChangeStatus | None = None
    rebalance: RebalanceStatus | None = None

    @property
    def is_past_final(self) -> bool:
        """Whether a step was begun after which there is no way back."""
        return any(step.is_final and step.state in ("begun", "done") for step in self.steps)

    @property
    def waits_for_final(self) -> bool:
        """Whether the step that waits leads to one after which there is no way back."""
        names = [step.name for step in self.steps]
        if self.run.waits_for not in names:
            return False
        return any(step.is_final for step in self.steps[names.index(self.run.waits_for) :][:2])


@dataclass(frozen=True)
class Action:
    """A button. `asks`: what its own page says before it is done; empty where it is done at once.

    `command` is what does the same on the command line.
    """

    name: str
    label: str
    command: str
    act: Callable[[Fleet, Subject], object]
    asks: str = ""


def actions(subject: Subject) -> list[Action]:
    """What may be done with the run as it stands, the harmless first."""
    if not subject.run.is_open:
        return []
    return [*_of_any_run(subject), *_of_its_kind(subject)]


def find(subject: Subject, name: str) -> Action | None:
    """The action of that name, if it may be done now."""
    return next((action for action in actions(subject) if action.name == name), None)


def _of_any_run(subject: Subject) -> Iterable[Action]:
    run = subject.run
    if run.state in ("queued", "running") and run.wish is None:
        yield Action("pause", "Pause", f"runs pause {run.id}", lambda fleet, _: fleet.pause(run.id))
    if run.state in ("paused", "parked"):
        yield Action("resume", "Resume", f"runs resume {run.id}", lambda fleet, _: fleet.resume(run.id))
    if run.state == "waiting" and subject.move is None and subject.rebalance is None:
        yield Action(
            "approve", f"Approve {run.waits_for}", f"runs approve {run.id}", lambda fleet, _: fleet.approve(run.id),
            _NO_WAY_BACK if subject.waits_for_final else "",
        )  # fmt: skip


_NO_WAY_BACK = "The next step is final: once it has begun, this run can't be taken back."


def _of_its_kind(subject: Subject) -> Iterable[Action]:
    if subject.move is not None:
        return _of_a_move(subject.move)
    if subject.change is not None:
        return _of_a_change(subject.change)
    if subject.rebalance is not None:
        return _of_a_rebalance(subject.rebalance)
    return _of_another(subject)


def _of_another(subject: Subject) -> Iterable[Action]:
    run = subject.run
    if run.direction == "forward" and run.wish != "cancel" and not subject.is_past_final:
        yield Action(
            "cancel", "Cancel", f"runs cancel {run.id}", lambda fleet, _: fleet.cancel(run.id),
            "The run stops at its next safe point, and what it has done is undone, step by step.",
        )  # fmt: skip


def _of_a_move(found: MoveStatus) -> Iterable[Action]:
    move, tenant = found.move, found.move.tenant
    is_going_back = found.run.direction == "back" or found.run.wish == "cancel"
    if move.phase in ("moving", "given_up") and not is_going_back:
        yield Action(
            "cancel", "Cancel", f"move cancel {tenant}", lambda fleet, _: fleet.ask_cancel_move(tenant),
            f"The tenant stays on {move.source}. What was copied to {move.target} is deleted there.",
        )  # fmt: skip
    if move.phase == "switched" and not is_going_back:
        yield Action(
            "undo", "Undo", f"move undo {tenant}", lambda fleet, _: fleet.ask_undo_move(tenant),
            f"The tenant goes back to {move.source}, with everything that it has written since the switch. It can't "
            "write for some milliseconds meanwhile. Its rows on "
            f"{move.target} are deleted.",
        )  # fmt: skip
        yield Action(
            "finish", "Finish", f"move finish {tenant}", lambda fleet, _: fleet.ask_finish_move(tenant),
            f"The way back is closed: the tenant's rows on {move.source} are deleted, for good.",
        )  # fmt: skip


def _of_a_change(found: ChangeStatus) -> Iterable[Action]:
    change, is_going_back = found.change, found.run.direction == "back" or found.run.wish == "cancel"
    has_way_back = change.phase in ("building", "in_step", "switched") and not (found.is_one_way and found.at_green)
    if has_way_back and not is_going_back:
        yield Action(
            "undo", "Undo", "bluegreen undo", lambda fleet, _: fleet.ask_undo_bluegreen(),
            f"All tenants are written on {', '.join(found.run.plan['blue'])} again, with everything that was written "
            "since. What the change has made on the green shards is taken away, databases that it has made included.",
        )  # fmt: skip
    if change.phase == "switched" and not is_going_back:
        yield Action(
            "finish", "Finish", "bluegreen finish", lambda fleet, _: fleet.ask_finish_bluegreen(),
            "The way back is closed for good. The blue shards only read from then on.",
        )  # fmt: skip


def _of_a_rebalance(found: RebalanceStatus) -> Iterable[Action]:
    phase, is_going_back = found.rebalance.phase, found.run.direction == "back" or found.run.wish == "cancel"
    if phase == "moving" and not is_going_back:
        yield Action(
            "cancel", "Cancel", "rebalance cancel", lambda fleet, _: fleet.ask_cancel_rebalance(),
            "No further move is begun. Tenants that are not switched yet stay where they are; those that were moved "
            "stay moved, and can still be taken back.",
        )  # fmt: skip
    if phase in ("moving", "stopping", "moved") and not is_going_back:
        yield Action(
            "undo", "Undo", "rebalance undo", lambda fleet, _: fleet.ask_undo_rebalance(),
            "Every tenant that was moved goes back to where it was, the last one first, with everything that it has "
            "written since. Each can't write for some milliseconds meanwhile.",
        )  # fmt: skip
    if phase == "moved" and not is_going_back:
        yield Action(
            "finish", "Finish", "rebalance finish", lambda fleet, _: fleet.ask_finish_rebalance(),
            "The ways back are closed: the rows of all tenants that were moved are deleted where they were, for good.",
        )  # fmt: skip
