"""`shards`, `shards check`, `shards add`."""

from __future__ import annotations

from typing import Annotated

import typer

from shardwright import errors
from shardwright.catalog.check import ShardHealth
from shardwright.cli.app import app, command
from shardwright.cli.commands.schema import Shards
from shardwright.cli.screen import Screen
from shardwright.cli.words import size
from shardwright.runs.results import ShardResult, revisions_text

group = typer.Typer(help="The shards: list, check, add.")
app.add_typer(group, name="shards")


@command(group, examples=("shardwright shards", "shardwright shards --json"))
def list_shards(screen: Screen, context: typer.Context, shards: Shards = None) -> int:
    """List the shards with version, tenants, size and health."""
    del context
    fleet = screen.fleet()
    revisions = {result.shard: result for result in fleet.status(shards=shards).results}
    healths = fleet.check_shards(shards=shards)
    hosts = {shard.name: shard for shard in fleet.resolved.shards}
    rows = []
    for health in healths:
        shard, revision = hosts[health.shard], revisions[health.shard]
        rows.append((shard.host, dict(shard.labels), health, revision))
    screen.document({"shards": [_as_dict(*row) for row in rows]})
    width = max((len(health.shard) for health in healths), default=0)
    for host, labels, health, revision in rows:
        screen.line(_row(host, labels, health, revision, width), style=None if health.is_well else "red")
    return 0 if all(health.is_well for health in healths) else 1


@command(group, "check", examples=("shardwright shards check --shards shard_3",))
def check(screen: Screen, shards: Shards = None) -> int:
    """Test each shard's connection, version, privileges and settings; exit 1 if one is not fit."""
    healths = screen.fleet().check_shards(shards=shards)
    screen.document({"shards": [health.as_dict() for health in healths]})
    for health in healths:
        _tell_health(screen, health)
    return 0 if all(health.is_well for health in healths) else 1


@command(
    group,
    "add",
    changes=True,
    examples=("shardwright shards add shard_3 '${SHARD_3_URL}' --label region=eu",),
)
def add(
    screen: Screen,
    *,
    name: Annotated[str, typer.Argument(help="The shard's name.")],
    url: Annotated[str, typer.Argument(help="Its URL, with ${NAME} for what the environment supplies.")],
    label: Annotated[list[str] | None, typer.Option("--label", help="key=value; may be repeated.")] = None,
) -> int:
    """Add a shard to the configuration file, and check it."""
    fleet = screen.fleet()
    labels = dict(_label(text) for text in label or [])
    if screen.dry_run:
        screen.document({"dry_run": True, "shard": name, "file": str(fleet.config.file)})
        screen.line(f"would add {name} to {fleet.config.file}")
        return 0
    fleet.add_shard(name, url, labels=labels)
    health = fleet.check_shards(shards=name)[0]
    screen.document({"added": health.as_dict(), "file": str(fleet.config.file)})
    screen.line(f"added {name} to {fleet.config.file}")
    _tell_health(screen, health)
    return 0 if health.is_well else 1


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise errors.UsageError(reason=f"--label {text!r} is not of the form key=value")
    return key, value


def _tell_health(screen: Screen, health: ShardHealth) -> None:
    if not health.findings:
        screen.line(f"✓ {health.shard}: PostgreSQL {health.facts['version']}, fit", style="green")
    for finding in health.findings:
        mark, style = ("✗", "red") if finding.severity == "error" else ("!", "yellow")
        cure = f"; try: {finding.cure}" if finding.cure else ""
        screen.line(f"{mark} {health.shard}: {finding.fact}{cure}", style=style)


def _as_dict(host: str, labels: dict[str, str], health: ShardHealth, revision: ShardResult) -> dict[str, object]:
    schema = {"status": revision.status.value, "revision": revisions_text(revision.after)}
    return {**health.as_dict(), "host": host, "labels": labels, "schema": schema}


def _row(host: str, labels: dict[str, str], health: ShardHealth, revision: ShardResult, width: int) -> str:
    if not health.facts:
        return f"✗ {health.shard:<{width}}  {host}  {health.findings[0].fact}"
    mark = "✓" if health.is_well else "✗"
    tenants = "" if health.facts["tenants"] is None else f"  {health.facts['tenants']} tenants"
    marks = "  " + " ".join(f"{key}={value}" for key, value in labels.items()) if labels else ""
    schema = f"{revisions_text(revision.after) or '?'} {revision.status.replace('_', ' ')}"
    return f"{mark} {health.shard:<{width}}  {host}  {schema}{tenants}  {size(health.facts['bytes'])}{marks}"
