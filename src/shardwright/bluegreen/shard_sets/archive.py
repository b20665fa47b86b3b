"""A shard's whole database as a file in a folder, from which it can be restored."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from shardwright import errors
from shardwright.embedded import find_binaries
from shardwright.pg.connect import connect
from shardwright.pg.faults import explain
from shardwright.pg.programs import ProgramFailed, run_on, run_plainly
from shardwright.shard import Shard

_NAME = "shardwright archive"
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_DATABASE = re.compile(r"^;\s+dbname: (.*)$", re.MULTILINE)
_BINARIES_HELP = "set SHARDWRIGHT_PG_BIN to the bin folder of PostgreSQL {version} or newer, then repeat"


@dataclass(frozen=True)
class Archive:
    """A whole database as `pg_restore` takes it; size in bytes."""

    shard: str
    file: Path
    size: int


@dataclass(frozen=True)
class _Programs:
    dump: Path
    restore: Path
    version: int


def archive(shard: Shard, folder: Path) -> Archive:
    """`folder/NAME.dump` holds all that the shard's database holds, readable by its owner alone.

    It is there whole or not at all: written beside, read back, flushed to disk, then renamed. An older archive of the
    same database gives place to it; another file does not. Writers do not wait, and what they write from now on is not
    in it. Restore: `createdb NAME && pg_restore --dbname=NAME FILE`. Raises NotArchived, FileInTheWay, EmbeddedError.
    """
    programs = _programs(shard)
    require_able(shard, programs=programs)
    file = archive_file(shard, folder)
    _require_no_other(file, shard, programs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _take_away_unfinished(file)
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".unfinished", dir=folder)
    except OSError as error:
        raise _no_room(shard, folder, error) from error
    os.close(handle)
    unfinished = Path(name)
    try:
        _dump(shard, unfinished, programs)
        unfinished.replace(file)
        _flush(folder)
    except OSError as error:
        raise _no_room(shard, folder, error) from error
    finally:
        unfinished.unlink(missing_ok=True)
    return Archive(shard.name, file, file.stat().st_size)


def archive_file(shard: Shard, folder: Path) -> Path:
    """Where `archive` puts it."""
    return folder / f"{shard.name}.dump"


def require_able(shard: Shard, *, programs: _Programs | None = None) -> None:
    """Raises NotArchived where `archive` can't read the shard, EmbeddedError where there is no pg_dump; changes
    nothing.
    """
    programs = programs or _programs(shard)
    try:
        with connect(shard.url, application_name=_NAME) as connection:
            server = connection.info.server_version // 10_000
    except psycopg.Error as error:
        fault = explain(error)
        raise errors.NotArchived(
            shard=shard.name, reason=fault.reason, help=fault.hint or "shardwright shards check"
        ) from error
    if programs.version < server:
        reason = f"{programs.dump} is of PostgreSQL {programs.version}, and its server is {server}"
        raise errors.NotArchived(shard=shard.name, reason=reason, help=_BINARIES_HELP.format(version=server))


def _no_room(shard: Shard, folder: Path, error: OSError) -> errors.NotArchived:
    reason = f"{folder} can't be written to: {error.strerror}"
    return errors.NotArchived(shard=shard.name, reason=reason, help=f"df -h '{folder}'; ls -ld '{folder}'")


def archived_database(shard: Shard, folder: Path) -> str | None:
    """The database that the archive is of, None where there is no archive. Raises ProgramFailed, EmbeddedError."""
    file = archive_file(shard, folder)
    return _database_in(file, _programs(shard)) if file.is_file() else None


def _programs(shard: Shard) -> _Programs:
    """Those beside the server that would be run locally, else those of PATH; what is named is not passed over."""
    try:
        folder = find_binaries().bin
    except errors.BinariesNotFound:
        on_path = shutil.which("pg_dump")
        if on_path is None:
            raise
        folder = Path(on_path).parent
    dump, restore = folder / "pg_dump", folder / "pg_restore"
    try:
        found = _VERSION.search(run_plainly([str(dump), "--version"]))
        run_plainly([str(restore), "--version"])
    except (OSError, ProgramFailed) as error:
        reason = f"pg_dump and pg_restore can't be run in {folder}: {error}"
        raise errors.NotArchived(shard=shard.name, reason=reason, help=_BINARIES_HELP.format(version=15)) from error
    return _Programs(dump, restore, int(found[1]) if found else 0)


def _dump(shard: Shard, file: Path, programs: _Programs) -> None:
    try:
        run_on(shard.url, [str(programs.dump), "--format=custom", "--lock-wait-timeout=60s", f"--file={file}"])
        _database_in(file, programs)  # read back
    except ProgramFailed as error:
        raise errors.NotArchived(shard=shard.name, reason=str(error), help="mend that, then repeat") from error
    _flush(file)


def _database_in(file: Path, programs: _Programs) -> str:
    """The name of the database that was archived. Raises ProgramFailed where it is no archive."""
    found = _DATABASE.search(run_plainly([str(programs.restore), "--list", str(file)]))
    return found[1].strip() if found else ""


def _require_no_other(file: Path, shard: Shard, programs: _Programs) -> None:
    if not file.exists():
        return
    try:
        same = _database_in(file, programs) == shard.url.database
    except ProgramFailed:
        same = False
    if not same:
        raise errors.FileInTheWay(path=str(file))


def _take_away_unfinished(file: Path) -> None:
    """What killed ones have left."""
    for left in _unfinished(file):
        left.unlink(missing_ok=True)


def _unfinished(file: Path) -> Sequence[Path]:
    start = f".{file.name}."
    names = (each for each in file.parent.iterdir() if each.name.startswith(start))
    return [each for each in names if each.suffix == ".unfinished"]


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
