"""Sequences that give the same numbers on both shards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from psycopg import sql

from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground, Side
from shardwright.move.preflight.said import counted
from shardwright.move.preflight.tenant import INTEGERS
from shardwright.pg.sequences import Sequence, read_sequences
from shardwright.pg.tables import TableName
from shardwright.transfer.graph import PlacedTable, with_partitions

_ALLOW: Final = "sequences"
_AHEAD: Final = 100  # steps that a sequence may go on while its cure is typed


@dataclass(frozen=True)
class _Numbered:
    """A column of a table of tenants that draws from a sequence and has to be unique over all tenants."""

    placed: PlacedTable
    table: TableName
    column: str
    source: Sequence
    target: Sequence


@check("error", cure="ALTER SEQUENCE … INCREMENT BY, with another remainder on each shard; or `--allow sequences`")
def sequences(ground: Ground) -> Iterator[Finding]:
    """Rows keep their ids, so two shards must never give one number twice, now or after the move.

    They don't where their sequences have ranges without overlap (MINVALUE, MAXVALUE), or go on by the same increment,
    or multiples of it, with different remainders. Asked for columns that draw from a sequence and are unique without
    the tenant key. Also an error: the target's sequence is on its way to ids that rows of the tenant have already.
    Allow it where the application gives the ids itself.
    """
    for numbered in _numbered(ground):
        shown = f"{ground.source_side.shown(numbered.table)}.{numbered.column}"
        if numbered.source.meets(numbered.target):
            for side, own, other in _both(ground, numbered):
                fact = (
                    f"{side.name} draws {shown} from {own.name} as the other shard does: from {own.next:,} by"
                    f" {own.increment}, there from {other.next:,} by {other.increment}; they will give one number twice"
                )
                yield sequences.error(fact, _cure(ground, side, own, other), shard=side.name, allow=_ALLOW)
        elif count := _count_ahead(ground, numbered):
            fact = (
                f"{ground.target.name} draws {shown} from {numbered.target.name}, which is at {numbered.target.next:,}"
                f" and will come to {counted(count, 'id')} that rows of the tenant have"
            )
            yield sequences.error(fact, _pass(ground, numbered), shard=ground.target.name, allow=_ALLOW)


def _numbered(ground: Ground) -> Iterator[_Numbered]:
    own, theirs = (read_sequences(side.connection, side.carried) for side in ground.sides)
    for (table, column), source in own.items():
        placed = ground.graph[table]
        target = theirs.get((table, column))
        is_number = placed.table.has(column) and placed.table.column(column).type in INTEGERS
        if target is not None and is_number and placed in ground.tables and _is_unique_over_tenants(placed, column):
            yield _Numbered(placed, table, column, source, target)


def _is_unique_over_tenants(placed: PlacedTable, column: str) -> bool:
    keys = (key for table in with_partitions(placed) for key in table.uniques)
    return any(column in key.columns and placed.way.key not in key.columns for key in keys)


def _both(ground: Ground, numbered: _Numbered) -> Iterator[tuple[Side, Sequence, Sequence]]:
    source, target = ground.sides
    yield source, numbered.source, numbered.target
    yield target, numbered.target, numbered.source


def _cure(ground: Ground, side: Side, own: Sequence, other: Sequence) -> str:
    """Every shard of the fleet its own remainder, from beyond what either has given; room for as many shards again."""
    shards = [shard.name for shard in ground.fleet.shards]
    step = 1 << (2 * len(shards) - 1).bit_length()
    place = shards.index(side.name)
    name = sql.Identifier(own.name.schema, own.name.name)
    return (
        sql.SQL(
            "ALTER SEQUENCE {name} INCREMENT BY {step} NO CYCLE; SELECT setval({text},"
            " (greatest(last_value, {other}) / {step} + {ahead}) * {step} + {place}) FROM {name}"
        )
        .format(
            name=name,
            text=sql.Literal(name.as_string()),
            step=sql.Literal(step),
            other=sql.Literal(other.last),
            ahead=sql.Literal(_AHEAD),
            place=sql.Literal(place),
        )
        .as_string(side.connection)
    )


def _ahead(ground: Ground, numbered: _Numbered) -> sql.Composed:
    """The tenant's ids that the target's sequence will come to, after FROM."""
    target, column = numbered.target, sql.Identifier("r", numbered.column)
    return sql.SQL("FROM {} AS r WHERE {} AND ({} - {}) * {} >= 0 AND {} BETWEEN {} AND {}").format(
        numbered.placed.table.source,
        ground.is_of_tenant(numbered.placed.table.name),
        column,
        sql.Literal(target.next),
        sql.Literal(1 if target.increment > 0 else -1),
        column,
        sql.Literal(target.lowest),
        sql.Literal(target.highest),
    ) + sql.SQL(" AND ({} - {}) % {} = 0").format(column, sql.Literal(target.next), sql.Literal(abs(target.increment)))


def _count_ahead(ground: Ground, numbered: _Numbered) -> int:
    query = sql.SQL("SELECT count(*) {}").format(_ahead(ground, numbered))
    return int(ground.source_side.one(query)[0])


def _pass(ground: Ground, numbered: _Numbered) -> str:
    """The target's sequence goes on behind the last of them, with the same remainder."""
    furthest = sql.SQL("max({})" if numbered.target.increment > 0 else "min({})")
    query = sql.SQL("SELECT {} {}").format(
        furthest.format(sql.Identifier("r", numbered.column)), _ahead(ground, numbered)
    )
    name = sql.Identifier(numbered.target.name.schema, numbered.target.name.name).as_string()
    (last,) = ground.source_side.one(query)
    return sql.SQL("SELECT setval({}, {})").format(sql.Literal(name), sql.Literal(last)).as_string(ground.on_target)
