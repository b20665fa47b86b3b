"""`lint`: the SQL of revisions, looked at without any database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from shardwright.cli.app import app, command
from shardwright.cli.commands.schema import Allow, allowed
from shardwright.cli.screen import Screen
from shardwright.cli.words import lint_lines

if TYPE_CHECKING:
    from shardwright.migration.lint import LintReport


@command(app, "lint", examples=("shardwright lint --since 4f2a", "shardwright lint --allow ban-drop-column --json"))
def lint(
    screen: Screen,
    *,
    since: Annotated[
        str | None,
        typer.Option(metavar="REV", help="Only revisions after this one; default: every revision, each by itself."),
    ] = None,
    allow: Allow = None,
) -> int:
    """Show what in the SQL of revisions would block or break a shard in use; needs no database; exit 1 on errors."""
    report = screen.fleet().lint(since=since, allow=allowed(allow))
    screen.document(report.as_dict())
    for text, style in lint_lines(report):
        screen.line(text, style=style, important=style == "red")
    screen.line(_summary(report), important=True)
    return 1 if report.errors else 0


def _summary(report: LintReport) -> str:
    """`3 revisions: 1 error, 2 warnings, 1 not linted`."""
    bad, mild = len(report.errors), len(report.findings) - len(report.errors)
    left = f", {len(report.not_linted)} not linted" if report.not_linted else ""
    return f"{_count(len(report.revisions), 'revision')}: {_count(bad, 'error')}, {_count(mild, 'warning')}{left}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' if number != 1 else ''}"
