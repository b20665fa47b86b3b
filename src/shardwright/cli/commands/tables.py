"""`tables`: how the rows of each table belong to tenants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from shardwright.cli.app import app, command
from shardwright.cli.screen import Screen
from shardwright.cli.words import Line, counted, size

if TYPE_CHECKING:
    from shardwright.transfer.graph import PlacedTable
    from shardwright.transfer.survey import ShardTables

_HEADINGS = ("table", "kind", "tenant key or path", "primary key", "rows", "size")


@command(app, "tables", examples=("shardwright tables", "shardwright tables --shard shard_3 --json"))
def tables(
    screen: Screen,
    *,
    shard: Annotated[
        str | None, typer.Option(metavar="NAME", help="The shard to read; default: the first that answers.")
    ] = None,
) -> int:
    """Show how the rows of each table belong to tenants; exit 1 if a table can't be placed."""
    found = screen.fleet().tables(shard=shard)
    screen.document(found.as_dict())
    for text, style in _lines(found):
        screen.line(text, style=style, important=style == "red")
    screen.line(_summary(found), important=True)
    return 1 if found.graph.problems else 0


def _lines(found: ShardTables) -> Iterator[Line]:
    """A heading, a line for each table with its notes below, then what has to be mended."""
    graph = found.graph
    rows = [_HEADINGS, *(_cells(found, placed) for placed in graph.tables)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_HEADINGS))]
    yield _row(" ", rows[0], widths), "dim"
    for cells, placed in zip(rows[1:], graph.tables, strict=True):
        mark, style = ("✗", "red") if placed.kind is None else ("✓", None)
        yield _row(mark, cells, widths), style
        for path in graph.paths(placed)[1:]:
            yield _row(" ", ("", "", f"or {path}"), widths), style
        yield from ((f"    {note}", "yellow") for note in placed.notes)
    for problem in graph.problems:
        yield f"✗ {problem.fact}; try: {problem.cure}", "red"


def _cells(found: ShardTables, placed: PlacedTable) -> tuple[str, ...]:
    name = found.graph.catalog.shown(placed.table.name)
    parts = f" ({counted(len(placed.partitions), 'partition')})" if placed.partitions else ""
    keys = ", ".join(column.name for column in placed.table.primary_key)
    path = next(iter(found.graph.paths(placed)), "")
    return name + parts, placed.kind or "?", path, keys, str(placed.rows), size(placed.bytes)


def _row(mark: str, cells: tuple[str, ...], widths: list[int]) -> str:
    """The cells in columns, the numbers to the right."""
    padded = (f"{cell:{'>' if place > 3 else '<'}{widths[place]}}" for place, cell in enumerate(cells))
    return f"{mark} {'  '.join(padded)}".rstrip()


def _summary(found: ShardTables) -> str:
    """`shard_0: 6 tables, 1 problem`."""
    graph = found.graph
    problems = f", {counted(len(graph.problems), 'problem')}" if graph.problems else ""
    return f"{found.shard}: {counted(len(graph.tables), 'table')}{problems}"
