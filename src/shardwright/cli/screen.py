"""Where a command prints to: a terminal, plain lines, or one JSON document."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from shardwright import errors
from shardwright.dsn import redact
from shardwright.runs.events import Listener, ignore

if TYPE_CHECKING:
    from shardwright.fleet import Fleet

_PLAIN = str.maketrans({"✓": "+", "✗": "x", "↩": "<", "·": "-", "…": "..."})


class Screen:
    """One command's output. With `as_json` stdout holds one JSON document and everything else goes to stderr."""

    def __init__(
        self,
        *,
        config: Path | None,
        as_json: bool,
        quiet: bool,
        verbose: bool,
        dry_run: bool = False,
        yes: bool = False,
    ) -> None:
        self.config = config
        self.dry_run = dry_run
        self.yes = yes
        self.as_json = as_json
        self.quiet = quiet
        self.verbose = verbose
        self.is_terminal = sys.stdout.isatty() and not as_json

    def fleet(self) -> Fleet:
        """The fleet that --config, or the nearest shardwright.toml, names."""
        from shardwright.fleet import Fleet  # noqa: PLC0415 --help needs none of it

        return Fleet.from_config(self.config)

    def run(self, action: Callable[[], int | None]) -> int:
        """The exit code of `action`; an error of ours becomes a line and its own code."""
        try:
            return action() or 0
        except errors.ShardwrightError as error:
            self.error(error)
            return error.exit_code

    def line(self, text: str, *, style: str | None = None, important: bool = False) -> None:
        """One line for people; nothing with --json, only important ones with --quiet."""
        if self.as_json or (self.quiet and not important):
            return
        _write(sys.stdout, text, style if self.is_terminal else None)

    def note(self, text: str) -> None:
        """One line on stderr, for --verbose."""
        if self.verbose:
            _write(sys.stderr, text, None)

    def document(self, value: Any) -> None:
        """The JSON document; nothing without --json."""
        if self.as_json:
            sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")
            sys.stdout.flush()

    def error(self, error: errors.ShardwrightError) -> None:
        """The fact and the command that helps."""
        fact, hint = redact(str(error)), redact(error.hint)
        if self.as_json:
            self.document({"error": fact, "hint": hint or None, "exit_code": error.exit_code})
            return
        _write(sys.stderr, f"✗ {fact}", "red" if sys.stderr.isatty() else None)
        if hint:
            _write(sys.stderr, f"  try: {hint}", None)

    def confirm(self, action: str) -> None:
        """Goes on only with --yes, or a yes at the terminal. Raises NeedsConfirmation without a terminal."""
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise errors.NeedsConfirmation(action=action)
        typer.confirm(f"{action}. Go on?", abort=True, err=True)

    def progress(self) -> AbstractContextManager[Listener]:
        """A listener that shows a run as it goes: a live bar on a terminal, plain lines elsewhere."""
        from shardwright.cli.progress import LiveProgress, PlainProgress  # noqa: PLC0415

        if self.quiet or (self.as_json and not self.verbose):
            return nullcontext(ignore)
        return LiveProgress(self) if self.is_terminal else nullcontext(PlainProgress(self))


def _write(stream: Any, text: str, style: str | None) -> None:
    if style is not None:
        text = typer.style(text, fg=style) if style != "dim" else typer.style(text, dim=True)
    try:
        stream.write(text + "\n")
    except UnicodeEncodeError:  # a terminal that can't show ✓
        encoding = stream.encoding or "ascii"
        stream.write(text.translate(_PLAIN).encode(encoding, "replace").decode(encoding) + "\n")
    stream.flush()
