"""Shared tables that differ between blue shards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from psycopg import sql

from shardwright.bluegreen.preflight.ground import GreenSide, Ground
from shardwright.bluegreen.shapes.images import Image
from shardwright.move.preflight.declare import check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.said import counted, listed
from shardwright.transfer.keys import key_of
from shardwright.transfer.scope import hash_of_columns

Rows: TypeAlias = Mapping[str, int]
_NAMED_UP_TO: Final = 100_000  # rows of one table


@check("error", "warning", cure="the same rows on every blue shard; or `--allow shared-rows`")
def shared_rows(ground: Ground) -> Iterator[Finding]:
    """Shared tables have the same rows on every blue shard, asked of a hash of each row: all are read.

    Where tenants of two blue shards come to one green shard, it gets the shared rows of the first; so a row that only
    the other has, or has otherwise, is an error. Where each green shard has but one to get from, the shards stay as
    different as they were: a warning.
    """
    images = ground.shown.there
    shared = [each for each in images.tables if images.receiving[each.name].kind == "shared"]
    if len(ground.blue) == 1 or not shared:
        return
    totals = ground.of_each(ground.blue, lambda side: [_total(side, image) for image in shared])
    for place, image in enumerate(shared):
        own = {name: each[place] for name, each in totals.items()}
        if len(set(own.values())) > 1:
            yield from _told(ground, image, {name: count for name, (count, _) in own.items()})


def _total(side: GreenSide, image: Image) -> tuple[int, object]:
    query = sql.SQL("SELECT count(*), sum({}::pg_catalog.numeric) FROM {} AS r")
    count, total = side.one(query.format(hash_of_columns("r", image.table.columns), image.shown.source))
    return count, total


def _told(ground: Ground, image: Image, counts: Mapping[str, int]) -> Iterator[Finding]:
    first, *others = ground.blue
    is_merged = _is_merged(ground)
    shown = ground.model.shown(image.name)
    ours = _rows(first, image) if max(counts.values()) <= _NAMED_UP_TO else None
    for side in others:
        if ours is None:
            told = f"{counted(counts[first.name], 'row')} there, {counted(counts[side.name], 'row')} here"
        elif not (told := _difference(ours, _rows(side, image), first.name)):
            continue
        fact = f"shared rows of {shown} on {side.name} are not those of {first.name}: {told}"
        cure = f"make {shown} of {side.name} what {first.name} has, or the other way round"
        if is_merged:
            yield shared_rows.error(fact, cure, shard=side.name, allow=shared_rows.name)
        else:
            yield shared_rows.warning(fact, cure, shard=side.name)


def _rows(side: GreenSide, image: Image) -> Rows:
    """The hash of each row under its key; under itself where there is no key."""
    key, hashed = key_of(image.table), hash_of_columns("r", image.table.columns)
    columns = sql.SQL(", ").join(sql.Identifier("r", name) for name in key.columns) if key else hashed
    query = sql.SQL("SELECT pg_catalog.concat_ws(' / ', {}), {} FROM {} AS r")
    return dict(side.ask(query.format(columns, hashed, image.shown.source)))


def _difference(ours: Rows, theirs: Rows, first: str) -> str:
    parts = {
        "others": [key for key in sorted(ours.keys() & theirs.keys()) if ours[key] != theirs[key]],
        f"only on {first}": sorted(ours.keys() - theirs.keys()),
        "only here": sorted(theirs.keys() - ours.keys()),
    }
    return "; ".join(f"{what}: {listed(keys)}" for what, keys in parts.items() if keys)


def _is_merged(ground: Ground) -> bool:
    """Whether some green shard gets tenants of several blue ones."""
    giving: dict[str, set[str]] = defaultdict(set)
    for tenant, green in ground.placed.items():
        giving[green].add(ground.loads[tenant].shard)
    return any(len(each) > 1 for each in giving.values())
