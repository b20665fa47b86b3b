"""`check`: everything in which the fleet is not as it should be, and the words it is told in."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING, Annotated

import typer

from shardwright import errors
from shardwright.cli.app import app, command, duration
from shardwright.cli.commands.schema import Shards
from shardwright.cli.commands.tenants import verification_lines
from shardwright.cli.screen import Screen
from shardwright.cli.words import Line, few, members, schema_lines, unread_line
from shardwright.runs.stopping import StopRequest, stop_on_signals

if TYPE_CHECKING:
    from shardwright.fleet import Fleet
    from shardwright.migration.drift import Drift, Schemas
    from shardwright.monitor.check import FleetCheck
    from shardwright.monitor.references import ReferenceCheck
    from shardwright.monitor.skew import Skew
    from shardwright.pg.fingerprint import Difference

_LONG = 100
_HOLDERS = frozenset({"table", "foreign table", "view", "materialized view", "type"})
_EXAMPLES = 3  # of what refers to nothing; --json has more


@command(
    app,
    "check",
    examples=(
        "shardwright check",
        "shardwright check --quick --watch",
        "shardwright check --only references",
        "shardwright check --quick --alert",
        "shardwright check --shards region=eu --json",
    ),
)
def check(
    screen: Screen,
    *,
    shards: Shards = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out what reads rows: tenants and references.")] = False,
    only: Annotated[
        str | None,
        typer.Option(metavar="PART,PART", help="Of schema, tenants, references, exhaustion, leftovers only these."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Check again and again, until Ctrl-C; with --json a document a line.")
    ] = False,
    every: Annotated[
        timedelta | None,
        typer.Option(parser=duration, metavar="DURATION", help="With --watch: how long to rest between (30s)."),
    ] = None,
    alert: Annotated[
        bool, typer.Option("--alert", help="Tell whom [alerts] names of what is wrong, once, and that it is over.")
    ] = False,
) -> int:
    """Show what is not as it should be: revisions, schemas, placements, references, what runs out, what is left over."""
    fleet, parts = screen.fleet(), _parts(only, quick=quick)
    if alert and shards:
        raise errors.UsageError("--alert looks at the whole fleet, and --shards at a part", "shardwright check --alert")
    with stop_on_signals(_Impatient()) as stop:
        while True:
            found = fleet.check(shards=shards, parts=parts, stop=stop)
            _tell(screen, found, again=watch)
            if alert:
                _alert(screen, fleet, found)
            if not watch:
                return found.exit_code if stop.signal is None else 128 + stop.signal
            if _rested(every or timedelta(seconds=30), stop):
                return found.exit_code


def _alert(screen: Screen, fleet: Fleet, found: FleetCheck) -> None:
    """Alerts go out; on stderr, since the document is the check's."""
    say = screen.warn if screen.log_format == "text" else lambda _: None  # which logs it with its facts
    for failure in fleet.alert(found, say=say).failures:
        screen.warn(f"alerts wait: {failure}")


class _Impatient(StopRequest):
    """Asked once, the check ends where it can go on the next time; asked twice, at once."""

    def ask(self, reason: str, *, signal_number: int | None = None) -> None:
        """See StopRequest."""
        super().ask(reason, signal_number=signal_number)
        if self.times > 1:
            raise KeyboardInterrupt


def _rested(length: timedelta, stop: StopRequest) -> bool:
    """Whether somebody asked to stop meanwhile."""
    until = time.monotonic() + length.total_seconds()
    while not stop.is_asked and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.2))
    return stop.is_asked


def _parts(only: str | None, *, quick: bool) -> Collection[str]:
    from shardwright.monitor.check import PARTS, QUICK  # noqa: PLC0415 --help needs none of it

    if only is None:
        return QUICK if quick else PARTS
    if quick:
        raise errors.UsageError(reason="--only and --quick both say which parts", help="leave one of them out")
    wanted = [each for each in (part.strip() for part in only.split(",")) if each]
    if not wanted or set(wanted) - set(PARTS):
        reason = f"--only {only!r}: there are the parts {', '.join(PARTS)}"
        raise errors.UsageError(reason=reason, help="shardwright check --only schema,leftovers")
    return wanted


def _tell(screen: Screen, found: FleetCheck, *, again: bool) -> None:
    if again:
        screen.stream(found.as_dict())
        screen.clear()
    else:
        screen.document(found.as_dict())
    for text, style in check_lines(found):
        screen.line(text, style=style, important=style == "red")
    moment = f" · {found.at.astimezone():%H:%M:%S}" if again else ""
    screen.line(f"{_summary(found)}{moment}", important=True)


def check_lines(found: FleetCheck) -> Iterator[Line]:
    """What a check found, part by part; a shard that did not answer is told once."""
    yield from _schema_lines(found)
    yield from map(unread_line, found.schemas.unread)
    for each in found.blind:
        yield _told_with(each.shard, each.fault.reason, each.fault.hint), "red"
    if found.verification is not None:
        yield from verification_lines(found.verification, told={each.shard for each in found.unread})
    for reference in found.references:
        yield from _reference_lines(reference, told={each.shard for each in found.unread})
    for near in found.exhaustion:
        fact = f"{near.fact} ({near.used:.0%} used, {near.left:,} left)"
        yield _told_with(near.shard, fact, near.cure), "red"
    told = _told_by_tenants(found)
    for left in found.leftovers:
        if (left.shard, left.run) not in told:
            yield _told_with(left.shard, left.fact, left.cure), "red"
    for undone in found.not_done:
        yield _told_with(f"{undone.part} not checked", undone.fault.reason, undone.fault.hint), "red"


def _told_with(subject: str, fact: str, cure: str) -> str:
    return f"✗ {subject}: {fact}" + (f"; try: {cure}" if cure else "")


def _told_by_tenants(found: FleetCheck) -> set[tuple[str, int | None]]:
    """Of which moves it was told already that they have left something where."""
    odd = found.verification.fences if found.verification else ()
    runs = ((each.shard, each.cure.removeprefix("shardwright runs show ")) for each in odd)
    return {(shard, int(run)) for shard, run in runs if run.isdigit()}


def _schema_lines(found: FleetCheck) -> Iterator[Line]:
    """The groups, version skew, drift object by object."""
    schemas = found.schemas
    yield from schema_lines(schemas)
    yield from _skew_lines(found.skew)
    for drift in schemas.drifts:
        if drift.is_even:
            sides = f"{few(drift.odd.shards)} and {few(drift.usual.shards)}"
            yield f"✗ revision {drift.odd.revision}: {sides} differ, and no schema has the most shards", "red"
        yield from ((f"✗ {_told(drift, each)}", "red") for each in _without_parts(drift.objects))


def _skew_lines(skew: Sequence[Skew]) -> Iterator[Line]:
    if skew and all(each.expected is None for each in skew):
        told = (f"{each.revision}: {members(each.shards, is_first=each is skew[0])}" for each in skew)
        yield f"✗ {len(skew)} revisions: {'; '.join(told)}; try: shardwright status", "red"
        return
    for each in skew:
        told_of = f"revision {each.revision}: {members(each.shards, is_first=True)}"
        if each.expected is None:
            yield f"✗ {told_of}, and nothing under way explains that; try: shardwright status", "red"
        else:
            yield f"- {told_of}, as expected: {each.expected}", "dim"


def _reference_lines(found: ReferenceCheck, told: Collection[str]) -> Iterator[Line]:
    name, target = found.source, found.target
    if found.wrong is not None:
        yield f"✗ {found.wrong}; try: {found.wrong.hint}", "red"
        return
    if found.dangling:
        shown = (
            f"{each.value!r} on {each.shard}" + (f" (row {each.row})" if each.row is not None else "")
            for each in found.examples[:_EXAMPLES]
        )
        more = ", …" if found.dangling > _EXAMPLES else ""
        yield (
            f"✗ {name}: {found.dangling:,} of {_count(found.rows, 'row')} refer to no {target}: "
            f"{', '.join(shown)}{more}",
            "red",
        )
    if found.undecided:
        fact = f"{_count(found.undecided, 'row')} may refer to no {target}, and not every shard was read"
        yield _told_with(str(name), fact, "shardwright shards check"), "red"
    for shard, fault in found.unread.items():
        if shard not in told:
            yield _told_with(shard, f"{name} was not read: {fault.reason}", fault.hint), "red"
    if not found.is_finished:
        yield f"! {name}: stopped after {_count(found.rows, 'row')}; the next check goes on from there", "yellow"
    elif found.is_well:
        yield f"✓ {name}: {_count(found.rows, 'row')} refer to {target}", "green"


def _summary(found: FleetCheck) -> str:
    """`200 shards: 2 revisions, 3 schemas, 1 not read`, and what else there is of each kind."""
    schemas = found.schemas
    shards = sum(len(group.shards) for group in schemas.groups) + len(schemas.unread)
    told = [_of_schemas(schemas)] if "schema" in found.parts else []
    told += [f"{len(found.unread)} not read"] if found.unread else []
    kinds = {
        "misplaced": _misplaced(found),
        "rows refer to nothing": sum(each.dangling for each in found.references),
        "running out": len(found.exhaustion),
        "left over": len(found.leftovers),
        "not checked": len(found.not_done),
    }
    told += [f"{number:,} {words}" for words, number in kinds.items() if number]
    if "schema" not in found.parts:
        return ", ".join(told) or "all well"
    return f"{_count(shards, 'shard')}: {', '.join(told)}"


def _of_schemas(schemas: Schemas) -> str:
    digests = len({group.schema.digest for group in schemas.groups})
    return f"{_count(len(schemas.revisions), 'revision')}, {_count(digests, 'schema')}"


def _misplaced(found: FleetCheck) -> int:
    if found.verification is None:
        return 0
    kinds = found.verification.comparison.kinds.values()
    return sum(kind.count for kind in kinds) + len(found.verification.fences) + len(found.verification.orphans)


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'s' if number != 1 else ''}"


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
