"""`runs resume`: brings a run that was left half way to its end."""

from __future__ import annotations

from shardwright import errors
from shardwright.config import FleetConfig
from shardwright.migration.operation import operation
from shardwright.runs.events import Listener
from shardwright.runs.results import ShardResult
from shardwright.runs.stopping import StopRequest
from shardwright.runs.store import Run


def resume(fleet: FleetConfig, number: int, *, stop: StopRequest, on_event: Listener) -> tuple[Run, list[ShardResult]]:
    """The run and each shard's result, after all that it had left prepared was finished by its decision.

    Raises NothingToResume where it had left nothing, and what `operation` raises.
    """
    with operation(fleet, "resume", stop=stop, on_event=on_event) as op:
        run = op.ledger.run(number)
        if number not in op.found_unsettled:
            raise errors.NothingToResume(run=number, state=run.state)
        return run, op.ledger.results(number)
