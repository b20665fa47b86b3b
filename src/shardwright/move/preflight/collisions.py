"""Rows of other tenants on the target that leave no place for this tenant's rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Final

from psycopg import sql

from shardwright.move.preflight import probe
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ground import Ground, Side
from shardwright.move.preflight.probe import printed
from shardwright.move.preflight.said import NAMED
from shardwright.pg.queries import load
from shardwright.pg.tables import TableName
from shardwright.transfer.graph import PlacedTable, with_partitions

_queries = load(__package__)
_EQUAL: Final = "OPERATOR(pg_catalog.=)"


@dataclass(frozen=True)
class Part:
    """One column or expression of a constraint, all as the server prints them."""

    expression: str
    column: str | None
    type: str
    operator: str


@dataclass(frozen=True)
class Constraint:
    """What forbids two rows of one table."""

    table: TableName
    name: str
    is_primary: bool
    nulls_are_equal: bool
    predicate: str | None
    parts: tuple[Part, ...]


@check("error", cure="other values on one of the two shards; for ids: sequences that never meet, or UUIDs")
def collisions(ground: Ground) -> Iterator[Finding]:
    """Primary keys, unique values and exclusion constraints without the tenant in them hold across tenants.

    So a row of another tenant on the target may have the id, or the unique name, of one of this tenant's rows. Every
    such value of the tenant is looked for there, in batches, until some examples are found.
    """
    for placed in ground.tables:
        for constraint in constraints(ground.source_side, placed):
            if not is_within_tenant(placed, constraint):
                yield from _collide(ground, constraint)


def constraints(side: Side, placed: PlacedTable) -> Iterator[Constraint]:
    """Everything that forbids two rows of the table, or of one of its partitions."""
    rows = side.ask_of(list(with_partitions(placed)), _queries["exclusive_constraints"])
    for schema, table, name, is_primary, nulls_are_equal, predicate, parts in rows:
        texts = tuple(Part(*part) for part in parts)
        yield Constraint(TableName(schema, table), name, is_primary, nulls_are_equal, predicate, texts)


def is_within_tenant(placed: PlacedTable, constraint: Constraint) -> bool:
    """Whether rows of two tenants never collide: the tenant is part of it, or the row that belongs to the tenant."""
    columns = {part.column for part in constraint.parts if part.operator == _EQUAL}
    if placed.way.key is not None:
        return placed.way.key in columns
    return placed.way.is_whole and set(placed.way.steps[0].columns) <= columns


def _collide(ground: Ground, constraint: Constraint) -> Iterator[Finding]:
    with closing(probe.found(ground, _values(ground, constraint), _is_taken(ground, constraint))) as found:
        examples = list(islice(found, NAMED + 1))
    if examples:
        yield _told(ground, constraint, examples)


def _values(ground: Ground, constraint: Constraint) -> sql.Composed:
    texts = sql.SQL(", ").join(sql.SQL("({})::text").format(printed(part.expression)) for part in constraint.parts)
    wanted = [ground.is_of_tenant(constraint.table)]
    if constraint.predicate is not None:
        wanted.append(sql.SQL("({})").format(printed(constraint.predicate)))
    if not constraint.nulls_are_equal:
        wanted += [sql.SQL("({}) IS NOT NULL").format(printed(part.expression)) for part in constraint.parts]
    source = ground.graph.catalog.by_name[constraint.table].source
    return sql.SQL("SELECT {} FROM {} AS r WHERE {}").format(texts, source, sql.SQL(" AND ").join(wanted))


def _is_taken(ground: Ground, constraint: Constraint) -> sql.Composed:
    alike = [_alike(part, place, constraint.nulls_are_equal) for place, part in enumerate(constraint.parts)]
    if constraint.predicate is not None:
        alike.append(sql.SQL("({})").format(printed(constraint.predicate)))
    alike.append(sql.SQL("({}) IS NOT TRUE").format(ground.is_of_tenant(constraint.table)))
    source = ground.graph.catalog.by_name[constraint.table].source
    return sql.SQL("EXISTS (SELECT FROM {} AS r WHERE {})").format(source, sql.SQL(" AND ").join(alike))


def _alike(part: Part, place: int, nulls_are_equal: bool) -> sql.Composed:
    own, given = printed(part.expression), sql.SQL("{}::{}").format(probe.value(place), printed(part.type))
    alike = sql.SQL("({}) {} {}").format(own, printed(part.operator), given)
    if not nulls_are_equal:
        return alike
    return sql.SQL("({} OR ({}) IS NULL AND {} IS NULL)").format(alike, own, probe.value(place))


def _told(ground: Ground, constraint: Constraint, found: list[probe.Values]) -> Finding:
    shown = ground.source_side.shown(constraint.table)
    what = ", ".join(part.expression.partition(" COLLATE ")[0] for part in constraint.parts)
    told = [" / ".join("null" if each is None else each for each in values) for values in found]
    examples = ", ".join(told[:NAMED]) + (" and more" if len(told) > NAMED else "")
    fact = f"{ground.target.name} has {shown} of other tenants with this tenant's {what}: {examples}"
    if constraint.is_primary:
        cure = f"give the rows another {what} on one of the two shards: sequences of both may have given the same"
    else:
        cure = f"change {what} on one of the two shards; {constraint.name} allows it once"
    return collisions.error(fact, cure, shard=ground.target.name)
