"""Writes the generated parts of docs/reference: the command line, the configuration's keys, the errors,
the checks before a move and before a blue-green change, the metrics, the alerts.

    python scripts/reference.py            # after any change to commands, keys, errors or checks

A page holds blocks between `<!-- begin NAME -->` and `<!-- end NAME -->`; only those are written. What stands around
them is written by hand. tests/docs/test_reference.py fails where a committed page is not what this script makes.
"""

from __future__ import annotations

import inspect
import json
import re
import tomllib
import types
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from shardwright import config, errors
from shardwright.bluegreen.preflight.check import CHECKS as CHECKS_OF_A_CHANGE
from shardwright.cli import commands as _commands  # noqa: F401 registers them
from shardwright.cli.app import app
from shardwright.dsn import DatabaseUrl
from shardwright.monitor.alerts.rules import RULES
from shardwright.monitor.metrics import METRICS
from shardwright.move.preflight.check import CHECKS
from shardwright.move.preflight.declare import Check

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
CAUSES: dict[str, str] = tomllib.loads(Path(__file__).with_name("causes.toml").read_text(encoding="utf-8"))
_BLOCK = re.compile(r"(<!-- begin (?P<name>[\w.]+) -->\n).*?(<!-- end (?P=name) -->)", re.DOTALL)

# What each key is for. A key without a meaning here, or a meaning without its key, stops the script.
MEANINGS = {
    "fleet.control": "The control database, which keeps the ledger and the locks. `embedded`: one of our own on this "
    "machine, started and stopped by `shardwright dev`.",
    "fleet.migrations": "The Alembic script directory (the one with `env.py`), from the folder of the file.",
    "fleet.set": "The name of the shard set. Two operations on one set exclude each other; the ledger is kept by set.",
    "fleet.environment": "`development` and `test` allow `reset`, `dev up` and `dev reset`; the others refuse them.",
    "fleet.seed": "The function that `seed` runs on every shard, as `package.module:function`. "
    "Without it: `seeds/*.sql` beside the file.",
    "fleet.version_table": "Where Alembic keeps a shard's revision: `table` or `schema.table`. "
    "Set it if your env.py passes `version_table`.",
    "shards.url": "The shard's URL. A driver after the plus sign (`postgresql+asyncpg://`) is honoured.",
    "shards.labels": 'Words of yours to choose shards by: `--shards region=eu`. `canary = "yes"` puts a shard into '
    "the first wave of `migrate --canary`.",
    "tenants.root": "The root table, bare or with its schema; its primary key is the tenant's id.",
    "tenants.key": "The column that says which tenant a row belongs to.",
    "tenants.keys": 'Tables where another column says so, as `table = "column"` under `[tenants.keys]`.',
    "tenants.placement": "How `tenants add` chooses a shard: the one with the fewest tenants, or by a hash of the id.",
    "tenants.shared": "Tables with the same rows on every shard.",
    "tenants.ignored": "Tables whose rows belong to nobody, and stay where they are.",
    "limits.connections_per_host": "How many connections a run may have on one host at once. A shard in work takes up "
    "to three places.",
    "limits.lock_timeout": "The longest wait for a lock at the first try. It doubles at each try, up to 2s.",
    "limits.lock_tries": "How often a shard is tried when somebody holds a lock it needs.",
    "limits.statement_timeout": "The longest time for one statement; the server ends it then.",
    "limits.write_gap": "For moves of tenants. Not used yet.",
    "limits.keep": "How long what a moved tenant leaves behind is kept. An application uses a placement for half "
    "of that without a word from the control database.",
    "runs.at_once": "How many durable runs may be under way at once, on all workers together.",
    "runs.per_host": "How many of them may touch one host; a run that touches two hosts counts on both.",
    "runs.time_to_live": "After so long a silence a worker is taken for dead, and its runs are taken over.",
    "moves.streams": "How many parts of a tenant are copied at once.",
    "moves.bytes_per_second": "How much a move copies in a second at most.",
    "moves.active": "A move rests while more sessions than that are at work on one of its shards.",
    "moves.lag": "A move rests while a replica of one of its shards is further behind. Needs pg_monitor.",
    "moves.probe": "A SELECT of one boolean, asked on both shards every second: a move rests while it is not true.",
    "monitor.every": "How often `serve` takes a picture of the fleet: one connection a shard, opened and closed. A "
    "large fleet is looked at a fifth of the time at most.",
    "monitor.check_every": "How often `serve` makes a full `check`.",
    "monitor.uneven": "From which ratio of the most loaded shard to the least on their load is called uneven.",
    "monitor.exhaustion": "From which share on a sequence or an id counts as about to run out.",
    "monitor.disk": 'How much the shards of a host have room for together, as `"host:port" = "500GB"` under '
    "`[monitor.disk]`: PostgreSQL can't tell. Their databases are counted, and nothing else that is on the disk.",
    "monitor.traces": "Where traces of runs go (OTLP over HTTP). Without it: `OTEL_EXPORTER_OTLP_ENDPOINT`, if set.",
    "alerts.webhook": "Where alerts are posted.",
    "alerts.format": "What the webhook gets: our own document, or what Slack (and Mattermost) takes.",
    "alerts.command": "A program and its arguments, started with the document on its standard input.",
    "alerts.off": "Rules that are not looked at, by name.",
    "alerts.hold": "How long a trouble must last before it is told, and be gone before it counts as over.",
    "alerts.stuck": "After so long without a sign of progress a run is stuck.",
    "alerts.connections": "The share of a server's connections from which on they are nearly used up.",
    "alerts.lag": "From which lag on a standby is too far behind.",
    "rebalance.measures": "What load is: a weight for each of `tenants`, `rows`, `bytes`, `writes`, `custom`. A "
    "tenant's load is its share of the fleet's total in each, weighted.",
    "rebalance.tolerance": "Nothing is moved for balance while no shard has more above its due than this share of it.",
    "rebalance.most_bytes": "The most that one plan may copy.",
    "rebalance.high_water": "The share of a host's disk (`[monitor.disk]`) that no moment of a plan may pass; what has "
    "moved is still on its source.",
    "rebalance.per_host": "How many moves at once may touch one host; a move between two hosts counts on both.",
    "rebalance.windows": 'When moves may begin, in UTC, as `"daily 01:00-05:00"` or `"Sat 22:00-Sun 06:00"`; '
    "always where it is empty.",
    "rebalance.pinned": "Tenants that stay where they are.",
    "rebalance.together": "Groups of tenants that live on one shard.",
    "rebalance.apart": "Groups of tenants of which no two live on one shard.",
    "rebalance.load_query": "A SELECT of tenant and number, run on every shard: the measure `custom`.",
    "rebalance.labels": 'A tenant only lives on shards with its own value, as `label = "column"`: the label of the '
    "shards, and the column of the root table that has the tenant's.",
    "rebalance.shares": "How much a shard is to carry beside the others; 1 where nothing is said.",
    "bluegreen.revision": "The revision of the green shards; the blue ones stay where they are.",
    "bluegreen.placement": "Which green shard a tenant gets: `pairs`, the one that stands where its blue one does, of "
    "as many; `least_loaded`, the largest tenants first onto the emptiest; `modulo`, by a hash of the id.",
    "bluegreen.pins": 'Tenants whose green shard is chosen by hand, as `tenant = "shard"`.',
    "bluegreen.shards.url": "The green shard's URL. Its database need not be there yet.",
    "bluegreen.shards.labels": "As in `[shards.NAME]`.",
    "bluegreen.tenants.root": "The root table there; its primary key is the same tenant's id.",
    "bluegreen.tenants.key": "The column that says there which tenant a row belongs to.",
    "bluegreen.tenants.keys": "Tables where another column says so.",
    "bluegreen.tenants.shared": "Tables with the same rows on every green shard.",
    "bluegreen.tenants.ignored": "Tables whose rows belong to nobody, and are not brought along.",
    "bluegreen.tables.select": "What the green table holds: a SELECT from blue tables. Its columns have the green "
    "ones' names.",
    "bluegreen.tables.from": "The blue tables in it, each with its columns that make the green table's key, in the "
    "key's order.",
    "bluegreen.back.select": "What the blue table holds on the way back: a SELECT from green tables.",
    "bluegreen.back.from": "The green tables in it, each with its columns that make the blue table's key.",
    "lint.enabled": "Whether the SQL of a rollout is looked at before it begins.",
    "lint.allow": "Rules that are let pass everywhere, by name; `shardwright lint` names them.",
}


# --- errors -----------------------------------------------------------------------------------


def error_tree() -> str:
    """The classes as a tree, each with its exit code."""
    return "```text\n" + "\n".join(_branches(errors.ShardwrightError)) + "\n```\n"


def _branches(kind: type[errors.ShardwrightError], lead: str = "", fork: str = "") -> Iterator[str]:
    yield f"{lead}{fork}{kind.__name__}  exit {kind.exit_code}"
    below = lead + {"": "", "├── ": "│   ", "└── ": "    "}[fork]
    children = _children(kind)
    for child in children:
        yield from _branches(child, below, "└── " if child is children[-1] else "├── ")


def _children(kind: type[errors.ShardwrightError]) -> list[type[errors.ShardwrightError]]:
    return [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]


def error_entries() -> str:
    """Each class with its meaning, what it says, and the cure; groups as headings."""
    return "\n".join(entry for group in _children(errors.ShardwrightError) for entry in _entries(group, "##"))


def check_causes() -> None:
    """Raises KeyError where causes.toml and the errors that are raised are not the same."""
    raised = {kind.__name__ for kind in _all_kinds(errors.ShardwrightError) if _is_raised(kind)}
    if raised != CAUSES.keys():
        raise KeyError(f"scripts/causes.toml and errors.py differ in: {sorted(raised ^ CAUSES.keys())}")


def _all_kinds(kind: type[errors.ShardwrightError]) -> Iterator[type[errors.ShardwrightError]]:
    yield kind
    for child in _children(kind):
        yield from _all_kinds(child)


def _is_raised(kind: type[errors.ShardwrightError]) -> bool:
    return bool({"fact", "__str__"} & vars(kind).keys()) and kind is not errors.ShardwrightError


def _entries(kind: type[errors.ShardwrightError], heading: str) -> Iterator[str]:
    own_code = heading == "##" or "exit_code" in vars(kind)
    yield f"{heading} {kind.__name__}\n\n{inspect.getdoc(kind)}{f' Exit code {kind.exit_code}.' if own_code else ''}\n"
    if _PLACEHOLDER.sub("", kind.fact) and "fact" in vars(kind):
        yield _shown(kind)
    if kind.__name__ in CAUSES:
        yield f"{CAUSES[kind.__name__]}\n"
    for child in _children(kind):
        yield from _entries(child, "###")


_PLACEHOLDER = re.compile(r"^\{\w+\}$")


def _shown(kind: type[errors.ShardwrightError]) -> str:
    lines = [f"✗ {kind.fact}"] + ([f"  try: {kind.cure}"] if kind.cure else [])
    return "```text\n" + "\n".join(line.rstrip() for line in lines) + "\n```\n"


# --- configuration ----------------------------------------------------------------------------


def key_table(section: str) -> str:
    """The keys of one section: kind of value, default, meaning."""
    rows = [
        f"| `{key}` | {_kind(field)} | {_default(field)} | {MEANINGS[f'{section}.{key}']} |"
        for key, field in _own_keys(section).items()
    ]
    return "\n".join(["| key | value | default | meaning |", "| --- | --- | --- | --- |", *rows, ""])


def _own_keys(section: str) -> dict[str, FieldInfo]:
    """The section's keys as the file has them, without those that are sections again."""
    fields = config._SECTIONS[section].model_fields
    named = {field.alias or name: field for name, field in fields.items()}
    return {key: field for key, field in named.items() if f"{section}.{key}" not in config._SECTIONS}


def check_meanings() -> None:
    """Raises KeyError where MEANINGS and the configuration's keys are not the same."""
    keys = {f"{section}.{key}" for section in config._SECTIONS for key in _own_keys(section)}
    if keys != MEANINGS.keys():
        raise KeyError(f"MEANINGS and the configuration differ in: {sorted(keys ^ MEANINGS.keys())}")


def _kind(field: FieldInfo) -> str:
    kind = field.annotation
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
        if kind is DatabaseUrl:
            return "URL or `embedded`"
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    if kind is int:
        bounds = {name: getattr(rule, name) for rule in field.metadata for name in ("ge", "le") if hasattr(rule, name)}
        return (
            "number"
            + (f" from {bounds['ge']}" if "ge" in bounds else "")
            + (f" to {bounds['le']}" if "le" in bounds else "")
        )
    if kind is float:
        return _number(field)
    return _container(kind) or _KINDS[kind]


def _container(kind: Any) -> str:
    """A table's or a list's words; empty for what is neither."""
    if get_origin(kind) is dict:
        return _TABLES.get(get_args(kind)[1], "table of lists of texts")
    if get_origin(kind) is tuple:
        return "list of lists of texts" if get_args(kind)[0] == config.Group else "list of texts"
    return ""


def _number(field: FieldInfo) -> str:
    above = next((rule.gt for rule in field.metadata if hasattr(rule, "gt")), None)
    return "number from 0 to 1" if above == 0 else f"number above {above}"


_KINDS: dict[Any, str] = {
    str: "text",
    bool: "`true`, `false`",
    timedelta: "duration",
    DatabaseUrl: "URL",
    SecretStr: "URL",
}


_TABLES: dict[Any, str] = {
    str: "table of texts",
    config.Name: "table of texts",
    config.Size: "table of sizes",
    config.Weight: "table of numbers",
}


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, timedelta):
        value = config.format_duration(value)
    return f"`{json.dumps(value)}`"


# --- command line -----------------------------------------------------------------------------


def command_entries() -> str:
    """Each command with its help, usage, arguments, own options and examples."""
    root = typer.main.get_command(app)
    everywhere = _options_everywhere(root)
    return "\n".join(
        _command(name, command, everywhere) for name, command in commands(root) if command.callback is not None
    )


def common_options() -> str:
    """The options that every command takes, and those of every command that changes something."""
    root = typer.main.get_command(app)
    everywhere = _options_everywhere(root)
    some = next(command for name, command in commands(root) if name == "shardwright migrate")
    shared = [option for option in _options(some) if option.opts[0] in everywhere]
    changing = [option for option in _options(some) if option.opts[0] in _CHANGING]
    words = "Every command takes:\n", "Every command that changes something takes, besides:\n"
    return "\n".join([words[0], _option_table(shared), words[1], _option_table(changing)])


_CHANGING = ("--dry-run", "--yes")


def commands(command: Any, name: str = "shardwright") -> Iterator[tuple[str, Any]]:
    """Every command below `command` with its full name, groups before their own."""
    for below, child in getattr(command, "commands", {}).items():
        full = f"{name} {below}"
        yield full, child
        yield from commands(child, full)


def _options_everywhere(root: Any) -> set[str]:
    leaves = [command for _, command in commands(root) if command.callback is not None]
    return set.intersection(*({option.opts[0] for option in _options(command)} for command in leaves))


def _options(command: Any) -> list[Any]:
    return [each for each in command.params if each.opts[0].startswith("-") and not each.hidden]


def _arguments(command: Any) -> list[Any]:
    return [each for each in command.params if not each.opts[0].startswith("-")]


def _command(name: str, command: Any, everywhere: set[str]) -> str:
    options = _options(command)
    own = [option for option in options if option.opts[0] not in {*everywhere, *_CHANGING}]
    changes = all(any(option.opts[0] == word for option in options) for word in _CHANGING)
    arguments = _arguments(command)
    usage = " ".join([name, *(_argument_usage(each) for each in arguments), "[OPTIONS]"])
    parts = [f"## {name}\n", f"{_summary(command)}{' Takes `--dry-run` and `--yes`.' if changes else ''}\n"]
    parts.append(f"```text\n{usage}\n```\n")
    if arguments:
        parts.append(_argument_table(arguments))
    if own:
        parts.append(_option_table(own))
    if examples := _examples(command):
        parts.append("\n".join(["```console", *(f"$ {example}" for example in examples), "```", ""]))
    return "\n".join(parts)


def _summary(command: Any) -> str:
    return " ".join((inspect.getdoc(command.callback) or command.help or "").split())


def _examples(command: Any) -> list[str]:
    lines = (line.strip() for line in (command.epilog or "").splitlines())
    return [line for line in lines if line.startswith("shardwright")]


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _argument_usage(argument: Any) -> str:
    return _metavar(argument) if argument.required else f"[{_metavar(argument)}]"


def _argument_table(arguments: list[Any]) -> str:
    rows = [f"| `{_metavar(each)}` | {_shown_default(each)} | {_escaped(each.help)} |" for each in arguments]
    return "\n".join(["| argument | default | meaning |", "| --- | --- | --- |", *rows, ""])


def _option_table(options: list[Any]) -> str:
    rows = [
        f"| {', '.join(f'`{word}`' for word in option.opts)} | {_value(option)} | {_shown_default(option)} "
        f"| {_escaped(option.help)} |"
        for option in options
    ]
    return "\n".join(["| option | value | default | meaning |", "| --- | --- | --- | --- |", *rows, ""])


def _value(option: Any) -> str:
    if option.is_flag:
        return ""
    kind = option.type_descriptor.annotation
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    if option.metavar:
        return f"`{option.metavar}`"
    kind = get_args(kind)[0] if get_origin(kind) is list else kind
    return {int: f"number from {option.min}" if option.min is not None else "number", Path: "file"}.get(kind, "text")


def _shown_default(parameter: Any) -> str:
    if parameter.default in (None, False):
        return "required" if parameter.required else ""
    return f"`{parameter.default}`"


def _escaped(text: str | None) -> str:
    return (text or "").replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


# --- the preflights ---------------------------------------------------------------------------


def preflight_checks() -> str:
    """Each check in the order in which they are made: how bad its findings can be, why it is made, what mends them."""
    return "\n".join(map(_described, CHECKS))


def checks_of_a_change() -> str:
    """Those that a move has not."""
    return "\n".join(_described(each) for each in CHECKS_OF_A_CHANGE if each not in CHECKS)


def _described(each: Check[Any]) -> str:
    how_bad = " or ".join(each.severities).capitalize()
    return f"### {each.name}\n\n{how_bad}. {each.why}\n\n**Cure:** {each.cure}.\n"


# --- monitoring -------------------------------------------------------------------------------


def metric_table() -> str:
    """Each metric with its labels and meaning."""
    rows = [
        f"| `{each.exposed}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} | {each.help} |"
        for each in METRICS
    ]
    return "\n".join(["| metric | type | labels | meaning |", "| --- | --- | --- | --- |", *rows, ""])


def alert_table() -> str:
    """Each rule with how bad it is, and when it fires."""
    rows = [f"| `{rule.name}` | {rule.severity} | {' '.join(rule.when.split())} |" for rule in RULES]
    return "\n".join(["| rule | severity | fires when |", "| --- | --- | --- |", *rows, ""])


# --- pages ------------------------------------------------------------------------------------

BLOCKS: dict[str, Callable[[], str]] = {
    "errors.tree": error_tree,
    "errors.entries": error_entries,
    "config.fleet": lambda: key_table("fleet"),
    "config.shards": lambda: key_table("shards"),
    "config.tenants": lambda: key_table("tenants"),
    "config.limits": lambda: key_table("limits"),
    "config.runs": lambda: key_table("runs"),
    "config.moves": lambda: key_table("moves"),
    "config.lint": lambda: key_table("lint"),
    "config.monitor": lambda: key_table("monitor"),
    "config.alerts": lambda: key_table("alerts"),
    "config.rebalance": lambda: key_table("rebalance"),
    "config.bluegreen": lambda: key_table("bluegreen"),
    "config.bluegreen.shards": lambda: key_table("bluegreen.shards"),
    "config.bluegreen.tenants": lambda: key_table("bluegreen.tenants"),
    "config.bluegreen.tables": lambda: key_table("bluegreen.tables"),
    "config.bluegreen.back": lambda: key_table("bluegreen.back"),
    "preflight.checks": preflight_checks,
    "preflight.change": checks_of_a_change,
    "metrics": metric_table,
    "alerts": alert_table,
    "cli.common": common_options,
    "cli.commands": command_entries,
}


def generate(page: Path) -> str:
    """The text of `page` with every block as it must be now."""
    check_meanings()
    check_causes()
    text = page.read_text(encoding="utf-8")
    return _BLOCK.sub(lambda found: f"{found[1]}\n{BLOCKS[found['name']]()}\n{found[3]}", text)


def pages() -> list[Path]:
    """The pages that have blocks."""
    return sorted(REFERENCE.glob("*.md"))


if __name__ == "__main__":
    for page in pages():
        page.write_text(generate(page), encoding="utf-8")
