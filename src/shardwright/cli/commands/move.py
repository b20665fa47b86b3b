"""`move` and below: a tenant to another shard while it keeps working, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shardwright.cli.app import app, command, duration
from shardwright.cli.commands.runs import tell_detached
from shardwright.cli.completion import shard_names
from shardwright.cli.screen import Screen
from shardwright.cli.words import counted, event_line, identifier, run_progress, size, span
from shardwright.runs.stopping import StopRequest, stop_on_signals

if TYPE_CHECKING:
    from shardwright.fleet import Fleet
    from shardwright.move.preflight.finding import Finding
    from shardwright.move.start import MoveOptions
    from shardwright.move.status import MoveStatus
    from shardwright.runs.board import RunEvent


class _MoveGroup(typer.core.TyperGroup):
    """`move acme --to shard_2` means `move start acme --to shard_2`: the first word is a tenant where it is no command.

    Without --to it is no tenant if it is nearly a command.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h") and not self._is_misspelt(args):
            args = ["start", *args]
        return super().parse_args(ctx, args)

    def _is_misspelt(self, args: list[str]) -> bool:
        has_target = any(each.partition("=")[0] == "--to" for each in args)
        return not has_target and bool(get_close_matches(args[0], self.commands))


group = typer.Typer(cls=_MoveGroup, no_args_is_help=True, help="Move a tenant to another shard while it keeps working.")
app.add_typer(group, name="move")

Tenant = Annotated[str, typer.Argument(metavar="ID", help="The tenant's id: its key in the root table.")]
To = Annotated[str, typer.Option("--to", metavar="SHARD", help="The shard it is to be on.", autocompletion=shard_names)]
Keep = Annotated[
    timedelta | None,
    typer.Option(
        parser=duration, metavar="DURATION", help="How long the way back stays open; else as limits.keep says."
    ),
]
Streams = Annotated[int | None, typer.Option(min=1, max=16, help="How many parts are copied at once.")]
Rate = Annotated[int | None, typer.Option("--rate", min=1, metavar="BYTES", help="Copy no more than that in a second.")]
Offline = Annotated[bool, typer.Option("--offline", help="Shut the tenant's writers out from the start to the end.")]
Allow = Annotated[
    str | None, typer.Option("--allow", metavar="NAMES", help="Findings of the preflight to let pass, by name.")
]
NewRate = Annotated[int | None, typer.Option("--rate", min=0, metavar="BYTES", help="In a second; 0: no limit.")]
NewActive = Annotated[
    int | None, typer.Option("--active", min=0, help="Rest while more sessions are at work on a shard.")
]
NewLag = Annotated[
    timedelta | None,
    typer.Option(parser=duration, metavar="DURATION", help="Rest while a replica is further behind than that."),
]
NewProbe = Annotated[
    str | None,
    typer.Option("--probe", metavar="SELECT", help="Rest while that is not true on both shards; '': none."),
]


@command(
    group,
    "start",
    changes=True,
    examples=(
        "shardwright move start acme --to shard_2",
        "shardwright move start acme --to shard_2 --keep 1h --detach",
    ),
)
def start(
    screen: Screen,
    tenant: Tenant,
    *,
    to: To,
    keep: Keep = None,
    streams: Streams = None,
    rate: Rate = None,
    offline: Offline = False,
    allow: Allow = None,
    finish: Annotated[
        bool, typer.Option("--finish", help="Clean the source as soon as both sides are proven equal: no way back.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it to a worker, and return at once.")] = False,
) -> int:
    """Move a tenant to another shard, with a way back; `move acme --to shard_2` is the same."""
    fleet, options = (
        screen.fleet(),
        _options(to, timedelta(0) if finish else keep, streams, rate, allow, offline=offline),
    )
    if screen.dry_run:
        return _tell_plan(screen, fleet, tenant, options)
    run = fleet.start_move(tenant, options)
    if detach:
        return tell_detached(screen, fleet, run)
    return _carry(screen, fleet, lambda stop, tell: fleet.carry_move(tenant, run, stop=stop, tell=tell))


@command(group, "plan", examples=("shardwright move plan acme --to shard_2",))
def plan(screen: Screen, tenant: Tenant, *, to: To, offline: Offline = False, allow: Allow = None) -> int:
    """Show what a move would take along and how long it may take, and every reason why it could fail."""
    return _tell_plan(screen, screen.fleet(), tenant, _options(to, None, None, None, allow, offline=offline))


@command(group, "status", examples=("shardwright move status", "shardwright move status acme --json"))
def status(
    screen: Screen,
    tenant: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="One tenant, also where its move is over.")
    ] = None,
) -> int:
    """Show the moves that are not at their end, or one tenant's last move with its steps."""
    fleet = screen.fleet()
    if tenant is not None:
        found = fleet.move_status(tenant)
        screen.document(found.as_dict())
        _tell(screen, found)
        return 0
    moves = fleet.moves()
    screen.document({"moves": [each.as_dict() for each in moves]})
    for each in moves:
        _tell(screen, each)
    if not moves:
        screen.line("no move is open", important=True)
    return 0


@command(group, "undo", changes=True, examples=("shardwright move undo acme",))
def undo(screen: Screen, tenant: Tenant) -> int:
    """Take the tenant back to where it was, before or after the switch, with everything that was written since."""
    return _act(screen, tenant, lambda fleet, **how: fleet.undo_move(tenant, **how))


@command(group, "cancel", changes=True, examples=("shardwright move cancel acme",))
def cancel(screen: Screen, tenant: Tenant) -> int:
    """Give up a move that is not switched yet; nothing of it is left."""
    return _act(screen, tenant, lambda fleet, **how: fleet.cancel_move(tenant, **how))


@command(group, "finish", changes=True, examples=("shardwright move finish acme",))
def finish(screen: Screen, tenant: Tenant) -> int:
    """Close the way back: delete the tenant's rows where it was, and take away what the move has made."""
    return _act(screen, tenant, lambda fleet, **how: fleet.finish_move(tenant, **how))


@command(group, "verify", examples=("shardwright move verify acme",))
def verify(screen: Screen, tenant: Tenant) -> int:
    """Compare both sides once more, as long as the source still has its rows; exit 1 where they differ."""
    found = screen.fleet().verify_move(tenant)
    screen.document(found.as_dict())
    for ours, theirs in zip(found.comparison.source, found.comparison.target, strict=True):
        left_out = f", {counted(ours.left_out, 'key')} written since" if ours.left_out else ""
        mark, style = ("✓", "green") if ours == theirs else ("✗", "red")
        screen.line(
            f"{mark} {ours.table}: {counted(ours.rows, 'row')}{left_out}", style=style, important=ours != theirs
        )
    for each in found.comparison.differences:
        screen.line(f"  {each}", style="red", important=True)
    is_equal = found.comparison.is_equal
    screen.line("both sides hold the same rows" if is_equal else "the two sides differ", important=True)
    return 0 if is_equal else 1


@command(
    group,
    "throttle",
    changes=True,
    examples=("shardwright move throttle acme --rate 5000000", "shardwright move throttle acme --rate 0"),
)
def throttle(
    screen: Screen,
    tenant: Tenant,
    *,
    rate: NewRate = None,
    active: NewActive = None,
    lag: NewLag = None,
    probe: NewProbe = None,
) -> int:
    """Slow an open move down, or let it go faster; it hears of it within a second."""
    fleet, limits = screen.fleet(), new_limits(rate, active, lag, probe)
    if not screen.dry_run:
        fleet.throttle_move(tenant, limits)
    screen.document({"tenant": tenant, "throttle": limits, "dry_run": screen.dry_run})
    screen.line(f"{identifier(tenant)}: {told_limits(limits)}", important=True)
    return 0


def new_limits(rate: int | None, active: int | None, lag: timedelta | None, probe: str | None) -> dict[str, Any]:
    """Those that were given, as a transfer's limits."""
    limits: dict[str, Any] = {"bytes_per_second": rate or None} if rate is not None else {}
    limits |= {"active": active} if active is not None else {}
    limits |= {"lag": lag.total_seconds()} if lag is not None else {}
    limits |= {"probe": probe or None} if probe is not None else {}
    return limits


def told_limits(limits: Mapping[str, Any]) -> str:
    """`bytes_per_second 5000000, lag 2.0`."""
    told = ", ".join(f"{name} {value if value is not None else 'no limit'}" for name, value in limits.items())
    return told or "nothing to change"


def _options(
    to: str, keep: timedelta | None, streams: int | None, rate: int | None, allow: str | None, *, offline: bool
) -> MoveOptions:
    from shardwright.fleet import MoveOptions  # noqa: PLC0415 --help needs none of it

    names = tuple(filter(None, (name.strip() for name in (allow or "").split(","))))
    return MoveOptions(to, keep, streams, rate, offline, names)


def _act(screen: Screen, tenant: str, act: Callable[..., MoveStatus]) -> int:
    fleet = screen.fleet()
    if screen.dry_run:
        found = fleet.move_status(tenant)
        screen.document({"dry_run": True, **found.as_dict()})
        _tell(screen, found)
        return 0
    return _carry(screen, fleet, lambda stop, tell: act(fleet, stop=stop, tell=tell))


def _carry(screen: Screen, fleet: Fleet, act: Callable[..., MoveStatus]) -> int:
    """The move in this process, with what happens; Ctrl-C takes it back, a second one leaves it to workers."""
    del fleet

    def tell(event: RunEvent) -> None:
        if event.kind == "message" or screen.verbose:
            screen.line(event_line(event))

    with stop_on_signals(StopRequest()) as stop:
        found = act(stop, tell)
    screen.document(found.as_dict())
    _tell(screen, found)
    is_undone = found.run.state == "cancelled" and not stop.is_asked
    return 0 if is_undone else found.exit_code


def _tell(screen: Screen, found: MoveStatus) -> None:
    move, run = found.move, found.run
    name = identifier(move.tenant)
    screen.line(
        f"run {move.run}  {name}: {move.source} → {move.target}  {_WORDS[move.phase]}  {run.told}", important=True
    )
    if run.state == "parked":
        screen.line(f"  {run.note}", style="red", important=True)
        screen.line(f"  try: shardwright runs resume {move.run}, or: shardwright move undo {name}", important=True)
    elif found.step and run.state in ("running", "queued", "paused"):
        progress = f"  {run_progress(run.progress, found.eta)}" if run.progress and run.state == "running" else ""
        screen.line(f"  {found.step}{progress}")
    if gap := move.write_gap:
        told = "was not measured" if gap["gap_ms"] is None else f"{gap['gap_ms']} ms"
        in_data = f" ({gap['data_ms']} ms between two of its writes)" if gap.get("data_ms") is not None else ""
        tries = "1 try" if gap["tries"] == 1 else f"{gap['tries']} tries"
        screen.line(f"  write gap {told}{in_data}, {tries}")
    if certificate := move.certificate:
        rows = sum(proof["rows"] for proof in certificate["source"])
        told = "equal on both sides" if certificate["equal"] else "DIFFERENT"
        screen.line(f"  certificate: {counted(rows, 'row')} {told}", important=not certificate["equal"])
    if move.phase == "switched" and run.state == "waiting" and move.keep_until:
        screen.line(f"  the way back is open until {move.keep_until:%Y-%m-%d %H:%M:%S %Z}", important=True)
        screen.line(f"  try: shardwright move finish {name}, or: shardwright move undo {name}", important=True)


_WORDS = {
    "moving": "not switched yet",
    "given_up": "given up",
    "switched": "switched",
    "cleaning": "switched, the source is being cleaned",
    "returned": "taken back",
    "kept": "done",
    "undone": "undone",
}


def _tell_plan(screen: Screen, fleet: Fleet, tenant: str, options: MoveOptions) -> int:
    found = fleet.plan_move(tenant, options)
    screen.document({"dry_run": True, **found.as_dict()})
    screen.line(f"{identifier(found.tenant)}: {found.source} → {found.target}", important=True)
    tell_findings(screen, found.findings)
    if estimate := found.estimate:
        for table in estimate.tables:
            about = "" if table.is_counted else "about "
            screen.line(f"  {table.table}: {about}{counted(table.rows, 'row')}, {size(table.bytes)}")
        early, late = estimate.seconds
        screen.line(
            f"{counted(estimate.rows, 'row')}, {size(estimate.bytes)}; {span(early)} to {span(late)}, "
            f"write gap about {estimate.write_gap * 1000:.0f} ms",
            important=True,
        )
    return 2 if found.errors else 0


def tell_findings(screen: Screen, findings: Iterable[Finding]) -> None:
    """A line for each, those that are in the way also with --quiet."""
    for finding in findings:
        mark, style = _MARKS[finding.severity]
        cure = f"; try: {finding.cure}" if finding.cure else ""
        screen.line(f"{mark} {finding.check}: {finding.fact}{cure}", style=style, important=finding.severity == "error")


_MARKS = {"error": ("✗", "red"), "warning": ("!", "yellow"), "note": ("-", "dim")}
