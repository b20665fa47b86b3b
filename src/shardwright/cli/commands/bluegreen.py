"""`bluegreen` and below: a new shard set beside the old one, the switch that nobody notices, and the way back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shardwright import errors
from shardwright.cli.app import app, command
from shardwright.cli.changes import FEW, tell_change, tell_rewriting, tenant_lines
from shardwright.cli.commands.move import (
    Allow,
    Keep,
    NewActive,
    NewLag,
    NewProbe,
    NewRate,
    Streams,
    new_limits,
    tell_findings,
    told_limits,
)
from shardwright.cli.commands.runs import tell_detached
from shardwright.cli.screen import Screen
from shardwright.cli.words import counted, event_line, identifier, size, span
from shardwright.runs.stopping import LetGoRequest, stop_on_signals

if TYPE_CHECKING:
    from shardwright.bluegreen.start import ChangePlan
    from shardwright.bluegreen.status import ChangeStatus
    from shardwright.fleet import Fleet
    from shardwright.runs.board import RunEvent

_PROGRESS_EVERY = 10.0
group = typer.Typer(
    no_args_is_help=True, help="Build a new set of shards beside the old one, switch to it, and back if need be."
)
app.add_typer(group, name="bluegreen")

Auto = Annotated[bool, typer.Option("--auto", help="Switch everything as soon as both sides are proven equal.")]
OneWay = Annotated[
    bool, typer.Option("--one-way", help="Bring nothing back to blue: no way back once a tenant is switched.")
]
Detach = Annotated[bool, typer.Option("--detach", help="Leave it to a worker, and return at once.")]


# --- plan and start -------------------------------------------------------------------------------


@command(group, "plan", examples=("shardwright bluegreen plan", "shardwright bluegreen plan --one-way --json"))
def plan(screen: Screen, *, one_way: OneWay = False, allow: Allow = None) -> int:
    """Show what a change would do, how tenants would be spread, and every reason why it could fail."""
    return _tell_plan(screen, screen.fleet().plan_bluegreen(one_way=one_way, allow=_names(allow)))


@command(
    group,
    "start",
    changes=True,
    examples=(
        "shardwright bluegreen start",
        "shardwright bluegreen start --auto --keep 48h",
        "shardwright bluegreen start --detach",
    ),
)
def start(
    screen: Screen,
    *,
    auto: Auto = False,
    one_way: OneWay = False,
    keep: Keep = None,
    streams: Streams = None,
    allow: Allow = None,
    detach: Detach = False,
) -> int:
    """Make the green shards, fill them from blue, compare every row, and keep both in step; Ctrl-C leaves it to others."""
    fleet = screen.fleet()
    planned = fleet.plan_bluegreen(keep=keep, streams=streams, auto=auto, one_way=one_way, allow=_names(allow))
    if screen.dry_run:
        return _tell_plan(screen, planned)
    tell_findings(screen, planned.findings)
    run = fleet.start_bluegreen(planned)
    if detach:
        return tell_detached(screen, fleet, run)
    there = ("switched",) if auto else ("in_step", "switched")
    return _carry(screen, fleet, _Aim(run, lambda found: found.change.phase in there))


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in (text or "").split(","))))


# --- switch, and back -----------------------------------------------------------------------------


@command(
    group,
    "switch",
    changes=True,
    examples=(
        "shardwright bluegreen switch acme globex",
        "shardwright bluegreen switch --canary acme,globex --wave 1%,10% --all",
        "shardwright bluegreen switch --home acme",
    ),
)
def switch(
    screen: Screen,
    tenants: Annotated[list[str] | None, typer.Argument(metavar="[TENANT]...", help="The ids of the tenants.")] = None,
    *,
    canary: Annotated[str | None, typer.Option(metavar="IDS", help="Tenants that go before all others.")] = None,
    wave: Annotated[
        str | None, typer.Option(metavar="SHARES", help="Shares of all tenants, one after the other: 1%,10%.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All that are left, at the end; and where new tenants are written.")
    ] = False,
    home: Annotated[bool, typer.Option("--home", help="Back to blue, with all that they have written.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Only order it, and return at once.")] = False,
) -> int:
    """Switch tenants to green, each with a write gap of its own, and wait until it is done."""
    orders = _orders(tenants or (), canary, wave, everything=everything)
    if detach and len(orders) > 1:
        raise errors.UsageError(
            reason="only one order can be left to others", help="one of TENANT…, --canary, --wave SHARE, --all"
        )
    fleet = screen.fleet()
    if screen.dry_run:
        return _tell_switch(screen, fleet, orders, home=home)
    with stop_on_signals(LetGoRequest()) as stop:
        for order in orders:
            aim = _ordered(fleet, order, home=home)
            if not detach:
                _carried(screen, fleet, aim, stop)
            found = fleet.bluegreen_status()
            if detach or not aim.is_reached(found):
                break
    return _outcome(screen, found, stop, is_ended=detach or aim.is_reached(found))


def _ordered(fleet: Fleet, order: dict[str, Any], *, home: bool) -> _Aim:
    """The order is given; with the last tenant the whole change is to be switched."""
    run, number = fleet.switch_bluegreen(**order, home=home)
    is_last = not order and not home

    def is_reached(found: ChangeStatus) -> bool:
        return fleet.bluegreen_order_ended(number) and not (is_last and found.change.phase == "in_step")

    return _Aim(run, is_reached)


def _orders(tenants: Sequence[str], canary: str | None, wave: str | None, *, everything: bool) -> list[dict[str, Any]]:
    """What is to be switched, one after the other. Raises UsageError."""
    orders: list[dict[str, Any]] = [{"tenants": named} for named in (_names(canary), tuple(tenants)) if named]
    orders += [{"share": share} for share in _shares(wave)]
    orders += [{}] if everything else []
    if not orders:
        raise errors.UsageError(
            reason="which tenants?",
            help="shardwright bluegreen switch TENANT…; or --canary TENANT,…; or --wave 10%; or --all",
        )
    return orders


def _shares(text: str | None) -> list[float]:
    try:
        shares = [float(part.strip().removesuffix("%")) / 100 for part in _names(text)]
    except ValueError:
        shares = [0.0]
    if not all(0 < share <= 1 for share in shares):
        raise errors.UsageError(reason=f"--wave {text!r} is no share", help="for example: --wave 1%,10%")
    return shares


def _tell_switch(screen: Screen, fleet: Fleet, orders: Sequence[dict[str, Any]], *, home: bool) -> int:
    waves = [
        [{"tenant": each.tenant, "to": each.blue if home else each.green} for each in wave]
        for wave in fleet.plan_bluegreen_switches(orders, home=home)
    ]
    screen.document({"dry_run": True, "run": fleet.bluegreen_status().run.id, "waves": waves})
    for number, wave in enumerate(waves, start=1):
        few = ", ".join(f"{identifier(each['tenant'])} → {each['to']}" for each in wave[:FEW])
        more = f" and {len(wave) - FEW} more" if len(wave) > FEW else ""
        screen.line(f"order {number}: would switch {counted(len(wave), 'tenant')}: {few}{more}", important=True)
    return 0


@command(group, "undo", changes=True, examples=("shardwright bluegreen undo", "shardwright bluegreen undo --yes"))
def undo(screen: Screen) -> int:
    """Take every tenant home to blue, with everything that was written since, and leave nothing of the change."""
    fleet = screen.fleet()
    found = fleet.bluegreen_status()
    if screen.dry_run:
        return _show(screen, found)
    screen.confirm(
        f"undoing blue-green change {found.run.id}: {counted(found.at_green, 'tenant')} of {found.tenants} "
        f"switched back to {', '.join(found.run.plan['blue'])}, the rows on green deleted"
    )
    return _act(screen, lambda stop, tell: fleet.undo_bluegreen(stop=stop, tell=tell))


@command(group, "cancel", changes=True, examples=("shardwright bluegreen cancel",))
def cancel(screen: Screen) -> int:
    """Give up a change in which nobody was switched yet; nothing of it is left."""
    fleet = screen.fleet()
    if screen.dry_run:
        return _show(screen, fleet.bluegreen_status())
    return _act(screen, lambda stop, tell: fleet.cancel_bluegreen(stop=stop, tell=tell))


# --- the end --------------------------------------------------------------------------------------


@command(
    group,
    "finish",
    changes=True,
    examples=(
        "shardwright bluegreen finish",
        "shardwright bluegreen finish --archive /backup/blue",
        "shardwright bluegreen finish --archive /backup/blue --drop --yes",
    ),
)
def finish(
    screen: Screen,
    *,
    archive: Annotated[
        Path | None,
        typer.Option("--archive", metavar="FOLDER", help="Write each blue shard to a file there, as pg_dump."),
    ] = None,
    drop: Annotated[bool, typer.Option("--drop", help="Drop the databases of the blue shards afterwards.")] = False,
    leave_writable: Annotated[
        bool, typer.Option("--leave-writable", help="Let blue take writes; else its databases only read from then on.")
    ] = False,
) -> int:
    """Close the way back, take away what the change has made; archive and drop blue, if asked."""
    fleet = screen.fleet()
    found = fleet.bluegreen_status()
    if screen.dry_run:
        return _show(screen, found)
    if archive is not None:
        fleet.require_archivable_bluegreen()
    if drop:
        without = "" if archive else ", WITHOUT AN ARCHIVE"
        screen.confirm(f"dropping the databases of {', '.join(found.run.plan['blue'])}{without}")
    with stop_on_signals(LetGoRequest()) as stop:
        if found.change.phase != "done" or not (archive or drop):
            found = fleet.finish_bluegreen(leave_writable=leave_writable, stop=stop, tell=_teller(screen))
    if found.change.phase != "done":
        return _outcome(screen, found, stop)
    archived = fleet.archive_bluegreen(archive) if archive else []
    dropped = fleet.drop_bluegreen(archive) if drop else []
    after = fleet.after_bluegreen()
    screen.document({
        **found.as_dict(),
        "archived": [{"shard": each.shard, "file": str(each.file), "bytes": each.size} for each in archived],
        "dropped": dropped,
        "configuration": after.as_dict() if after else None,
    })  # fmt: skip
    tell_change(screen, found)
    if not drop:
        what = "take writes as before" if leave_writable else "only read from now on"
        screen.line(f"  {', '.join(found.run.plan['blue'])} {what}; nothing goes there any more", important=True)
    for each in archived:
        screen.line(f"✓ {each.shard}: archived in {each.file} ({size(each.size)})", style="green", important=True)
    for name in dropped:
        screen.line(f"✓ {name}: its database is dropped", important=True)
    tell_rewriting(screen, fleet.config.file, after)
    return 0


# --- looking, following, slowing down -------------------------------------------------------------


@command(group, "status", examples=("shardwright bluegreen status", "shardwright bluegreen status acme --json"))
def status(
    screen: Screen,
    tenant: Annotated[str | None, typer.Argument(metavar="[TENANT]", help="One tenant: its side, gap, proof.")] = None,
) -> int:
    """Show how far the change is, how far each side is behind, who carries it, and whether there is a way back."""
    fleet = screen.fleet()
    if tenant is None:
        change = fleet.bluegreen_status()
        _show(screen, change)
        if change.change.phase == "done":
            tell_rewriting(screen, fleet.config.file, fleet.after_bluegreen())
        return 0
    found = fleet.bluegreen_tenant(tenant)
    screen.document(found.as_dict())
    for line in tenant_lines(found):
        screen.line(line, important=True)
    return 0


@command(group, "follow", examples=("shardwright bluegreen follow",))
def follow(screen: Screen) -> int:
    """Keep both sides in step and do what is ordered, in this process, until the change is over or Ctrl-C."""
    fleet = screen.fleet()
    found = fleet.bluegreen_status()
    if not found.change.is_open:
        raise errors.NoOpenChange(what=f"shard set {fleet.config.fleet.set!r}")
    if found.carried_by:
        screen.line(f"{found.carried_by} carries it; this process waits, and goes on where that one lets go")
    with stop_on_signals(LetGoRequest()) as stop:
        found = fleet.carry_bluegreen(found.run.id, stop=stop, tell=_teller(screen))
    screen.document(found.as_dict())
    tell_change(screen, found)
    return found.exit_code


@command(
    group,
    "throttle",
    changes=True,
    examples=("shardwright bluegreen throttle --rate 5000000", "shardwright bluegreen throttle --rate 0"),
)
def throttle(
    screen: Screen, *, rate: NewRate = None, active: NewActive = None, lag: NewLag = None, probe: NewProbe = None
) -> int:
    """Slow the copy of an open change down, or let it go faster; it hears of it within a second."""
    fleet, limits = screen.fleet(), new_limits(rate, active, lag, probe)
    if not screen.dry_run:
        fleet.throttle_bluegreen(limits)
    screen.document({"throttle": limits, "dry_run": screen.dry_run})
    screen.line(told_limits(limits), important=True)
    return 0


# --- carrying -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Aim:
    """How far this process carries a run."""

    run: int
    is_reached: Callable[[ChangeStatus], bool]


def _carry(screen: Screen, fleet: Fleet, aim: _Aim) -> int:
    with stop_on_signals(LetGoRequest()) as stop:
        found = _carried(screen, fleet, aim, stop)
    return _outcome(screen, found, stop, is_ended=aim.is_reached(found))


def _carried(screen: Screen, fleet: Fleet, aim: _Aim, stop: LetGoRequest) -> ChangeStatus:
    return fleet.carry_bluegreen(aim.run, until=aim.is_reached, stop=stop, tell=_teller(screen))


def _act(screen: Screen, act: Callable[[LetGoRequest, Callable[[RunEvent], None]], ChangeStatus]) -> int:
    with stop_on_signals(LetGoRequest()) as stop:
        found = act(stop, _teller(screen))
    return _outcome(screen, found, stop, is_ended=not found.change.is_open)


def _teller(screen: Screen) -> Callable[[RunEvent], None]:
    """Steps and messages as they come, and now and then how far it is."""
    told = time.monotonic()

    def tell(event: RunEvent) -> None:
        nonlocal told
        is_due = event.kind == "progress" and time.monotonic() - told > _PROGRESS_EVERY
        if event.kind in ("message", "step") or is_due or screen.verbose:
            told = time.monotonic()
            screen.line(event_line(event))

    return tell


def _outcome(screen: Screen, found: ChangeStatus, stop: LetGoRequest, *, is_ended: bool = False) -> int:
    """How it stands; a signal's own exit code where the run was let go before it was where it was to be."""
    code = 128 + (stop.signal or 0) if stop.was_asked and not is_ended else found.exit_code
    screen.document(found.as_dict())
    tell_change(screen, found)
    if stop.was_asked and found.change.is_open and not is_ended:
        screen.line("  let go, and not given up: whoever takes the run goes on where it is", important=True)
    return code if is_ended or stop.was_asked else max(code, 1)


def _tell_plan(screen: Screen, found: ChangePlan) -> int:
    screen.document({"dry_run": True, **found.as_dict()})
    screen.line(f"{', '.join(found.blue)} → {', '.join(found.green)}, at revision {found.revision}", important=True)
    tell_findings(screen, found.findings)
    for lane in found.as_dict()["lanes"]:
        screen.line(f"  {lane['blue']} → {lane['green']}: {counted(lane['tenants'], 'tenant')}")
    back = "no way back" if found.options.one_way else "with a way back"
    screen.line(f"{counted(len(found.tenants), 'tenant')}, about {found.rows:,} rows, {size(found.bytes)}; {back}")
    if estimate := found.estimate:
        early, late = estimate.seconds
        screen.line(
            f"{span(early)} to {span(late)} until green is in step; write gap of a tenant about "
            f"{estimate.write_gap * 1000:.0f} ms",
            important=True,
        )
    return 2 if found.errors else 0


def _show(screen: Screen, found: ChangeStatus) -> int:
    screen.document({"dry_run": True, **found.as_dict()} if screen.dry_run else found.as_dict())
    tell_change(screen, found)
    return 0
