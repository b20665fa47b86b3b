"""The tenants of a fleet: where they are, adding one, and keeping the directory what the shards say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from shardwright import errors
from shardwright.catalog import changes, placement
from shardwright.catalog.ask import ask_each
from shardwright.catalog.comparison import Comparison, Workbench
from shardwright.catalog.control import beside_control, open_control, read_control, unavailable
from shardwright.catalog.placement import Placement
from shardwright.catalog.roots import Root, Sighting, ask_root, look_for, read_ids
from shardwright.catalog.store import hold_open, record_shards, takes_new
from shardwright.config import Config, FleetConfig, TenantsSection, format_duration
from shardwright.pg.faults import Fault
from shardwright.shard import Shard

_NAME = "shardwright tenants"
_SYNC = "the directory can't be taken from the shards, where tenants are on two of them"
Moving = Callable[[psycopg.Connection[Any], datetime], Collection[str]]


def _nobody(control: psycopg.Connection[Any], since: datetime) -> Collection[str]:
    del control, since
    return ()


@dataclass(frozen=True)
class Sync:
    """What `sync` found, and what it changed, or with a dry run would have."""

    comparison: Comparison
    added: int = 0
    accepted: int = 0
    forgotten: int = 0

    @property
    def exit_code(self) -> int:
        """0 where the directory is now what the shards say, else 1."""
        found = self.comparison
        # Who was added by somebody else meanwhile, another sync perhaps, is in the directory all the same.
        changed = {"unplaced": found.unplaced.count, "elsewhere": self.accepted, "missing": self.forgotten}
        left = (kind.count - changed.get(name, 0) for name, kind in found.kinds.items())
        return 1 if self.comparison.unread or any(left) else 0

    def as_dict(self) -> dict[str, Any]:
        """The outcome as `--json` prints it."""
        changed = {"added": self.added, "accepted": self.accepted, "forgotten": self.forgotten}
        return {**changed, **self.comparison.as_dict()}


@dataclass(frozen=True)
class Search:
    """Where one tenant is by the word of the shards themselves; `unread` ones could not be asked."""

    tenant: str
    found: tuple[str, ...]
    unread: Mapping[str, Fault]

    @property
    def exit_code(self) -> int:
        """0 where it is on exactly one shard, and all were asked."""
        return 0 if len(self.found) == 1 and not self.unread else 1

    def as_dict(self) -> dict[str, Any]:
        """The answer as `--json` prints it."""
        unread = [{"shard": name, "error": why.reason, "hint": why.hint or None} for name, why in self.unread.items()]
        return {"tenant": self.tenant, "found": list(self.found), "unread": unread}


def require_tenants(config: Config) -> TenantsSection:
    """What the file says of tenants. Raises NoTenants where it says nothing."""
    if config.tenants is None:
        raise errors.NoTenants(file=str(config.file), key="tenants")
    return config.tenants


def list_tenants(
    fleet: FleetConfig, *, shard: str | None, search: str | None, after: str | None, limit: int
) -> list[Placement]:
    """A page of the directory; only the control database is asked, and only read. Raises NoSuchShard, BadTenantId."""
    if shard is not None:
        require_shard(fleet, shard)
    with read_control(fleet.control, application_name=_NAME) as control:
        if control is None:
            return []
        return placement.page(control, fleet.shard_set, shard=shard, search=search, after=after, limit=limit)


def locate(fleet: FleetConfig, tenant: str) -> Placement:
    """Where the directory has `tenant`; only the control database is asked, and only read.

    Raises NoSuchTenant, BadTenantId.
    """
    placement.require_id(tenant)
    with read_control(fleet.control, application_name=_NAME) as control:
        if control is None:
            raise errors.NoSuchTenant(tenant=tenant)
        found = placement.find(control, fleet.shard_set, tenant)
        if found is None:
            raise placement.unknown(control, fleet.shard_set, tenant)
    return found


def ask_shards(fleet: FleetConfig, tenant: str) -> Search:
    """Where `tenant` is by the word of the shards; the control database is not asked.

    Raises NoTenants, and BadTenantId where it can't be the id of any tenant.
    """
    section = require_tenants(fleet.config)
    placement.require_id(tenant)

    def look(connection: psycopg.Connection[Any], root: Root) -> Sighting:
        return look_for(connection, root, tenant)

    answers = ask_each(
        fleet.select(None),
        lambda shard: ask_root(shard, section.root, look, statement_timeout="10s"),
        connections_per_host=fleet.config.limits.connections_per_host,
    )
    seen = {name: answer for name, answer in answers.items() if isinstance(answer, Sighting)}
    spelling = next((each for each in seen.values() if each.why_none is None), None)
    for each in seen.values() if spelling is None else ():
        raise errors.BadTenantId(tenant=tenant, why=each.why_none or "")
    found = tuple(name for name, each in seen.items() if each.is_here)
    unread = {name: answer for name, answer in answers.items() if isinstance(answer, Fault)}
    return Search(spelling.tenant if spelling else tenant, found, unread)


def plan_add(fleet: FleetConfig, tenant: str, *, shard: str | None) -> tuple[str, str]:
    """The id as PostgreSQL writes it, and the shard that `add_tenant` would give it; changes nothing.

    Raises what `add_tenant` raises.
    """
    spelling = _require_absent(fleet, tenant, shard)
    with read_control(fleet.control, application_name=_NAME) as control:
        present = placement.find(control, fleet.shard_set, spelling) if control else None
        if present is not None:
            raise _is_placed(present)
        return spelling, _choose(fleet, control, spelling, shard)


def add_tenant(fleet: FleetConfig, tenant: str, *, shard: str | None, changed_by: str) -> Placement:
    """The directory has a shard for `tenant`, whose row in the root table is still to come.

    Of those who add it at once one wins, and all are given the same placement. Raises TenantExists where it had a
    placement before or is on a shard, ShardsSilent where a shard can't be asked, ClosedToNew, NoSuchShard, NoTenants,
    BadTenantId.
    """
    _require_addable(fleet, tenant, shard)
    with open_control(fleet.control, application_name=_NAME) as control:
        began = placement.moment(control)
        spelling = _require_absent(fleet, tenant, shard)
        record_shards(control, fleet.shard_set, fleet.shards, fleet.green)
        present, is_ours = _place(fleet, control, spelling, shard, changed_by=changed_by)
    if not is_ours and (present.changed_at < began or shard not in (None, present.shard)):
        raise _is_placed(present)
    return present


def place_tenant(fleet: FleetConfig, tenant: str, *, changed_by: str) -> Placement:
    """The directory has a shard for `tenant`, by `tenants.placement` if it had none; no shard is asked.

    Safe to repeat, and for several at once: all are given the same placement. For whoever makes the tenant's id, and so
    knows that no shard can have it. Raises NoTenants, NoShards, ClosedToNew, BadTenantId, ControlUnavailable.
    """
    require_tenants(fleet.config)
    placement.require_id(tenant)
    fleet.select(None)
    with open_control(fleet.control, application_name=_NAME) as control:
        if present := placement.find(control, fleet.shard_set, tenant):
            return present
        return _place(fleet, control, tenant, None, changed_by=changed_by)[0]


def _require_addable(fleet: FleetConfig, tenant: str, shard: str | None) -> None:
    require_tenants(fleet.config)
    placement.require_id(tenant)
    if shard is not None:
        require_shard(fleet, shard)


def _require_absent(fleet: FleetConfig, tenant: str, shard: str | None) -> str:
    """The id as PostgreSQL writes it."""
    _require_addable(fleet, tenant, shard)
    search = ask_shards(fleet, tenant)
    if search.found:
        cure = "shardwright tenants sync   takes into the directory what is on the shards"
        raise errors.TenantExists(tenant=tenant, where=f"is on {' and '.join(search.found)} already", help=cure)
    if search.unread:
        action, why = f"tenant {tenant!r} can't be added", next(iter(search.unread.values()))
        raise errors.ShardsSilent(action=action, shards=", ".join(search.unread), reason=why.reason)
    return search.tenant


def _is_placed(present: Placement) -> errors.TenantExists:
    where = f"is placed on {present.shard} already, epoch {present.epoch}"
    return errors.TenantExists(tenant=present.tenant, where=where, help="shardwright tenants locate ID")


def _place(
    fleet: FleetConfig, control: psycopg.Connection[Any], tenant: str, shard: str | None, *, changed_by: str
) -> tuple[Placement, bool]:
    """On `shard`, or by the policy; on none that was closed to new tenants before this is committed."""
    while True:
        chosen = _choose(fleet, control, tenant, shard)
        with control.transaction():
            if is_open := hold_open(control, fleet.shard_set, chosen):
                return placement.place(control, fleet.shard_set, tenant, chosen, changed_by=changed_by)
        if is_open is None:  # the catalog has not seen this shard yet
            record_shards(control, fleet.shard_set, fleet.shards, fleet.green)


def _choose(fleet: FleetConfig, control: psycopg.Connection[Any] | None, tenant: str, shard: str | None) -> str:
    """`shard`, or by the policy one of those that take new tenants. Raises ClosedToNew."""
    are_open = {each.name: each in fleet.shards for each in fleet.every}
    if control is not None:
        are_open |= {name: is_open for name, is_open in takes_new(control, fleet.shard_set).items() if name in are_open}
    if shard is not None and are_open[shard]:
        return shard
    if shard is not None or not any(are_open.values()):
        reason = f"{shard} takes no new tenants" if shard else f"no shard of {fleet.shard_set} takes new tenants"
        raise errors.ClosedToNew(tenant=tenant, reason=reason)
    load_of = placement.loads(control, fleet.shard_set) if control else {}
    names = (name for name, is_open in are_open.items() if is_open)
    return placement.choose(tenant, names, require_tenants(fleet.config).placement, load_of)


def require_shard(fleet: FleetConfig, name: str) -> None:
    """Raises NoSuchShard where the fleet has none of exactly that name, green ones included."""
    if all(shard.name != name for shard in (*fleet.select(None), *fleet.green)):
        fleet.select(name)  # names those there are, unless it is a pattern
        raise errors.UsageError(reason=f"--shard takes one shard's name, not {name!r}", help="shardwright shards")


def plan_sync(fleet: FleetConfig, *, accept: bool, forget: bool, moving: Moving = _nobody) -> Sync:
    """What `sync` would do; changes nothing. Raises NoTenants, NoShards, ChangeUnderWay, ControlUnavailable."""
    with read_control(fleet.control, application_name=_NAME) as control:
        if control is not None:
            changes.require_none_open(control, fleet.shard_set, _SYNC)
            changes.require_written_down(control, fleet)
    found = verify(fleet, moving=moving)
    accepted, forgotten = found.elsewhere.count if accept else 0, found.missing.count if forget else 0
    return Sync(found, found.unplaced.count, accepted, forgotten)


def verify(fleet: FleetConfig, *, moving: Moving = _nobody) -> Comparison:
    """How the directory and the shards differ; changes nothing. Raises NoTenants, NoShards, ControlUnavailable.

    `moving` gives, over the control database, the tenants that have been on their way since a moment.
    """
    require_tenants(fleet.config)
    with beside_control(fleet.control, application_name=_NAME) as (control, is_made):
        return _compare(control, fleet, has_directory=is_made, moving=moving)


def sync(
    fleet: FleetConfig,
    *,
    accept: bool,
    forget: bool,
    of: Collection[str] | None = None,
    changed_by: str,
    moving: Moving = _nobody,
) -> Sync:
    """The directory has every tenant that is on one shard, and of those on several it says what it said.

    With `accept` also those that are on another shard than it said, with `forget` none of those that are on no shard;
    both only of those whom it had on the shards `of`, if that is given.
    Whatever has changed in the directory since the shards were asked stands. Raises NoTenants, NoShards,
    ChangeUnderWay, ControlUnavailable.
    """
    require_tenants(fleet.config)
    with open_control(fleet.control, application_name=_NAME) as control:
        changes.require_none_open(control, fleet.shard_set, _SYNC)
        changes.require_written_down(control, fleet)
        record_shards(control, fleet.shard_set, fleet.shards, fleet.green)
        found = _compare(control, fleet, has_directory=True, moving=moving)
        with control.transaction():
            return Sync(
                found,
                added=placement.adopt(control, fleet.shard_set, changed_by=changed_by),
                accepted=placement.accept(control, fleet.shard_set, of=of, changed_by=changed_by) if accept else 0,
                forgotten=placement.forget(control, fleet.shard_set, of=of) if forget else 0,
            )


def _compare(
    control: psycopg.Connection[Any], fleet: FleetConfig, *, has_directory: bool, moving: Moving
) -> Comparison:
    """The directory is copied before the shards are asked: what is placed meanwhile is nobody's mistake."""
    limit = format_duration(fleet.config.limits.statement_timeout)
    bench = Workbench(control, statement_timeout=limit)
    began = placement.moment(control)
    if not has_directory:
        return bench.compare(_read_all(fleet, bench, fleet.select(None), limit))
    placement.copy_directory(control, fleet.shard_set)
    loads = placement.loads(control, fleet.shard_set) if fleet.green else {}
    # A green shard without any placement is being built, and need not be there yet.
    shards = [*fleet.select(None), *(shard for shard in fleet.green if shard.name in loads)]
    unread = _read_all(fleet, bench, shards, limit)
    return bench.compare(unread, {*moving(control, began), *changes.tenants_under_way(control, fleet.shard_set)})


def _read_all(fleet: FleetConfig, bench: Workbench, shards: Sequence[Shard], limit: str) -> dict[str, Fault]:
    """Every tenant of these shards lies on the bench; gives the shards that could not be read."""
    section = require_tenants(fleet.config)
    green = fleet.config.green_tenants or section

    def read(shard: Shard) -> Fault | None:
        root = (green if shard in fleet.green else section).root

        def lay_down(connection: psycopg.Connection[Any], table: Root) -> None:
            for page in read_ids(connection, table, shard.name):
                _load(fleet, bench, page)

        return ask_root(shard, root, lay_down, statement_timeout=limit)

    answers = ask_each(shards, read, connections_per_host=fleet.config.limits.connections_per_host)
    return {name: fault for name, fault in answers.items() if fault is not None}


def _load(fleet: FleetConfig, bench: Workbench, page: bytes) -> None:
    try:
        bench.load(page)
    except psycopg.Error as error:  # the control database's fault, and not that of the shard whose page it is
        raise unavailable(fleet.control, error) from error
