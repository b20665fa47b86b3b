"""What a rollout or a rollback will do: a frozen value, made without a database."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alembic.runtime.migration import RevisionStep

from shardwright import errors
from shardwright.migration.history import History, State
from shardwright.migration.versions import Reading
from shardwright.runs.results import ShardResult, Status, revisions_text
from shardwright.runs.store import Ledger, Seen
from shardwright.shard import Shard

CANARY_LABEL = "canary"


@dataclass(frozen=True)
class ShardPlan:
    """What one shard will go through: from `before` over `steps` (revision ids, in order) to `after`."""

    shard: Shard
    before: State
    after: State
    steps: tuple[str, ...]


Way = Callable[[Shard, State], ShardPlan | ShardResult]  # a result where there is no way


@dataclass(frozen=True)
class Plan:
    """Waves of shards with work to be done, and the results of those with none."""

    kind: str
    target: str
    waves: tuple[tuple[ShardPlan, ...], ...]
    settled: tuple[ShardResult, ...]

    @property
    def todo(self) -> tuple[ShardPlan, ...]:
        """Every shard with work to be done, in order."""
        return tuple(shard for wave in self.waves for shard in wave)

    @property
    def not_well(self) -> tuple[ShardResult, ...]:
        """Shards that can't take part: out of reach, ahead of the code, unknown."""
        return tuple(result for result in self.settled if result.status is not Status.UP_TO_DATE)

    def as_dict(self) -> dict[str, Any]:
        """The plan as `--dry-run --json` prints it and the ledger keeps it."""
        return {
            "kind": self.kind,
            "target": self.target,
            "waves": [
                [
                    {
                        "shard": each.shard.name,
                        "from": revisions_text(each.before),
                        "to": revisions_text(each.after),
                        "steps": list(each.steps),
                    }
                    for each in wave
                ]
                for wave in self.waves
            ],
        }


def plan_shards(
    history: History, shards: Sequence[Shard], readings: Mapping[str, Reading], way: Way
) -> tuple[list[ShardPlan], list[ShardResult]]:
    """Shards with work to be done, and the results of those with none; `way` says what each goes through."""
    todo: list[ShardPlan] = []
    settled: list[ShardResult] = []
    for shard in shards:
        plan = _plan_or_result(history, shard, readings[shard.name], way)
        if isinstance(plan, ShardResult):
            settled.append(plan)
        elif plan.steps:
            todo.append(plan)
        else:
            settled.append(ShardResult(shard.name, Status.UP_TO_DATE, plan.before, plan.before))
    return todo, settled


def _plan_or_result(history: History, shard: Shard, reading: Reading, way: Way) -> ShardPlan | ShardResult:
    if reading.state is None:
        return unreachable(shard, reading)
    if history.unknown(reading.state):
        return unknown_revision(shard, reading.state, history)
    try:
        return way(shard, reading.state)
    except errors.NoSuchRevision as error:
        state = reading.state
        return ShardResult(shard.name, Status.FAILED, state, state, error=str(error), hint=error.hint)


def plan_shard(history: History, shard: Shard, state: State, steps: Sequence[RevisionStep]) -> ShardPlan:
    """The plan of a shard in `state` that goes through `steps`."""
    revisions = tuple(step.revision.revision for step in steps)
    return ShardPlan(shard, state, history.after(state, steps), revisions)


def unreachable(shard: Shard, reading: Reading) -> ShardResult:
    """The result of a shard that did not say its revision."""
    fault = reading.fault
    return ShardResult(
        shard.name,
        Status.FAILED,
        error=fault.reason if fault else "it did not say its revision",
        hint=(fault.hint if fault else "") or "shardwright shards check",
    )


def unknown_revision(shard: Shard, state: State, history: History) -> ShardResult:
    """The result of a shard whose revision no file has."""
    unknown = ", ".join(history.unknown(state))
    return ShardResult(
        shard.name,
        Status.UNKNOWN,
        state,
        state,
        error=f"its revision {unknown} is not in {history.location.directory}",
        hint="check out the code that has it, or see where it came from: shardwright runs",
    )


def name_those_ahead(ledger: Ledger, results: Sequence[ShardResult]) -> list[ShardResult]:
    """`results`, those unknown as ahead of the code where the ledger tells who brought their revision."""
    unknown = {each for result in results if result.status is Status.UNKNOWN for each in result.after or ()}
    seen = ledger.first_seen(unknown) if unknown else {}
    return [_ahead_of_code(result, seen) for result in results]


def _ahead_of_code(result: ShardResult, seen: Mapping[str, Seen]) -> ShardResult:
    known = next((seen[revision] for revision in result.after or () if revision in seen), None)
    if result.status is not Status.UNKNOWN or known is None:
        return result
    return result.with_note(
        status=Status.AHEAD,
        error=(
            f"it is ahead of this code: at {revisions_text(result.after)}, brought by run {known.run} "
            f"of {known.by} on {known.at:%Y-%m-%d %H:%M}"
        ),
        hint="update your checkout to the code of that run",
    )


def parse_waves(text: str | None) -> tuple[float, ...]:
    """`10%,50%` as the shares of the fleet done after each wave. Raises UsageError."""
    if not text:
        return ()
    try:
        shares = tuple(float(part.strip().removesuffix("%")) / 100 for part in text.split(","))
    except ValueError:
        shares = ()
    ordered = all(low < high for low, high in zip((0.0, *shares), shares, strict=False))
    if not shares or not ordered or shares[-1] > 1:
        raise errors.UsageError(
            reason=f"--waves {text!r} are not growing percentages", help="for example: --waves 10%,50%"
        )
    return shares


def in_waves(
    todo: Sequence[ShardPlan], *, canary: int = 0, shares: Sequence[float] = ()
) -> tuple[tuple[ShardPlan, ...], ...]:
    """`todo` cut into waves: the canaries first, then up to each share of the whole, then the rest.

    Canaries are the shards labelled `canary = "yes"` before others.
    """
    ordered = sorted(todo, key=lambda each: each.shard.labels.get(CANARY_LABEL) != "yes") if canary else list(todo)
    whole = len(ordered)
    # rounded, for 7 % of 100 is 7.000000000000001
    cuts = [canary, *(max(canary, math.ceil(round(share * whole, 9))) for share in shares), whole]
    waves, start = [], 0
    for cut in cuts:
        if cut > start:
            waves.append(tuple(ordered[start:cut]))
            start = cut
    return tuple(wave for wave in waves if wave)
