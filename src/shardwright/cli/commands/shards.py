"""`shards`, `shards check`, `shards add`; and a shard's last days: `drain`, `undrain`, `remove`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from shardwright import errors
from shardwright.cli.app import app, command
from shardwright.cli.commands.move import Allow, Keep, Rate, Streams
from shardwright.cli.commands.rebalance import Detach, To, carry_or_detach, move_options
from shardwright.cli.commands.schema import Shards
from shardwright.cli.completion import shard_names
from shardwright.cli.rebalances import tell_proposal
from shardwright.cli.screen import Screen
from shardwright.cli.words import counted, size
from shardwright.runs.results import ShardResult, revisions_text

if TYPE_CHECKING:
    from shardwright.catalog.check import ShardHealth
    from shardwright.fleet import Fleet
    from shardwright.shard import Shard

group = typer.Typer(help="The shards: list, check, add, drain, remove.")
app.add_typer(group, name="shards")


@command(group, examples=("shardwright shards", "shardwright shards --json"))
def list_shards(screen: Screen, context: typer.Context, shards: Shards = None) -> int:
    """List the shards with version, tenants, size, connections of their server, and health."""
    del context
    fleet = screen.fleet()
    revisions = _revisions(screen, fleet, shards)
    healths = fleet.check_shards(shards=shards)
    by_name = {shard.name: shard for shard in fleet.resolved.shards}
    rows = [(by_name[health.shard], health, revisions.get(health.shard)) for health in healths]
    screen.document({"shards": [_as_dict(*row) for row in rows]})
    width = max((len(health.shard) for health in healths), default=0)
    for shard, health, revision in rows:
        style = None if health.is_well else "red"
        screen.line(_row(shard, health, revision, width), style=style, important=not health.is_well)
        for finding in health.findings if health.facts else ():
            if finding.severity == "error":
                screen.line(f"    {finding.fact}", style=style, important=True)
    return 0 if all(health.is_well for health in healths) else 1


def _revisions(screen: Screen, fleet: Fleet, shards: str | None) -> dict[str, ShardResult]:
    """Where each schema stands; nothing where the history can't be read: the shards can be listed all the same."""
    try:
        return {result.shard: result for result in fleet.status(shards=shards).results}
    except errors.HistoryError as error:
        screen.note(f"{error}; {error.hint}")
        return {}


@command(group, "check", examples=("shardwright shards check", "shardwright shards check --shards shard_3"))
def check(screen: Screen, shards: Shards = None) -> int:
    """Test connection, version, privileges and settings of each shard and the control database; exit 1 if one is not fit."""
    fleet = screen.fleet()
    control = None if shards else fleet.check_control()
    healths = fleet.check_shards(shards=shards)
    screen.document(
        {
            **({} if shards else {"control": control.as_dict() if control else None}),
            "shards": [health.as_dict() for health in healths],
        }
    )
    everybody = [control, *healths] if control else healths
    for health in everybody:
        _tell_health(screen, health)
    return 0 if all(health.is_well for health in everybody) else 1


@command(
    group,
    "add",
    changes=True,
    examples=("shardwright shards add shard_3 '${SHARD_3_URL}' --label region=eu",),
)
def add(
    screen: Screen,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The shard's name.")],
    url: Annotated[str, typer.Argument(metavar="URL", help="Its URL, with ${NAME} for what the environment supplies.")],
    label: Annotated[list[str] | None, typer.Option("--label", help="key=value; may be repeated.")] = None,
) -> int:
    """Add a shard to the configuration file, and check it."""
    fleet = screen.fleet()
    labels = dict(_label(text) for text in label or [])
    if screen.dry_run:
        shard = fleet.plan_add_shard(name, url, labels=labels)
        screen.document({"dry_run": True, "shard": name, "url": shard.url.redacted, "file": str(fleet.config.file)})
        screen.line(f"would add {name} ({shard.url.redacted}) to {fleet.config.file}", important=True)
        return 0
    health = fleet.add_shard(name, url, labels=labels)
    screen.document({"added": health.as_dict(), "file": str(fleet.config.file)})
    screen.line(f"added {name} to {fleet.config.file}", important=True)
    _tell_health(screen, health)
    return 0 if health.is_well else 1


Name = Annotated[str, typer.Argument(metavar="NAME", help="The shard's name.", autocompletion=shard_names)]


@command(
    group,
    "drain",
    changes=True,
    examples=("shardwright shards drain shard_2", "shardwright shards drain shard_2 --to shard_7 --detach"),
)
def drain(
    screen: Screen,
    name: Name,
    *,
    to: To = None,
    keep: Keep = None,
    streams: Streams = None,
    rate: Rate = None,
    allow: Allow = None,
    detach: Detach = False,
) -> int:
    """Close a shard to new tenants, and move those it has to the others, as a rebalance."""
    fleet = screen.fleet()
    options = move_options(to=to, keep=keep, streams=streams, rate=rate, allow=allow, empty=[name])
    if screen.dry_run:
        return tell_proposal(screen, fleet.plan_drain(options, measure=False))
    proposal, run = fleet.drain(options)
    screen.line(f"{name} takes no new tenants", important=True)
    if run is not None:
        return carry_or_detach(screen, fleet, proposal, run, detach=detach)
    code = tell_proposal(screen, proposal)
    if not code:
        screen.line(f"  nobody is to be moved; try: shardwright shards remove {name}", important=True)
    return code


@command(group, "undrain", changes=True, examples=("shardwright shards undrain shard_2",))
def undrain(screen: Screen, name: Name) -> int:
    """Open a shard to new tenants again."""
    fleet = screen.fleet()
    if not screen.dry_run:
        fleet.undrain(name)
    screen.document({"shard": name, "takes_new": True, "dry_run": screen.dry_run})
    screen.line(f"{name} {'would take' if screen.dry_run else 'takes'} new tenants", important=True)
    return 0


@command(group, "remove", changes=True, examples=("shardwright shards remove shard_2",))
def remove(screen: Screen, name: Name) -> int:
    """Take a shard that nobody is on out of the configuration file and the fleet; its database is left as it is."""
    fleet = screen.fleet()
    if screen.dry_run:
        fleet.require_removable(name)
    else:
        fleet.remove_shard(name)
    screen.document({"removed": name, "file": str(fleet.config.file), "dry_run": screen.dry_run})
    done = "would take" if screen.dry_run else "took"
    screen.line(f"{done} {name} out of {fleet.config.file}; its database is left as it is", important=True)
    return 0


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise errors.UsageError(f"--label {text!r} is not of the form key=value", "--label region=eu")
    return key, value


def _tell_health(screen: Screen, health: ShardHealth) -> None:
    if not health.findings:
        screen.line(f"✓ {health.shard}: PostgreSQL {health.facts['version']}, fit", style="green")
    for finding in health.findings:
        mark, style = ("✗", "red") if finding.severity == "error" else ("!", "yellow")
        cure = f"; try: {finding.cure}" if finding.cure else ""
        screen.line(f"{mark} {health.shard}: {finding.fact}{cure}", style=style, important=True)


def _as_dict(shard: Shard, health: ShardHealth, revision: ShardResult | None) -> dict[str, object]:
    schema = {"status": revision.status.value, "revision": revisions_text(revision.after)} if revision else None
    return {**health.as_dict(), "host": shard.host, "labels": dict(shard.labels), "schema": schema}


def _row(shard: Shard, health: ShardHealth, revision: ShardResult | None, width: int) -> str:
    if not health.facts:
        return f"✗ {health.shard:<{width}}  {shard.host}  {health.findings[0].fact}"
    mark = "✓" if health.is_well else "✗"
    tenants = "" if health.facts["tenants"] is None else f"  {counted(health.facts['tenants'], 'tenant')}"
    labels = "".join(f"  {key}={value}" for key, value in shard.labels.items())
    schema = f"{revisions_text(revision.after) or '?'} {revision.status.replace('_', ' ')}" if revision else "?"
    used = f"  {health.facts['connections']} of {health.facts['connections_allowed']} connections"
    return (
        f"{mark} {health.shard:<{width}}  {shard.host}  {schema}{tenants}  {size(health.facts['bytes'])}{used}{labels}"
    )
