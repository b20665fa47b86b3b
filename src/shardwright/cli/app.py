"""The Typer application, and the options that every command takes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from shardwright import errors
from shardwright.cli.screen import Screen

app = typer.Typer(
    name="shardwright",
    help="Looks after the data of sharded multi-tenant PostgreSQL applications.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="The configuration file; else the nearest shardwright.toml upwards.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, all else on stderr.")]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only what is wrong, and the last line.")]
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also print each step, and what user code prints.")]
_LogFormat = Annotated[
    Literal["text", "json"],
    typer.Option(
        "--log-format", help="What stderr holds: lines for people, or a JSON object for each thing that happens."
    ),
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done; change nothing.")]
_Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Do not ask; needed where data would be lost and there is no terminal.")
]


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


_COMMON = (
    _keyword("config", _ConfigFile, None),
    _keyword("as_json", _Json, False),
    _keyword("quiet", _Quiet, False),
    _keyword("verbose", _Verbose, False),
    _keyword("log_format", _LogFormat, "text"),
)
COMMON_OPTIONS = frozenset(
    {"--config", "--json", "--quiet", "-q", "--verbose", "-v", "--log-format", "--dry-run", "--yes", "-y"}
)
_CHANGING = (_keyword("dry_run", _DryRun, default=False), _keyword("yes", _Yes, default=False))

Command = Callable[..., int | None]


def command(
    group: typer.Typer, name: str | None = None, *, changes: bool = False, examples: Sequence[str] = ()
) -> Callable[[Command], Command]:
    """Registers a function `(screen, …) -> exit code` as a command whose screen knows the common options.

    With `changes` it takes --dry-run and --yes too. Without a `name` it is what the group itself does.
    """

    def register(function: Command) -> Command:
        wrapped = _with_common_options(function, changes=changes)
        epilog = "\n\n".join(["[bold]Examples[/bold]", *(f"  {example}" for example in examples)]) if examples else None
        if name is None:
            group.callback(invoke_without_command=True, epilog=epilog)(wrapped)
        else:
            group.command(name, epilog=epilog)(wrapped)
        return function

    return register


def _with_common_options(function: Command, *, changes: bool) -> Callable[..., int | None]:
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    shared = (*_COMMON, *_CHANGING) if changes else _COMMON
    parameters = [*own, *shared]

    @functools.wraps(function)
    def wrapper(**values: Any) -> int | None:
        context = values.get("context")
        screen = Screen(**{parameter.name: values.pop(parameter.name) for parameter in shared})
        if context is not None and context.invoked_subcommand is not None:
            _refuse_options_before(context)
            return None
        try:
            return function(screen, **values)
        except KeyboardInterrupt as error:  # Typer would end without a word
            raise typer.Abort from error

    wrapper.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # Typer reads it
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    )
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper


def _refuse_options_before(context: typer.Context) -> None:
    """`shards --config FILE check` would check another fleet: such an option is refused, not passed over."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            option = parameter.opts[0]
            command = f"{context.command_path} {context.invoked_subcommand}"
            raise errors.UsageError(f"{option} stands before {context.invoked_subcommand}", f"{command} {option} …")


def duration(text: str) -> timedelta:
    """A duration on the command line."""
    from shardwright.config import parse_duration  # noqa: PLC0415 --help needs none of it

    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


Timeout = Annotated[
    timedelta | None,
    typer.Option(
        parser=duration,
        metavar="DURATION",
        help="Longest time for one shard (30min); ends the statement on the server.",
    ),
]
LockTimeout = Annotated[
    timedelta | None,
    typer.Option(
        parser=duration,
        metavar="DURATION",
        help="Longest wait for a lock at the first try (100ms); grows over the tries up to 2s.",
    ),
]
AtomicTimeout = Annotated[
    timedelta | None,
    typer.Option(
        parser=duration,
        metavar="DURATION",
        help="With --atomic: longest time from the first lock until all shards are prepared (10s); later means none.",
    ),
]
