"""The directory: which shard each tenant is on, since which epoch. No other module names its tables."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg

from shardwright import errors
from shardwright.pg.queries import load

CHANNEL = "shardwright_placement"  # every change is told here at its commit; schema/0006_placement.sql has the payload
SINCE = 6  # the file of the control schema that made the directory; whoever only reads it needs no newer one
LONGEST = 2000  # bytes of an id; an index holds no row of more than 2,700
_ALIKE, _NEAR, _CLOSE = 2, 500, 0.7  # letters that a mistyped id has right; ids looked at; their likeness
_queries = load(__package__, "placement.sql")

Policy = Literal["least_loaded", "modulo"]


@dataclass(frozen=True)
class Placement:
    """Where one tenant is; of two, the one with the higher epoch is the newer."""

    tenant: str
    shard: str
    epoch: int
    changed_at: datetime
    changed_by: str
    run: int | None

    def as_dict(self) -> dict[str, Any]:
        """The placement as `--json` prints it."""
        return {**vars(self), "changed_at": self.changed_at.isoformat()}


def require_id(tenant: str) -> None:
    """Raises BadTenantId where the directory can't hold `tenant`."""
    try:
        size = len(tenant.encode())
    except UnicodeEncodeError:
        raise errors.BadTenantId(tenant=tenant, why="it can't be written in UTF-8") from None
    if "\0" in tenant:
        raise errors.BadTenantId(tenant=tenant, why="it holds a NUL, which PostgreSQL's text can't")
    if size > LONGEST:
        raise errors.BadTenantId(tenant=f"{tenant[:40]}…", why=f"it has {size} bytes, and {LONGEST} is the most")


def moment(connection: psycopg.Connection[Any]) -> datetime:
    """Now, by the clock that `changed_at` is of."""
    row = connection.execute(_queries["moment"]).fetchone()
    assert row is not None  # noqa: S101 a SELECT without FROM gives a row
    return row[0]  # type: ignore[no-any-return]  # timestamptz


def find(connection: psycopg.Connection[Any], shard_set: str, tenant: str) -> Placement | None:
    """Where the directory has `tenant`; None where it has not. Raises BadTenantId."""
    require_id(tenant)
    row = connection.execute(_queries["locate"], {"shard_set": shard_set, "tenant": tenant}).fetchone()
    return Placement(*row) if row else None


def page(
    connection: psycopg.Connection[Any],
    shard_set: str,
    *,
    shard: str | None = None,
    search: str | None = None,
    after: str | None = None,
    limit: int,
) -> list[Placement]:
    """The next `limit` placements by id (byte by byte), of one shard or all, of ids that begin with `search`.

    Raises BadTenantId.
    """
    for text in filter(None, (search, after)):
        require_id(text)
    values = {"shard_set": shard_set, "shard": shard, "search": search, "after": after, "limit": limit}
    return [Placement(*row) for row in connection.execute(_queries["page"], values)]


def unknown(connection: psycopg.Connection[Any], shard_set: str, tenant: str) -> errors.NoSuchTenant:
    """The error for an id that the directory has not, with one that it has and that may have been meant."""
    beginnings = {tenant[:_ALIKE], tenant[:_ALIKE].lower()}
    near = [each.tenant for start in beginnings for each in page(connection, shard_set, search=start, limit=_NEAR)]
    spelt = {each.lower(): each for each in near}
    close = difflib.get_close_matches(tenant.lower(), spelt, n=1, cutoff=_CLOSE)
    return errors.NoSuchTenant(tenant=tenant, guess=f"; did you mean {spelt[close[0]]!r}?" if close else "")


def loads(connection: psycopg.Connection[Any], shard_set: str) -> dict[str, int]:
    """How many tenants each shard of the set has by the directory; a shard without any is not in it."""
    return dict(connection.execute(_queries["loads"], {"shard_set": shard_set}).fetchall())


def epochs(connection: psycopg.Connection[Any], shard_set: str, shards: Iterable[str]) -> dict[str, int]:
    """Every tenant that is placed on one of these shards, with the epoch of his placement."""
    values = {"shard_set": shard_set, "shards": list(shards)}
    return dict(connection.execute(_queries["epochs"], values).fetchall())


def is_any_on(connection: psycopg.Connection[Any], shard_set: str, shards: Iterable[str]) -> bool:
    """Whether any tenant is placed on one of these shards."""
    row = connection.execute(_queries["is_any_on"], {"shard_set": shard_set, "shards": list(shards)}).fetchone()
    return bool(row and row[0])


def choose(tenant: str, shards: Iterable[str], policy: Policy, load_of: Mapping[str, int]) -> str:
    """The shard that `policy` gives a new tenant: the one with the fewest, or its hash modulo the sorted names."""
    names = sorted(shards)
    if policy == "modulo":
        return names[stable_hash(tenant) % len(names)]
    return min(names, key=lambda name: load_of.get(name, 0))


def stable_hash(tenant: str) -> int:
    """The first eight bytes of SHA-256 over the id in UTF-8, as a big-endian number: the same everywhere, for ever."""
    return int.from_bytes(hashlib.sha256(tenant.encode()).digest()[:8], "big")


def place(
    connection: psycopg.Connection[Any], shard_set: str, tenant: str, shard: str, *, changed_by: str
) -> tuple[Placement, bool]:
    """`tenant` has a placement: on `shard`, or where somebody else has put it; whether it was put by this call.

    Raises BadTenantId.
    """
    require_id(tenant)
    values = {"shard_set": shard_set, "tenant": tenant, "shard": shard, "changed_by": changed_by}
    while True:  # until the other one, who was faster, is not gone again
        if row := connection.execute(_queries["place"], values).fetchone():
            return Placement(*row), True
        if present := find(connection, shard_set, tenant):
            return present, False


def move_placement(
    connection: psycopg.Connection[Any],
    shard_set: str,
    tenant: str,
    source: str,
    target: str,
    *,
    expected_epoch: int,
    changed_by: str,
    run: int | None = None,
) -> int:
    """`tenant` is on `target`; gives the new epoch. Within the caller's transaction, if there is one.

    Raises NoSuchTenant, and PlacementChanged where it is not on `source` since `expected_epoch`.
    """
    values = {
        "shard_set": shard_set,
        "tenant": tenant,
        "source": source,
        "target": target,
        "epoch": expected_epoch,
        "changed_by": changed_by,
        "run": run,
    }
    if row := connection.execute(_queries["move"], values).fetchone():
        return int(row[0])
    present = find(connection, shard_set, tenant)
    if present is None:
        raise errors.NoSuchTenant(tenant=tenant)
    expected = f"{source} since epoch {expected_epoch}"
    raise errors.PlacementChanged(tenant=tenant, shard=present.shard, epoch=present.epoch, expected=expected)


def copy_directory(connection: psycopg.Connection[Any], shard_set: str) -> None:
    """The session's temporary table `directory` holds what the directory says now."""
    connection.execute(_queries["copy_directory"], {"shard_set": shard_set})


def adopt(connection: psycopg.Connection[Any], shard_set: str, *, changed_by: str) -> int:
    """Tenants of the session's `difference` that have no placement have one; how many."""
    return _change(connection, "adopt", shard_set, changed_by)


def accept(
    connection: psycopg.Connection[Any], shard_set: str, *, of: Collection[str] | None = None, changed_by: str
) -> int:
    """Tenants that were found elsewhere, and have not changed since, are placed there; how many.

    With `of` only those who were placed on these shards.
    """
    return _change(connection, "accept", shard_set, changed_by, of)


def forget(connection: psycopg.Connection[Any], shard_set: str, *, of: Collection[str] | None = None) -> int:
    """Tenants that are on no shard, and have not changed since, have no placement; how many. `of` as for `accept`."""
    return _change(connection, "forget", shard_set, "", of)


def _change(
    connection: psycopg.Connection[Any],
    query: str,
    shard_set: str,
    changed_by: str,
    of: Collection[str] | None = None,
) -> int:
    values = {"shard_set": shard_set, "changed_by": changed_by, "of": None if of is None else list(of)}
    return connection.execute(_queries[query], values).rowcount
