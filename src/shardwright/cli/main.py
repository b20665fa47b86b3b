"""Entry point: registers the commands, turns what they raise into an exit code."""

from __future__ import annotations

import re
import sys
import traceback
from typing import Annotated

import typer
from typer._click.exceptions import ClickException, NoArgsIsHelpError, NoSuchOption, UsageError

from shardwright import __version__, errors
from shardwright.cli import commands  # noqa: F401 registers them
from shardwright.cli.app import COMMON_OPTIONS, app
from shardwright.cli.screen import Screen
from shardwright.dsn import redact
from shardwright.runs import apart

COULD_NOT = 2
WRONG_USAGE = 64
INTERRUPTED = 130
_LOG_AS_JSON = re.compile(r"^--log-format(=|\n)json$", re.MULTILINE)
_VERBOSE = re.compile(r"--verbose|-[a-z]*v[a-z]*")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"shardwright {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Looks after the data of sharded multi-tenant PostgreSQL applications."""


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and leaves with its exit code."""
    apart.only_our_command = True
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """The exit code of the command that `arguments` (else sys.argv) spell."""
    arguments = sys.argv[1:] if arguments is None else arguments
    screen = Screen(
        as_json="--json" in arguments,
        verbose=any(map(_VERBOSE.fullmatch, arguments)),
        log_format="json" if _LOG_AS_JSON.search("\n".join(arguments)) else "text",
    )
    try:
        code = app(args=arguments, prog_name="shardwright", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except ClickException as error:
        return _explain_usage(screen, error)
    except errors.ShardwrightError as error:
        screen.error(str(error), error.hint, error.exit_code)
        return error.exit_code
    except typer.Abort:
        screen.error("interrupted", "", INTERRUPTED)
        return INTERRUPTED
    except OSError as error:
        return _explain_fault(screen, str(error), "")
    except Exception as error:  # noqa: BLE001 the last line of defence: a person reads this at night
        hint = "the same command with -v shows where; please report it with that"
        return _explain_fault(screen, f"a fault of shardwright itself: {type(error).__name__}: {error}", hint)


def _explain_fault(screen: Screen, fact: str, hint: str) -> int:
    """What nobody foresaw, in one line; the traceback for those who asked for it."""
    screen.error(fact, hint, COULD_NOT)
    screen.note(redact(traceback.format_exc()))
    return COULD_NOT


def _explain_usage(screen: Screen, error: ClickException) -> int:
    if isinstance(error, NoArgsIsHelpError) and not screen.as_json:
        error.show()
        return WRONG_USAGE
    context = error.ctx if isinstance(error, UsageError) else None
    path = context.command_path if context else "shardwright"
    fact, hint = error.format_message(), f"{path} --help"
    if isinstance(error, NoArgsIsHelpError):
        fact = f"{path} wants a command"
    elif isinstance(error, NoSuchOption):
        fact = error.message + (f". Did you mean {error.possibilities[0]}?" if error.possibilities else "")
        if context is not None and context.parent is None and error.option_name in COMMON_OPTIONS:
            hint = f"{path} COMMAND {error.option_name} …   options stand behind the command"
    screen.error(fact, hint, WRONG_USAGE)
    return WRONG_USAGE
