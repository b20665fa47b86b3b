"""Opens the control database, its schema created or upgraded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, LiteralString

import psycopg
from psycopg.sql import SQL

from shardwright import errors
from shardwright.dsn import DatabaseUrl
from shardwright.pg.connect import connect
from shardwright.pg.faults import explain
from shardwright.pg.locks import CLASS
from shardwright.pg.queries import load

SCHEMA_LOCK = 2
_queries = load(__package__)


@dataclass(frozen=True)
class Version:
    """One numbered file of the control schema."""

    number: int
    name: str
    statements: LiteralString


def versions() -> list[Version]:
    """The numbered SQL files in their order."""
    folder = files(f"{__package__}.schema")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [
        Version(
            int(name.split("_")[0]),
            name.removesuffix(".sql"),
            folder.joinpath(name).read_text("utf-8"),
        )
        for name in names
    ]


@contextmanager
def open_control(url: DatabaseUrl, *, application_name: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the control database in autocommit, its schema at this version of the tool.

    Raises ControlUnavailable where it can't be reached or written, ControlTooNew where a newer version of the
    tool has upgraded it.
    """
    try:
        connection = connect(url, application_name=application_name)
    except psycopg.Error as error:
        raise errors.ControlUnavailable(url=url.redacted, reason=explain(error).reason) from error
    with connection:
        try:
            upgrade(connection)
        except psycopg.Error as error:
            raise errors.ControlUnavailable(url=url.redacted, reason=explain(error).reason) from error
        yield connection


def upgrade(connection: psycopg.Connection[Any]) -> int:
    """The control schema is at this version of the tool; the number of files that had to be applied.

    All in one transaction under a lock, so that of two tools started at once one upgrades it.
    Raises ControlTooNew.
    """
    wanted = versions()
    present = _present(connection)
    if present == wanted[-1].number:
        return 0
    if present > wanted[-1].number:
        raise errors.ControlTooNew(present=present, known=wanted[-1].number)
    with connection.transaction():
        connection.execute(_queries["lock_schema"], {"class": CLASS, "key": SCHEMA_LOCK})
        if not _has_schema(connection):
            connection.execute(_queries["create_version_table"])
        present = _present(connection)
        missing = [version for version in wanted if version.number > present]
        for version in missing:
            connection.execute(SQL(version.statements))
            connection.execute(_queries["record_version"], {"version": version.number, "name": version.name})
    return len(missing)


def _has_schema(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute(_queries["schema_exists"]).fetchone()
    return bool(row and row[0])


def _present(connection: psycopg.Connection[Any]) -> int:
    if not _has_schema(connection):
        return 0
    row = connection.execute(_queries["schema_version"]).fetchone()
    return int(row[0]) if row else 0
