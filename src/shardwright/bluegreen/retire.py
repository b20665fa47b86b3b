"""What becomes of the blue shards once a change is finished: archived, and dropped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shardwright import errors
from shardwright.bluegreen.sets import NAME
from shardwright.bluegreen.shard_sets.archive import Archive, archive, require_able
from shardwright.bluegreen.shard_sets.drop import drop
from shardwright.bluegreen.status import ChangeStatus
from shardwright.catalog.control import open_control
from shardwright.config import FleetConfig
from shardwright.shard import Shard


def blue_of(fleet: FleetConfig, status: ChangeStatus) -> Sequence[Shard]:
    """The blue shards of that change. Raises ShardsGone."""
    known = {shard.name: shard for shard in fleet.every}
    names = [str(name) for name in status.run.plan["blue"]]
    if missing := [name for name in names if name not in known]:
        raise errors.ShardsGone(run=status.run.id, shards=", ".join(missing), file=str(fleet.config.file))
    return [known[name] for name in names]


def require_archivable(fleet: FleetConfig, status: ChangeStatus) -> None:
    """Raises NotArchived, EmbeddedError where blue could not be archived; changes nothing."""
    for shard in blue_of(fleet, status):
        require_able(shard)


def archive_blue(fleet: FleetConfig, status: ChangeStatus, folder: Path) -> list[Archive]:
    """`folder` has an archive of each blue shard. Raises ChangeNotThere before the end, NotArchived, FileInTheWay."""
    _require_done(status, "archive")
    return [archive(shard, folder) for shard in blue_of(fleet, status)]


def drop_blue(fleet: FleetConfig, status: ChangeStatus, folder: Path | None) -> list[str]:
    """The databases of the blue shards are gone; gives the names of those that were there.

    `folder` has their archives; None: without any. Raises ChangeNotThere before the end, NotDropped.
    """
    _require_done(status, "drop")
    blue = blue_of(fleet, status)
    names = {shard.name for shard in blue}
    spare = [fleet.control, *(shard.url for shard in fleet.every if shard.name not in names)]
    with open_control(fleet.control, application_name=NAME) as control:
        return [
            shard.name
            for shard in blue
            if drop(shard, control, fleet.shard_set, folder=folder, without_archive=folder is None, spare=spare)
        ]


def _require_done(status: ChangeStatus, asked: str) -> None:
    if status.change.phase != "done":
        raise errors.ChangeNotThere(asked=asked, run=status.run.id, phase=status.change.phase)
