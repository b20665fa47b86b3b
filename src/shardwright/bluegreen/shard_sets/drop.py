"""A shard's database dropped, where nothing needs it any more."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psycopg

from shardwright import errors
from shardwright.bluegreen.shard_sets.archive import archive_file, archived_database
from shardwright.catalog import placement
from shardwright.catalog.check import identity_of
from shardwright.dsn import DatabaseUrl
from shardwright.pg import databases, moving
from shardwright.pg.connect import connect
from shardwright.pg.faults import explain
from shardwright.pg.programs import ProgramFailed
from shardwright.shard import Shard

_NAME = "shardwright drop"
_OTHERWISE = "shardwright bluegreen finish --archive FOLDER; or without an archive: shardwright bluegreen finish --drop"


def drop(
    shard: Shard,
    control: psycopg.Connection[Any],
    shard_set: str,
    *,
    folder: Path | None,
    without_archive: bool = False,
    spare: Iterable[DatabaseUrl] = (),
) -> bool:
    """The shard's database is gone, its sessions ended; whether there was one.

    Only where the directory has no tenant on it, none is on the move there, it is none of `spare` by whatever address
    (give the control database and the shards that stay), and `folder` has its archive, unless `without_archive`.
    Raises NotDropped; psycopg.Error of the control database.
    """
    require_nobody(shard, control, shard_set)
    try:
        return _drop(shard, folder, without_archive=without_archive, spare=spare)
    except psycopg.Error as error:
        fault = explain(error)
        raise _kept(shard, fault.reason, fault.hint or "let the role that owns its database drop it") from error


def _drop(shard: Shard, folder: Path | None, *, without_archive: bool, spare: Iterable[DatabaseUrl]) -> bool:
    if not databases.is_there(shard.url, application_name=_NAME):
        return False
    with connect(shard.url, application_name=_NAME) as connection:
        if found := moving.moving(connection):
            raise _kept(shard, found.fact, found.command)
    own = identity_of(shard.url)
    if own is None or own in [identity_of(url) for url in spare]:
        reason = "it could not be told apart from others" if own is None else "another part of the fleet lives in it"
        raise _kept(shard, reason, "shardwright shards check")
    if not without_archive:
        _require_archive(shard, folder)
    databases.drop(shard.url, application_name=_NAME)
    return True


def require_nobody(shard: Shard, control: psycopg.Connection[Any], shard_set: str) -> None:
    """Raises NotDropped where the directory has a tenant on the shard."""
    if tenants := placement.loads(control, shard_set).get(shard.name, 0):
        them = "1 tenant is" if tenants == 1 else f"{tenants:,} tenants are"
        raise _kept(shard, f"{them} placed on it", f"shardwright tenants --shard {shard.name}")


def _require_archive(shard: Shard, folder: Path | None) -> None:
    if folder is None:
        raise _kept(shard, "no folder with its archive was named", _OTHERWISE)
    file = archive_file(shard, folder)
    try:
        found = archived_database(shard, folder)
    except ProgramFailed as error:
        raise _kept(shard, f"{file} is no archive: {error}", f"mv '{file}' '{file}.broken', then repeat") from error
    if found is None:
        raise _kept(shard, f"{file} is not there", _OTHERWISE)
    if found != shard.url.database:
        raise _kept(shard, f"{file} is the archive of database {found}", "name another folder")


def _kept(shard: Shard, reason: str, cure: str) -> errors.NotDropped:
    return errors.NotDropped(shard=shard.name, reason=reason, help=cure)
