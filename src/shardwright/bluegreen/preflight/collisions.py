"""Rows of two blue shards that have no place beside one another on one green shard."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import psycopg
from psycopg import sql

from shardwright.bluegreen.preflight.ground import GreenSide, Ground
from shardwright.bluegreen.shapes.images import Image
from shardwright.bluegreen.shapes.trial import trial
from shardwright.move.preflight.collisions import Constraint, constraints, is_within_tenant
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.probe import printed
from shardwright.move.preflight.said import NAMED
from shardwright.transfer.rows import rows_where

_MOST: Final = 2_000_000  # values of one shard that are looked at; of more, those whose hashes end in zeros
_EXAMPLES: Final = 50
_IS_ONE_OF: Final = sql.SQL("{}::pg_catalog.text OPERATOR(pg_catalog.=) ANY ({}::pg_catalog.text[])")


@check("error", "warning", "note", cure="other values on one of the blue shards; or another green shard for a tenant")
def collisions(ground: Ground) -> Iterator[Finding]:
    """Where tenants of several blue shards come to one green shard, no two of their rows have one primary key there, or
    one value of a unique index. Those with the tenant in them are left out: they can't collide.

    The values of every such row are read, as hashes. Of more than two million of a table the same part is looked at on
    each shard, and a note says so: sequences that began at one number everywhere are found by any part. Exclusion
    constraints are left to the copy.
    """
    feeds = _feeds(ground)
    if not feeds:
        return
    images = ground.shown.there
    for image in images.tables:
        placed = images.receiving[image.name]
        if not placed.is_of_tenants:
            continue
        for constraint in constraints(ground.model, placed):
            if is_within_tenant(placed, constraint) or not _is_unique(constraint):
                continue
            try:
                yield from _collide(ground, _Asked(image, constraint), feeds)
            except psycopg.errors.QueryCanceled:
                fact = f"{_shown(ground, image)}: whether values of {constraint.name} meet was not found out in time"
                yield collisions.warning(fact, "raise limits.statement_timeout")


def _feeds(ground: Ground) -> Mapping[str, Mapping[str, list[str]]]:
    """The green shards that get tenants of several blue ones: which, of each."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for tenant, green in ground.placed.items():
        found[green][ground.loads[tenant].shard].append(tenant)
    return {green: of_blue for green, of_blue in found.items() if len(of_blue) > 1}


@dataclass(frozen=True)
class _Asked:
    """One constraint of green, asked of what blue shows; `image` may have no such column."""

    image: Image
    constraint: Constraint

    @property
    def row(self) -> sql.Composable:
        """What must not be there twice."""
        return sql.SQL(", ").join(sql.SQL("({})").format(printed(part.expression)) for part in self.constraint.parts)

    @property
    def hash(self) -> sql.Composable:
        """The same as 64 bits."""
        return sql.SQL("pg_catalog.hash_record_extended(ROW({}), 0)").format(self.row)

    @property
    def texts(self) -> sql.Composable:
        """The same for people."""
        texts = (sql.SQL("({})::text").format(printed(part.expression)) for part in self.constraint.parts)
        return sql.SQL("pg_catalog.concat_ws(' / ', {})").format(sql.SQL(", ").join(texts))

    def counts(self) -> Iterator[sql.Composable]:
        """Conditions: rows without them are in nobody's way."""
        if self.constraint.predicate is not None:
            yield sql.SQL("({})").format(printed(self.constraint.predicate))
        if not self.constraint.nulls_are_equal:
            for part in self.constraint.parts:
                yield sql.SQL("({}) IS NOT NULL").format(printed(part.expression))


def _is_unique(constraint: Constraint) -> bool:
    return all(part.operator.endswith(".=)") for part in constraint.parts)


def _collide(ground: Ground, asked: _Asked, feeds: Mapping[str, Mapping[str, list[str]]]) -> Iterator[Finding]:
    rows = max(ground.blue[0].graph.catalog.by_name[feed.table].rows for feed in asked.image.feeds)
    parts = 1
    while rows / parts > _MOST:
        parts *= 2
    for green, of_blue in feeds.items():
        sides = [side for side in ground.blue if side.name in of_blue]
        found = ground.of_each(sides, lambda side: _hashes(ground, side, asked, of_blue[side.name], parts))  # noqa: B023
        for one, other in combinations(sides, 2):
            if common := _common(found[one.name], found[other.name]):
                yield _told(ground, asked, green, (one, other), _texts(ground, one, asked, of_blue[one.name], common))
    if parts > 1:
        fact = f"of {_shown(ground, asked.image)} one value in {parts} was looked at for {asked.constraint.name}"
        yield collisions.note(fact)


def _hashes(ground: Ground, side: GreenSide, asked: _Asked, tenants: Sequence[str], parts: int) -> array[int]:
    """The hashes of a shard's values, sorted."""
    query = _rows(ground, asked, tenants, sql.SQL("{} AS h").format(asked.hash))
    chosen = sql.SQL("SELECT h FROM ({}) AS every WHERE h & {} = 0").format(query, sql.Literal(parts - 1))
    found = array("q")
    with trial(side.connection, ground.shown.there.giving), side.connection.cursor(name="collisions") as cursor:
        cursor.itersize = 50_000
        cursor.execute(chosen)
        found.extend(row[0] for row in cursor)
    return array("q", sorted(found))


def _rows(ground: Ground, asked: _Asked, tenants: Sequence[str], what: sql.Composable) -> sql.Composed:
    ids = sql.Literal(list(tenants))
    theirs = rows_where(
        ground.shown.there.giving_side_view,
        asked.image.name,
        lambda key, _: _IS_ONE_OF.format(key, ids),
    )
    wanted = sql.SQL(" AND ").join([theirs, *asked.counts()])
    return sql.SQL("SELECT {} FROM {} AS r WHERE {}").format(what, asked.image.shown.source, wanted)


def _common(ours: array[int], theirs: array[int]) -> list[int]:
    """The first values that are in both."""
    found: list[int] = []
    one, other = 0, 0
    while one < len(ours) and other < len(theirs) and len(found) < _EXAMPLES:
        if ours[one] < theirs[other]:
            one += 1
        elif ours[one] > theirs[other]:
            other += 1
        else:
            found.append(ours[one])
            one, other = one + 1, other + 1
    return found


def _told(ground: Ground, asked: _Asked, green: str, sides: tuple[GreenSide, GreenSide], texts: list[str]) -> Finding:
    one, other = sides
    examples = ", ".join(texts[:NAMED]) + (" and more" if len(texts) > NAMED else "")
    what = ", ".join(part.expression.partition(" COLLATE ")[0] for part in asked.constraint.parts)
    fact = (
        f"{one.name} and {other.name} both have {_shown(ground, asked.image)} with the {what} {examples}, and {green}"
    )
    fact += " would get both"
    if asked.constraint.is_primary:
        cure = f"give the rows another {what} on one of them: sequences of both may have given the same"
    else:
        cure = f"change {what} on one of them; {asked.constraint.name} allows it once"
    return collisions.error(fact, cure)


def _texts(
    ground: Ground, side: GreenSide, asked: _Asked, tenants: Sequence[str], hashes: Collection[int]
) -> list[str]:
    query = _rows(ground, asked, tenants, sql.SQL("{} AS h, {} AS told").format(asked.hash, asked.texts))
    named = sql.SQL("SELECT told FROM ({}) AS every WHERE h = ANY ({}) ORDER BY told LIMIT {}").format(
        query, sql.Literal(list(hashes)), sql.Literal(NAMED + 1)
    )
    with trial(side.connection, ground.shown.there.giving):
        return [row[0] for row in side.ask(named)]


def _shown(ground: Ground, image: Image) -> str:
    return ground.model.shown(image.name)
