"""`rebalance` and below: which tenants to move so that the shards carry alike, and the run that moves them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from shardwright.cli.app import app, command
from shardwright.cli.commands.move import Allow, Keep, Rate, Streams
from shardwright.cli.commands.runs import tell_detached
from shardwright.cli.completion import shard_names
from shardwright.cli.rebalances import tell_proposal, tell_rebalance, tell_refused
from shardwright.cli.screen import Screen
from shardwright.cli.words import event_line
from shardwright.runs.stopping import LetGoRequest, stop_on_signals

if TYPE_CHECKING:
    from shardwright.fleet import Fleet
    from shardwright.rebalance.options import RebalanceOptions
    from shardwright.rebalance.start import Proposal
    from shardwright.rebalance.status import RebalanceStatus
    from shardwright.runs.board import RunEvent

group = typer.Typer(no_args_is_help=True, help="Move tenants so that every shard carries its share of the load.")
app.add_typer(group, name="rebalance")

Empty = Annotated[
    list[str] | None,
    typer.Option("--empty", metavar="SHARD", help="Leave nobody there; may be repeated.", autocompletion=shard_names),
]
To = Annotated[
    list[str] | None,
    typer.Option("--to", metavar="SHARD", help="Move to this shard only; may be repeated.", autocompletion=shard_names),
]
Detach = Annotated[bool, typer.Option("--detach", help="Leave it to workers, and return at once.")]


@command(
    group,
    "plan",
    examples=(
        "shardwright rebalance plan",
        "shardwright rebalance plan --to shard_9",
        "shardwright rebalance plan --json",
    ),
)
def plan(screen: Screen, *, empty: Empty = None, to: To = None) -> int:
    """Show which tenants to move where and why, what that costs, and how far from the best possible it is.

    Tenants whose figures are older than an hour are measured first; nothing is moved.
    """
    return tell_proposal(screen, screen.fleet().plan_rebalance(move_options(empty=empty, to=to)))


@command(
    group,
    "start",
    changes=True,
    examples=(
        "shardwright rebalance start",
        "shardwright rebalance start --to shard_9 --keep 48h",
        "shardwright rebalance start --detach",
    ),
)
def start(
    screen: Screen,
    *,
    empty: Empty = None,
    to: To = None,
    keep: Keep = None,
    streams: Streams = None,
    rate: Rate = None,
    allow: Allow = None,
    detach: Detach = False,
) -> int:
    """Make the moves of a plan, round by round, planned anew where the fleet changes meanwhile; Ctrl-C leaves it to others.

    With --dry-run nothing is measured either: the plan is made from the last figures.
    """
    fleet = screen.fleet()
    options = move_options(empty=empty, to=to, keep=keep, streams=streams, rate=rate, allow=allow)
    proposal = fleet.plan_rebalance(options, measure=not screen.dry_run)
    if screen.dry_run or not proposal.lines:
        return tell_proposal(screen, proposal)
    return carry_or_detach(screen, fleet, proposal, fleet.start_rebalance(proposal), detach=detach)


def carry_or_detach(screen: Screen, fleet: Fleet, proposal: Proposal, run: int, *, detach: bool) -> int:
    """The rebalance is left to workers, or carried here as far as it goes; who has no place in it is named."""
    tell_refused(screen, proposal)
    if detach:
        return tell_detached(screen, fleet, run)
    return _carry(screen, lambda **how: fleet.carry_rebalance(run, **how))


@command(group, "status", examples=("shardwright rebalance status", "shardwright rebalance status --json"))
def status(screen: Screen) -> int:
    """Show the open rebalance, else the last: each of its moves, what is amiss, and what may be done next."""
    return _show(screen, screen.fleet().rebalance_status())


@command(group, "follow", examples=("shardwright rebalance follow",))
def follow(screen: Screen) -> int:
    """Go on with the open rebalance in this process, where no worker does, until it rests or Ctrl-C."""
    fleet = screen.fleet()
    found = fleet.rebalance_status()
    return _carry(screen, lambda **how: fleet.carry_rebalance(found.run.id, **how))


@command(group, "cancel", changes=True, examples=("shardwright rebalance cancel",))
def cancel(screen: Screen) -> int:
    """Begin no further move, and take back what is not switched; tenants that were moved stay, and can be taken back."""
    fleet = screen.fleet()
    if screen.dry_run:
        return _show(screen, fleet.rebalance_status())
    return _carry(screen, fleet.cancel_rebalance)


@command(group, "undo", changes=True, examples=("shardwright rebalance undo",))
def undo(screen: Screen) -> int:
    """Take every tenant back to where it was, the last one first, with everything that was written since."""
    fleet = screen.fleet()
    if screen.dry_run:
        return _show(screen, fleet.rebalance_status())
    return _carry(screen, fleet.undo_rebalance)


@command(group, "finish", changes=True, examples=("shardwright rebalance finish",))
def finish(screen: Screen) -> int:
    """Close the ways back: delete the tenants' rows where they were."""
    fleet = screen.fleet()
    if screen.dry_run:
        return _show(screen, fleet.rebalance_status())
    return _carry(screen, fleet.finish_rebalance)


def move_options(
    *,
    empty: Sequence[str] | None = None,
    to: Sequence[str] | None = None,
    keep: timedelta | None = None,
    streams: int | None = None,
    rate: int | None = None,
    allow: str | None = None,
) -> RebalanceOptions:
    """What the command line says of a rebalance and its moves."""
    from shardwright.rebalance.options import RebalanceOptions  # noqa: PLC0415 --help needs none of it

    names = tuple(filter(None, (name.strip() for name in (allow or "").split(","))))
    return RebalanceOptions(tuple(empty or ()), tuple(to or ()), keep, streams, rate, names)


def _show(screen: Screen, found: RebalanceStatus) -> int:
    screen.document({"dry_run": True, **found.as_dict()} if screen.dry_run else found.as_dict())
    tell_rebalance(screen, found)
    return 0


def _carry(screen: Screen, act: Callable[..., RebalanceStatus]) -> int:
    def tell(event: RunEvent) -> None:
        if event.kind == "message" or screen.verbose:
            screen.line(event_line(event))

    with stop_on_signals(LetGoRequest()) as stop:
        found = act(stop=stop, tell=tell)
    screen.document(found.as_dict())
    tell_rebalance(screen, found)
    if stop.was_asked and found.run.state in ("queued", "running"):
        screen.line("  let go, and not given up: whoever takes the run goes on where it is", important=True)
        return 128 + (stop.signal or 0)
    return found.exit_code
