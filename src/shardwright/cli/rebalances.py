"""The words in which a rebalance is told: its plan, how far it is, and what may be done next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shardwright.cli.screen import Screen
from shardwright.cli.words import counted, identifier, run_progress, size, span

if TYPE_CHECKING:
    from shardwright.rebalance.start import Proposal
    from shardwright.rebalance.status import RebalanceStatus
    from shardwright.rebalance.store import Line

FEW = 20  # of moves by name; --json has all, and --verbose
_BAR = 24  # characters that a shard's due is wide
_HARDLY = 0.001  # of a due, as little as is not seen in the figures


# --- a plan ---------------------------------------------------------------------------------------


def tell_proposal(screen: Screen, found: Proposal) -> int:
    """The plan as a table with what it brings; exit 1 where a tenant that ought to go can't."""
    plan, told = found.plan, found.as_dict()
    screen.document({"dry_run": True, **told})
    shown = plan.moves if screen.verbose else plan.moves[:FEW]
    for move in shown:
        screen.line(
            f"{move.number:>4}  round {move.round}  {identifier(move.tenant)}: {move.source} → {move.target}  "
            f"{size(move.bytes)}, {move.load:.1%} of the load"
        )
        screen.line(f"      {move.why}", style="dim")
    if len(plan.moves) > len(shown):
        screen.line(f"      and {len(plan.moves) - len(shown)} more: --verbose, --json")
    tell_refused(screen, found)
    for note in told.get("notes", ()):
        screen.line(f"! {note}", style="yellow")
    for line in balance_lines(told):
        screen.line(line)
    _tell_sums(screen, told, len(plan.moves))
    return 1 if plan.refused else 0


def tell_refused(screen: Screen, found: Proposal) -> None:
    """Who ought to go, and can't."""
    for each in found.plan.refused:
        screen.line(f"✗ {identifier(each.tenant)} stays: {each.why}", style="red", important=True)


def balance_lines(plan: Mapping[str, Any]) -> Iterator[str]:
    """What each shard carries before and after, in shares of what is its due."""
    before, after = plan["before"]["loads"], plan["after"]["loads"]
    names = list(dict.fromkeys([*before, *after]))
    width = max(map(len, names), default=0)
    for name in names:
        now, then = before.get(name), after.get(name)
        bar = "█" * round(_BAR / 2 * min(then or 0.0, 4.0))
        yield f"  {name:<{width}}  {_share(now):>6} → {_share(then):>6}  {bar}"


def _share(load: float | None) -> str:
    return "empty" if load is None else f"{load:.0%}"


def _tell_sums(screen: Screen, plan: Mapping[str, Any], moves: int) -> None:
    before, after, bound = plan["before"]["imbalance"], plan["after"]["imbalance"], plan["bound"]
    giant = "" if after - plan["after"]["avoidable"] < _HARDLY else ", for one of its tenants is more than a full shard"
    if not moves:
        screen.line(f"nothing to move: the most loaded shard has {before:.1%} above its due{giant}", important=True)
        return
    screen.line(
        f"{counted(moves, 'move')} in {counted(plan['rounds'], 'round')}, {size(plan['bytes'])}; "
        f"{span(plan['seconds'])}, write gaps about {plan['gap_ms']:.0f} ms in all",
        important=True,
    )
    screen.line(
        f"imbalance {before:.1%} → {after:.1%}; the best possible is {bound['imbalance']:.1%} ({bound['method']})",
        important=True,
    )
    if giant:
        rest = f"{plan['after']['avoidable']:.1%} with such tenants counted as full shards, as the best possible counts them"
        screen.line(f"  the most loaded shard stays above its due{giant}: {rest}")


# --- a rebalance ----------------------------------------------------------------------------------


def tell_rebalance(screen: Screen, found: RebalanceStatus) -> None:
    """Everything that an operator wants to know of it, some lines also with --quiet."""
    run, counts = found.run, found.counts
    emptied = f"to empty {', '.join(found.rebalance.emptied)}  " if found.rebalance.emptied else ""
    screen.line(f"run {run.id}  {emptied}{_PHASES[found.rebalance.phase]}  {run.told}", important=True)
    if run.state == "parked":
        screen.line(f"✗ {run.note}", style="red", important=True)
    if run.progress and run.state == "running":
        screen.line(f"  {run_progress(run.progress, found.eta)}")
    for text, style in _move_lines(found.moves, everything=screen.verbose):
        screen.line(text, style=style, important=style == "red")
    told = ", ".join(f"{counts[state]} {word}" for state, word in _STATES.items() if counts[state])
    screen.line(f"  {told or 'no moves'}", important=True)
    if "before" in run.plan:
        before, after = run.plan["before"]["imbalance"], run.plan["after"]["imbalance"]
        screen.line(f"  planned: imbalance {before:.1%} → {after:.1%}")
    for line in _what_now(found):
        screen.line(f"  try: {line}", important=True)


def _move_lines(lines: Sequence[Line], *, everything: bool) -> Iterator[tuple[str, str | None]]:
    amiss = [line for line in lines if _MARKS[line.state][1] == "red"]
    others = [line for line in lines if line not in amiss]
    shown = others if everything else others[-FEW:]
    if len(others) > len(shown):
        yield f"  … {len(others) - len(shown)} before these: --verbose, --json", "dim"
    for line in (*shown, *amiss):
        mark, style = _MARKS[line.state]
        run = f" (run {line.run})" if line.run is not None else ""
        note = f": {line.note}" if line.note else ""
        yield f"{mark} {identifier(line.tenant)}: {line.source} → {line.target}  {line.state}{run}{note}", style


def _what_now(found: RebalanceStatus) -> Iterator[str]:
    run, phase = found.run, found.rebalance.phase
    if run.state in ("parked", "paused"):
        yield f"shardwright runs resume {run.id}"
    elif run.state == "queued":
        yield "shardwright worker, or: shardwright rebalance follow"
    elif phase == "moved" and run.state == "waiting":
        yield "shardwright rebalance finish, or: shardwright rebalance undo"
    elif phase == "done" and found.rebalance.emptied and not found.amiss:
        yield from (f"shardwright shards remove {name}" for name in found.rebalance.emptied)
    elif phase == "moving":
        yield "shardwright rebalance cancel   begins no further move"


_PHASES = {
    "moving": "moving tenants",
    "stopping": "cancelled, what is under way comes to its end",
    "moved": "moved, the way back is open",
    "returning": "taking tenants back",
    "finishing": "cleaning the sources",
    "done": "done",
    "undone": "undone",
}
_STATES = {
    "planned": "to go",
    "begun": "under way",
    "moved": "moved",
    "kept": "moved for good",
    "returned": "back where they were",
    "failed": "failed",
    "refused": "refused",
    "dropped": "dropped by a later plan",
}
_MARKS: Mapping[str, tuple[str, str | None]] = {
    "planned": ("·", "dim"),
    "begun": ("→", None),
    "moved": ("✓", "green"),
    "kept": ("✓", "green"),
    "returned": ("↩", "yellow"),
    "failed": ("✗", "red"),
    "refused": ("✗", "red"),
    "dropped": ("-", "dim"),
}
