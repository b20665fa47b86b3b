"""`check`: how the shards differ, and the words it is told in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from shardwright.cli.app import app, command
from shardwright.cli.commands.schema import Shards
from shardwright.cli.screen import Screen
from shardwright.cli.words import Line, few, members, schema_lines, unread_line

if TYPE_CHECKING:
    from shardwright.migration.drift import Drift, Schemas
    from shardwright.pg.fingerprint import Difference

_LONG = 100
_HOLDERS = frozenset({"table", "foreign table", "view", "materialized view", "type"})


@command(app, "check", examples=("shardwright check", "shardwright check --shards region=eu --json"))
def check(screen: Screen, *, shards: Shards = None) -> int:
    """Show how the shards differ: in revision, and object by object in their schema; exit 1 if anything does."""
    schemas = screen.fleet().check(shards=shards)
    screen.document(schemas.as_dict())
    for text, style in check_lines(schemas):
        screen.line(text, style=style, important=style == "red")
    screen.line(_summary(schemas), important=True)
    return schemas.exit_code


def check_lines(schemas: Schemas) -> Iterator[Line]:
    """What `check` found: the groups, version skew, drift object by object, shards that did not answer."""
    yield from schema_lines(schemas)
    revisions = list(schemas.revisions.items())
    if len(revisions) > 1:
        told = (f"{each[0]}: {members(each[1], is_first=each is revisions[0])}" for each in revisions)
        yield f"✗ {len(revisions)} revisions: {'; '.join(told)}; try: shardwright status", "red"
    for drift in schemas.drifts:
        if drift.is_even:
            sides = f"{few(drift.odd.shards)} and {few(drift.usual.shards)}"
            yield f"✗ revision {drift.odd.revision}: {sides} differ, and no schema has the most shards", "red"
        yield from ((f"✗ {_told(drift, each)}", "red") for each in _without_parts(drift.objects))
    yield from map(unread_line, schemas.unread)


def _summary(schemas: Schemas) -> str:
    """`200 shards: 2 revisions, 3 schemas, 1 not read`."""
    shards = sum(len(group.shards) for group in schemas.groups) + len(schemas.unread)
    digests = len({group.schema.digest for group in schemas.groups})
    counts = f"{_count(len(schemas.revisions), 'revision')}, {_count(digests, 'schema')}"
    unread = f", {len(schemas.unread)} not read" if schemas.unread else ""
    return f"{_count(shards, 'shard')}: {counts}{unread}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' if number != 1 else ''}"


def _without_parts(objects: Sequence[Difference]) -> list[Difference]:
    """`objects` without the columns, constraints, triggers of a table that is itself missing on one side."""
    missing = tuple(f"{each.name}." for each in objects if each.kind in _HOLDERS and None in (each.left, each.right))
    return [each for each in objects if not each.name.startswith(missing)]


def _told(drift: Drift, each: Difference) -> str:
    """`shard_2: column public.tasks.priority: only here: integer`; with no majority, where it is what."""
    here, there = _shortened(each.left, each.right)
    odd, thing = few(drift.odd.shards), f"{each.kind} {each.name}"
    if drift.is_even:
        return f"{thing}: {_on(odd, here)}; {_on(few(drift.usual.shards), there)}"
    if there is None:
        return f"{odd}: {thing}: only here" + (f": {here}" if here else "")
    if here is None:
        return f"{odd}: {thing}: missing here" + (f"; elsewhere: {there}" if there else "")
    return f"{odd}: {thing}: {here or 'nothing'} here, {there or 'nothing'} elsewhere"


def _on(shards: str, definition: str | None) -> str:
    return f"{'missing' if definition is None else definition or 'present'} on {shards}"


def _shortened(left: str | None, right: str | None) -> tuple[str | None, str | None]:
    """Both on one line; long ones from shortly before where they part."""
    if left is None or right is None:
        return left and _excerpt(_flat(left)), right and _excerpt(_flat(right))
    here, there = _flat(left), _flat(right)
    if here == there:  # they differ in white space only, which must be seen then
        here, there = repr(left), repr(right)
    is_long = max(len(here), len(there)) > _LONG
    pairs = enumerate(zip_longest(here, there))
    parting = next(at for at, (one, other) in pairs if one != other)
    start = max(0, parting - 20) if is_long else 0
    return _excerpt(here, start), _excerpt(there, start)


def _flat(definition: str) -> str:
    return " ".join(definition.split()).removesuffix(";")


def _excerpt(text: str, start: int = 0) -> str:
    head, tail = "…" if start else "", "…" if len(text) > start + _LONG else ""
    return f"{head}{text[start : start + _LONG]}{tail}"
