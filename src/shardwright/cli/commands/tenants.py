"""`tenants`, `tenants locate`, `tenants add`, `tenants sync`, `tenants verify`: the directory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from shardwright.cli.app import app, command
from shardwright.cli.completion import shard_names
from shardwright.cli.screen import Screen
from shardwright.cli.words import MANY, Line, counted, identifier

if TYPE_CHECKING:
    from shardwright.catalog.comparison import Comparison, Difference
    from shardwright.catalog.placement import Placement
    from shardwright.catalog.tenants import Sync
    from shardwright.move.verify import Verification
    from shardwright.pg.faults import Fault

group = typer.Typer(help="The tenants: which shard each is on.")
app.add_typer(group, name="tenants")

Tenant = Annotated[str, typer.Argument(metavar="ID", help="The tenant's id: its key in the root table.")]


@command(group, examples=("shardwright tenants --shard shard_2", "shardwright tenants --search acme- --limit 20"))
def list_tenants(
    screen: Screen,
    *,
    context: typer.Context,
    shard: Annotated[
        str | None, typer.Option("--shard", help="Only those on this shard.", autocompletion=shard_names)
    ] = None,
    search: Annotated[str | None, typer.Option("--search", help="Only those whose id begins so.")] = None,
    after: Annotated[str | None, typer.Option("--after", help="Only ids behind this one: the next page.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, by id.")] = 100,
) -> int:
    """List the tenants with shard and epoch, as the directory has them."""
    del context
    found = screen.fleet().tenants(shard=shard, search=search, after=after, limit=limit + 1)
    shown, has_more = found[:limit], len(found) > limit
    screen.document({"tenants": [each.as_dict() for each in shown], "next": shown[-1].tenant if has_more else None})
    for each in shown:
        screen.line(_line(each), important=True)
    if has_more:
        screen.line(f"there are more; the next page: --after {identifier(shown[-1].tenant)}")
    if not shown:
        what = "has no such tenant" if shard or search or after else "is empty"
        screen.line(f"the directory {what}; try: shardwright tenants sync", important=True)
    return 0


@command(group, "locate", examples=("shardwright tenants locate acme", "shardwright tenants locate acme --ask"))
def locate(
    screen: Screen,
    tenant: Tenant,
    *,
    ask: Annotated[
        bool, typer.Option("--ask", help="Look on the shards themselves, and not in the directory.")
    ] = False,
) -> int:
    """Show which shard a tenant is on."""
    fleet = screen.fleet()
    if not ask:
        found = fleet.locate(tenant)
        screen.document(found.as_dict())
        screen.line(_line(found), important=True)
        return 0
    search = fleet.ask_shards(tenant)
    screen.document(search.as_dict())
    where = " and ".join(search.found) or "on no shard" + (" that was read" if search.unread else "")
    screen.line(f"{identifier(search.tenant)}  {where}", important=True)
    for text, style in _unread_lines(search.unread):
        screen.line(text, style=style, important=True)
    return search.exit_code


@command(
    group,
    "add",
    changes=True,
    examples=("shardwright tenants add acme", "shardwright tenants add acme --shard shard_2"),
)
def add(
    screen: Screen,
    tenant: Tenant,
    *,
    shard: Annotated[
        str | None,
        typer.Option("--shard", help="Its shard; else as tenants.placement says.", autocompletion=shard_names),
    ] = None,
) -> int:
    """Give a tenant that is still to come its shard, in the directory; the application then makes its rows there."""
    fleet = screen.fleet()
    if screen.dry_run:
        spelling, chosen = fleet.plan_add_tenant(tenant, shard=shard)
        screen.document({"dry_run": True, "tenant": spelling, "shard": chosen})
        screen.line(f"would place {identifier(spelling)} on {chosen}", important=True)
        return 0
    added = fleet.add_tenant(tenant, shard=shard)
    screen.document(added.as_dict())
    screen.line(_line(added), important=True)
    return 0


@command(
    group, "sync", changes=True, examples=("shardwright tenants sync", "shardwright tenants sync --accept --dry-run")
)
def sync(
    screen: Screen,
    *,
    accept: Annotated[
        bool, typer.Option("--accept", help="Where a tenant is on another shard than the directory says, it is right.")
    ] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Drop tenants that are on no shard.")] = False,
) -> int:
    """Read the root tables, and bring the directory to what the shards say; exit 1 where that is not clear."""
    fleet = screen.fleet()
    if screen.dry_run:
        done = fleet.plan_sync_tenants(accept=accept, forget=forget)
        screen.document({"dry_run": True, **done.as_dict()})
    else:
        done = fleet.sync_tenants(accept=accept, forget=forget)
        screen.document(done.as_dict())
    done_with = {"unplaced", *(["elsewhere"] if accept else []), *(["missing"] if forget else [])}
    _tell(screen, done.comparison, done_with)
    would = "would be: " if screen.dry_run else ""
    screen.line(f"{would}{_changes(done, done_with)}", important=True)
    return done.exit_code


def tell_directory(screen: Screen, done: Sync | None) -> None:
    """What became of the directory beside something else that was done: in one line, if all is well with it."""
    if done is None:
        return
    done_with = {"unplaced", *(["elsewhere"] if done.accepted else []), *(["missing"] if done.forgotten else [])}
    for text, style in (*_lines(done.comparison, done_with), *_unread_lines(done.comparison.unread)):
        if style == "red":
            screen.line(text, style=style, important=True)
    screen.line(f"directory: {_changes(done, done_with)}", important=True)


@command(group, "verify", examples=("shardwright tenants verify", "shardwright tenants verify --json"))
def verify(screen: Screen) -> int:
    """Show where directory, shards and fences differ; exit 1 unless every tenant, and all its rows, are on one shard."""
    found = screen.fleet().verify_tenants()
    screen.document(found.as_dict())
    for text, style in verification_lines(found):
        screen.line(text, style=style, important=True)
    screen.line(", ".join(_summary(found.comparison, "where the directory says")), important=True)
    return 0 if found.is_equal else 1


def verification_lines(found: Verification, told: Collection[str] = ()) -> Iterator[Line]:
    """What is not where it should be, and the shards that were not read, but those that were `told` already."""
    yield from _lines(found.comparison, ())
    yield from _unread_lines({name: fault for name, fault in found.comparison.unread.items() if name not in told})
    for each in (*found.fences, *found.orphans):
        yield f"✗ {each.shard}: {each.fact}; try: {each.cure}", "red"


def _changes(done: Sync, done_with: Collection[str]) -> str:
    changes = {"added": done.added, "placed anew": done.accepted, "forgotten": done.forgotten}
    told = [f"{number} {word}" for word, number in changes.items() if number or word == "added"]
    return ", ".join([*told, *_summary(done.comparison, "as before", done_with)])


def _line(found: Placement) -> str:
    return f"{identifier(found.tenant)}  {found.shard}  epoch {found.epoch}"


def _tell(screen: Screen, comparison: Comparison, done_with: Collection[str] = ()) -> None:
    for text, style in _lines(comparison, done_with):
        screen.line(text, style=style, important=style == "red")
    for text, style in _unread_lines(comparison.unread):
        screen.line(text, style=style, important=True)


def _lines(comparison: Comparison, done_with: Collection[str]) -> Iterator[Line]:
    """Of each way to differ the first twenty by name; what `sync` has `done_with` in other words than what is left."""
    for name, kind in comparison.kinds.items():
        for each in kind.first[:MANY]:
            if name in done_with:
                yield f"+ {identifier(each.tenant)}: {_changed(name, each)}", "green"
            else:
                yield f"✗ {identifier(each.tenant)}: {_told(name, each)}; try: {_CURES[name]}", "red"
        if kind.count > MANY:
            is_done = name in done_with
            yield f"{'+' if is_done else '✗'} and {kind.count - MANY} more", "green" if is_done else "red"


_WORDS = {
    "unplaced": "not in the directory",
    "twice": "on several shards",
    "elsewhere": "elsewhere than the directory says",
    "missing": "on no shard",
    "undecided": "undecided",
    "too_long": "too long",
}
_CURES = {
    "unplaced": "shardwright tenants sync",
    "twice": "take it from all shards but one, then: shardwright tenants sync",
    "elsewhere": "shardwright tenants sync --accept",
    "missing": "shardwright tenants sync --forget",
    "undecided": "shardwright shards check",
    "too_long": "give it a shorter key",
}


def _changed(kind: str, each: Difference) -> str:
    if kind == "missing":
        return f"forgotten; it was on {each.placed}"
    return f"on {each.found[0]}" + (f"; the directory said {each.placed}" if each.placed else "")


def _told(kind: str, each: Difference) -> str:
    found = " and ".join(each.found)
    says = f"the directory says {each.placed}" if each.placed else "not in the directory"
    if kind == "undecided":
        return f"on {found or 'no shard that was read'}, {says}, and not every shard was read"
    if kind == "too_long":
        return f"on {found}; its id is longer than the directory can hold"
    return f"on {found or 'no shard'}, {says}"


def _unread_lines(unread: Mapping[str, Fault]) -> Iterator[Line]:
    for shard, fault in unread.items():
        hint = f"; try: {fault.hint}" if fault.hint else ""
        yield f"✗ {shard}: not read: {fault.reason}{hint}", "red"


def _summary(comparison: Comparison, agreeing: str, done_with: Collection[str] = ()) -> list[str]:
    """`1204 tenants as before`, `2 on several shards`: what is to be known of those that are not `done_with`."""
    told = [f"{counted(comparison.agreeing, 'tenant')} {agreeing}"]
    kinds = comparison.kinds.items()
    told += [f"{kind.count} {_WORDS[name]}" for name, kind in kinds if kind.count and name not in done_with]
    if comparison.moving:
        told.append(f"{comparison.moving} on the move")
    if comparison.unread:
        told.append(f"{counted(len(comparison.unread), 'shard')} not read ({counted(comparison.not_read, 'tenant')})")
    return told
