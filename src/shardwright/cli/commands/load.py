"""`tenants load`: who is how heavy."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from shardwright.cli.app import command
from shardwright.cli.commands.tenants import group
from shardwright.cli.completion import shard_names
from shardwright.cli.screen import Screen
from shardwright.cli.words import Line, counted, few, identifier, size, span

if TYPE_CHECKING:
    from shardwright.rebalance.load import Measurement
    from shardwright.rebalance.read import FleetLoad, HeavyTenant


@command(
    group,
    "load",
    changes=True,
    examples=("shardwright tenants load --top 10", "shardwright tenants load --measure --shard shard_2"),
)
def load(
    screen: Screen,
    *,
    measure: Annotated[bool, typer.Option("--measure", help="Measure first: read the shards' tables.")] = False,
    shard: Annotated[
        str | None, typer.Option("--shard", help="Only this shard and its tenants.", autocompletion=shard_names)
    ] = None,
    top: Annotated[int, typer.Option(min=0, help="How many tenants, the heaviest first.")] = 20,
) -> int:
    """Show who is how heavy, as last measured; after --measure exit 1 where a shard was not read."""
    fleet = screen.fleet()
    if measure and screen.dry_run:
        names = [each.name for each in fleet.resolved.select(shard)]
        screen.document({"dry_run": True, "shards": names})
        screen.line(f"would read the tables of {few(names)}", important=True)
        return 0
    measured = fleet.measure_load(shards=shard) if measure else None
    found = fleet.loads(shard=shard)
    failed = measured.as_dict()["failed"] if measured else []
    screen.document({**found.as_dict(top=top), "failed": failed})
    for text, style in (*_lines(found, top), *_faults(measured)):
        screen.line(text, style=style, important=True)
    return measured.exit_code if measured else 0


def _lines(found: FleetLoad, top: int) -> Iterator[Line]:
    heaviest = found.heaviest(top)
    width = max((len(identifier(each.tenant)) for each in heaviest), default=0)
    of_shard = max((len(each.load.shard) for each in heaviest), default=0)
    for each in heaviest:
        yield _tenant(each, width, of_shard, found.at), None
    if rest := len(found.world.tenants) - len(heaviest):
        yield f"and {counted(rest, 'tenant')} that {'weigh' if rest > 1 else 'weighs'} less; --top N shows more", "dim"
    for name, shard in found.shards.items():
        carried = f"{counted(shard.tenants, 'tenant')}, {_figures(shard.rows, shard.bytes, shard.writes)}"
        yield f"{name}: {found.carried[name]:.1%} of the load, {carried}, {_age(shard.measured_at, found.at)}", None
    for name in found.unmeasured:
        yield f"! {name} was never measured; try: shardwright tenants load --measure", "yellow"
    for note in found.world.notes:
        yield f"! {note}", "yellow"


def _tenant(each: HeavyTenant, width: int, of_shard: int, now: datetime) -> str:
    names = f"{identifier(each.tenant):<{width}}  {each.load.shard:<{of_shard}}"
    figures = _figures(each.load.rows, each.load.bytes, each.writes)
    return f"{names}  {each.share:6.2%}  {figures}, {_age(each.load.measured_at, now)}"


def _figures(rows: int, taken: int, writes: float | None) -> str:
    written = "writes not known yet" if writes is None else f"{writes:.1f} rows/s written"
    return f"{counted(rows, 'row')}, {size(taken)}, {written}"


def _age(at: datetime | None, now: datetime) -> str:
    return "an estimate" if at is None else f"measured {span(max(0.0, (now - at).total_seconds()))} ago"


def _faults(measured: Measurement | None) -> Iterator[Line]:
    if measured is None:
        return
    for name, fault in measured.faults.items():
        hint = f"; try: {fault.hint}" if fault.hint else ""
        yield f"✗ {name}: not measured, what was before stands: {fault.reason}{hint}", "red"
    for shard in measured.shards:
        if shard.sampled:
            yield f"- {shard.shard}: estimated from a part of its blocks: {few(list(shard.sampled))}", "dim"
        if shard.strangers:
            told = f"{counted(shard.strangers, 'tenant')} with rows there that the directory does not have there"
            yield f"- {shard.shard}: {told}; try: shardwright tenants verify", "dim"
