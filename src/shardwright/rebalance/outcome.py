"""What has become of a move that was begun: read from its run, and in words."""

from __future__ import annotations

from shardwright.move.store import Move, Moves
from shardwright.rebalance.store import Line, control_of
from shardwright.runs.board import Board, DurableRun
from shardwright.runs.kinds import StepContext

_STATES = {"waiting": "moved", "finished": "kept", "cancelled": "returned", "parked": "failed"}


def found(context: StepContext, line: Line) -> tuple[DurableRun, Move]:
    """The move's run, and the move, as they stand."""
    with control_of(context) as control:
        run = Board(control, context.fleet.shard_set).run(line.its_run)
        assert run is not None  # noqa: S101 no run is ever deleted
        return run, Moves(control, context.fleet.shard_set).move(run.id)


def outcome(run: DurableRun, move: Move) -> tuple[str, str | None]:
    """The state of the line, with why; `begun` as long as something may still come of it."""
    state = _STATES.get(run.state, "begun")
    if state != "failed":
        return state, run.note if state == "returned" else None
    where = "it is switched, but " if move.phase in ("switched", "cleaning") else ""
    return state, f"{where}run {run.id} is parked: {run.note}"


def told(line: Line, state: str, note: str | None, move: Move | None = None) -> str:
    """One line for whoever follows the rebalance."""
    gap = (move.write_gap or {}).get("gap_ms") if move else None
    if state == "kept":
        return f"{line.tenant} is on {line.target} for good, its rows on {line.source} are deleted"
    if state == "moved":
        return f"{line.tenant} is on {line.target}" + (f", write gap {gap} ms" if gap is not None else "")
    where = {"failed": "could not be moved", "refused": "was not begun", "returned": f"is on {line.source} again"}
    return f"{line.tenant} {where[state]}: {note}"
