"""`serve`: the dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shardwright import errors
from shardwright.cli.app import app, command
from shardwright.cli.screen import Screen
from shardwright.runs.stopping import StopRequest, stop_on_signals

_TOKEN = "SHARDWRIGHT_TOKEN"  # noqa: S105 the name of a variable


@command(
    app,
    "serve",
    examples=("shardwright serve", "shardwright serve --host 0.0.0.0 --token-file /etc/shardwright/token"),
)
def serve(
    screen: Screen,
    *,
    host: Annotated[
        str, typer.Option(help="The address to listen on; others than this machine's own need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes one that is free.")] = 8321,
    token: Annotated[
        str | None,
        typer.Option(
            envvar=_TOKEN,
            show_envvar=True,
            metavar="TOKEN",
            help="Whoever knows it may act. Better in the environment: other users see a command's options.",
        ),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The file whose first line is the token.")
    ] = None,
    private: Annotated[
        bool | None,
        typer.Option(
            "--private/--public",
            help="Ask readers for the token too, or let anybody read; else asked where other machines can reach it.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name that browsers call it by, behind a proxy say; may be repeated."),
    ] = None,
) -> int:
    """Serve the dashboard: pages, JSON, /metrics and /health/shards, until Ctrl-C."""
    try:
        from shardwright.web import serve as dashboard  # noqa: PLC0415 an extra
    except ModuleNotFoundError as error:
        raise errors.ExtraMissing(what="shardwright serve", extra="web") from error
    options = dashboard.ServeOptions(host, port, _read(token_file) or token or None, private, allow_host or ())
    with stop_on_signals(StopRequest()) as stop:
        dashboard.serve(screen.fleet(), options, stop=stop, say=lambda text: _say(screen, text))
    return 0


def _read(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise errors.UsageError(f"{file} can't be read: {error}", f"ls -l {file}") from error
    if not lines or not lines[0].strip():
        raise errors.UsageError(f"{file} has no token in its first line", f"ls -l {file}")
    return lines[0].strip()


def _say(screen: Screen, text: str) -> None:
    screen.stream({"message": text})
    screen.line(text, important=True)
