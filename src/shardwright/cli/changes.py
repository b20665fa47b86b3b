"""The words in which a blue-green change is told: how far it is, in whose hands, and what may be done next."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from shardwright.cli.screen import Screen
from shardwright.cli.words import counted, identifier, run_progress, span, step_lines

if TYPE_CHECKING:
    from shardwright.bluegreen.afterwards import Rewriting
    from shardwright.bluegreen.status import ChangeStatus
    from shardwright.bluegreen.store import ChangedTenant, Lane, Order, Proofs

REST = ("parked", "paused")
FEW = 10  # of tenants by name; --json has all


def tell_change(screen: Screen, found: ChangeStatus) -> None:
    """Everything that an operator wants to know of it, some lines also with --quiet."""
    change, run = found.change, found.run
    sides = f"{', '.join(run.plan['blue'])} → {', '.join(run.plan['green'])}"
    screen.line(f"run {run.id}  {sides}  {_PHASES[change.phase]}", important=True)
    if run.state == "parked":
        screen.line(f"✗ {run.note}", style="red", important=True)
    for line, style in step_lines(found.steps):
        screen.line(line, style=style)
    if found.step in ("create", "capture", "copy", "compare") and run.progress and found.carried_by:
        screen.line(f"  {run_progress(run.progress, found.eta)}")
    screen.line(f"  {found.at_green} of {counted(found.tenants, 'tenant')} at green", important=True)
    if change.phase == "in_step" and found.at_green == found.tenants:
        screen.line("  shared rows and new tenants are still written at blue: bluegreen switch --all is the last word")
    for lane in found.lanes if change.is_open else ():
        screen.line(f"  {_lane(lane)}")
    for order in found.orders:
        screen.line(f"  to be done: {_order(order)}", important=True)
    if (last := found.last_order) and last.note:
        screen.line(f"  done: {_order(last)}: {last.note}")
    _tell_proofs(screen, found.proofs)
    screen.line(f"  rollback still possible: {found.way_back}", important=True)
    for line, style in _what_now(found):
        screen.line(f"  {line}", style=style, important=True)


def _tell_proofs(screen: Screen, proofs: Proofs) -> None:
    if proofs.gaps:
        screen.line(f"  write gaps: {proofs.middle:.1f} ms in the middle, {proofs.longest:.1f} ms at most")
    equal, different = proofs.equal, proofs.different
    if equal or different:
        told = f"{counted(equal, 'certificate')} equal" + (f", {different} DIFFERENT" if different else "")
        screen.line(f"  {told}", style="red" if different else None, important=bool(different))


def tell_rewriting(screen: Screen, file: Path, rewriting: Rewriting | None) -> None:
    """What is to be written into the configuration once a change is done; nothing where that has happened."""
    if rewriting is None:
        return
    screen.line(
        f"write this into {file}, in place of {', '.join(f'[{name}]' for name in rewriting.goes)}:", important=True
    )
    for line in rewriting.comes.splitlines():
        screen.line(f"  {line}" if line else "", important=True)


_PHASES = {
    "building": "being built",
    "in_step": "in step",
    "switched": "switched",
    "returning": "going home",
    "cleaning": "being finished",
    "done": "done",
    "undone": "undone",
}


def _lane(lane: Lane) -> str:
    """`shard_0 → green_1: 3 tenants, 1 at green; 0 keys, 0.0 s behind; home: 2 keys, 0.1 s behind (told 1 s ago)`."""
    told = f"{lane.blue} → {lane.green}: {counted(lane.tenants, 'tenant')}, {lane.at_green} at green"
    if lane.keys is None or lane.at is None:
        return told
    ways = [f"{counted(lane.keys, 'key')}, {lane.lag_seconds or 0:.1f} s behind"]
    if lane.back_keys is not None:
        ways.append(f"home: {counted(lane.back_keys, 'key')}, {lane.back_lag_seconds or 0:.1f} s behind")
    ago = max(0.0, (datetime.now(UTC) - lane.at).total_seconds())
    return "; ".join([told, *ways]) + f" (told {span(ago)} ago)"


def _order(order: Order) -> str:
    """`order 3 of alice: switch acme, globex`."""
    if order.kind == "finish":
        return f"order {order.id} of {order.by}: finish"
    what = "all tenants"
    if order.tenants is not None:
        more = f" and {len(order.tenants) - FEW} more" if len(order.tenants) > FEW else ""
        what = ", ".join(map(identifier, order.tenants[:FEW])) + more
    elif order.share is not None:
        what = f"{order.share:.4g} of all tenants" if order.share < 0.01 else f"{order.share:.0%} of all tenants"
    return f"order {order.id} of {order.by}: {'switch' if order.kind == 'switch' else 'take home'} {what}"


def tenant_lines(found: ChangedTenant) -> Iterator[str]:
    """Where one tenant is written, and how its last switch went."""
    yield (
        f"{identifier(found.tenant)}: {found.blue} → {found.green}, written on {found.shard} (epoch {found.epoch})"
        + (f" since {found.switched_at:%Y-%m-%d %H:%M:%S %Z}" if found.switched_at else "")
    )
    if gap := found.write_gap:
        told = "was not measured" if gap["gap_ms"] is None else f"{gap['gap_ms']} ms"
        yield f"  write gap {told}"
    if certificate := found.certificate:
        rows = sum(proof["rows"] for proof in certificate["source"])
        yield f"  certificate: {counted(rows, 'row')} {'equal on both sides' if certificate['equal'] else 'DIFFERENT'}"


def _what_now(found: ChangeStatus) -> Iterator[tuple[str, str | None]]:
    """In whose hands it is, and what may be done next."""
    if not found.change.is_open:
        return
    if found.run.state in REST:
        yield f"try: shardwright runs resume {found.run.id}, or: shardwright bluegreen undo", None
        return
    if found.carried_by:
        yield f"carried by {found.carried_by}" + (", is to go home" if found.run.wish == "cancel" else ""), None
    elif found.workers:
        yield f"in nobody's hands: one of {counted(found.workers, 'worker')} takes it in a moment", None
    else:
        fact = "NOBODY keeps it in step: writes are noted, and not brought"
        if found.change.phase not in ("in_step", "switched"):
            fact = "NOBODY carries it: it waits where it is"
        yield f"{fact}; try: shardwright worker, or: shardwright bluegreen follow", "yellow"
    if found.change.phase == "in_step":
        yield "try: shardwright bluegreen switch --canary TENANT, or: shardwright bluegreen switch --all", None
    elif found.change.phase == "switched":
        yield "try: shardwright bluegreen finish, or: shardwright bluegreen undo", None
