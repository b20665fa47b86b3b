"""Where a command prints to: a terminal, plain lines, or one JSON document."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from shardwright import errors
from shardwright.cli.streams import Stream, printable
from shardwright.dsn import redact
from shardwright.runs.events import Listener, ignore

if TYPE_CHECKING:
    from shardwright.fleet import Fleet


class Screen:
    """One command's output. With `as_json` stdout holds one JSON document and everything else goes to stderr."""

    def __init__(
        self,
        *,
        config: Path | None = None,
        as_json: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        log_format: str = "text",
        dry_run: bool = False,
        yes: bool = False,
    ) -> None:
        self.config = config
        self.flush_traces: Callable[[], object] = lambda: None
        self.dry_run = dry_run
        self.yes = yes
        self.as_json = as_json
        self.quiet = quiet
        self.verbose = verbose
        self.log_format = log_format
        if log_format == "json":
            from shardwright.cli.logs import log_as_json  # noqa: PLC0415 slow, and only where it is asked for

            log_as_json()
        self.is_terminal = _is_terminal(sys.stdout) and not as_json

    def fleet(self) -> Fleet:
        """The fleet that --config, or the nearest shardwright.toml, names."""
        from shardwright.fleet import Fleet  # noqa: PLC0415 --help needs none of it
        from shardwright.monitor import traces  # noqa: PLC0415

        fleet = Fleet.from_config(self.config)
        self.flush_traces = traces.begin(fleet.config)
        return fleet

    def line(self, text: str, *, style: str | None = None, important: bool = False) -> None:
        """One line for people; nothing with --json, only important ones with --quiet."""
        if self.as_json or (self.quiet and not important):
            return
        _write(sys.stdout, text, style if self.is_terminal else None)

    def clear(self) -> None:
        """The terminal is empty, for what is shown anew; elsewhere one thing stands below the other."""
        if self.is_terminal:
            sys.stdout.write("\x1b[H\x1b[2J")

    def note(self, text: str) -> None:
        """One line on stderr, for --verbose."""
        if self.verbose:
            self._aside(text, logging.DEBUG)

    def warn(self, text: str) -> None:
        """One line on stderr that is always told."""
        self._aside(redact(text), logging.WARNING)

    def _aside(self, text: str, level: int, **facts: Any) -> None:
        if self.log_format == "json":
            logging.getLogger("shardwright.cli").log(max(level, logging.INFO), text, extra=facts)
        else:
            _write(sys.stderr, text, None)

    def document(self, value: Any) -> None:
        """The JSON document; nothing without --json."""
        if self.as_json:
            _write(sys.stdout, json.dumps(value, indent=2, default=str), None)

    def stream(self, value: Any) -> None:
        """One JSON document on a line of its own, for what goes on; nothing without --json."""
        if self.as_json:
            _write(sys.stdout, json.dumps(value, default=str), None)

    def error(self, fact: str, hint: str, exit_code: int) -> None:
        """The fact and the command that helps; neither shows a secret."""
        fact, hint = redact(fact), redact(hint)
        if self.as_json:
            self.document({"error": fact, "hint": hint or None, "exit_code": exit_code})
        if self.log_format == "json":
            self._aside(fact, logging.ERROR, hint=hint or None, exit_code=exit_code)
        if self.as_json or self.log_format == "json":
            return
        _write(sys.stderr, f"✗ {fact}", "red" if _is_terminal(sys.stderr) else None)
        if hint:
            _write(sys.stderr, f"  try: {hint}", None)

    def confirm(self, action: str) -> None:
        """Goes on only with --yes, or a yes at the terminal. Raises NeedsConfirmation without one, NotConfirmed."""
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise errors.NeedsConfirmation(action=action)
        if not typer.confirm(f"{printable(action)}. Go on?", err=True):
            raise errors.NotConfirmed(action=action)

    def progress(self) -> AbstractContextManager[Listener]:
        """A listener that shows a run as it goes: a live bar on a terminal, plain lines elsewhere."""
        from shardwright.cli.progress import LiveProgress, PlainProgress  # noqa: PLC0415

        if self.quiet or (self.as_json and not self.verbose):
            return nullcontext(ignore)
        return LiveProgress(self) if self.is_terminal else nullcontext(PlainProgress(self))


def _is_terminal(stream: Any) -> bool:
    return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"


def _write(stream: Any, text: str, style: str | None) -> None:
    text = printable(text)
    if style is not None and not os.environ.get("NO_COLOR"):
        text = typer.style(text, fg=style) if style != "dim" else typer.style(text, dim=True)
    out = Stream(stream)
    out.write(text + "\n")
    out.flush()
