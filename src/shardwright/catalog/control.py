"""Opens the control database: to act, its schema created or upgraded; or to read, as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
# A server that ended an idle session would give the set's lock away in the middle of a long rollout; and a ledger
# that somebody has locked may not stall the rollout, with its time limits, for ever.
# And a process that is stopped in the middle of a transaction may not keep the others waiting.
PATIENT = {
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "10s",
    "statement_timeout": "60s",
}
READ_ONLY = {"default_transaction_read_only": "on"}
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
    """A connection to the control database in autocommit, its schema at this version of the tool: for whoever acts.

    Raises ControlUnavailable where it can't be reached or written, then or within the block, ControlTooNew where a
    newer version of the tool has upgraded it.
    """
    with _connected(url, application_name) as connection:
        upgrade(connection)
        yield connection


@contextmanager
def read_control(
    url: DatabaseUrl, *, application_name: str, since: int | None = None
) -> Iterator[psycopg.Connection[Any] | None]:
    """A connection that can only read; None where the schema was never made. For whoever asks: nothing is changed.

    With `since`, any version of the schema from that file on will do: applications outlive versions of the tool.
    Raises ControlUnavailable as `open_control` does, ControlTooNew, ControlTooOld.
    """
    with _connected(url, application_name, READ_ONLY) as connection:
        yield connection if _is_made(connection, since) else None


@contextmanager
def beside_control(
    url: DatabaseUrl, *, application_name: str, since: int | None = None
) -> Iterator[tuple[psycopg.Connection[Any], bool]]:
    """A connection that may write, and whether the schema was ever made, which is left as it is.

    For whoever asks by temporary tables, and for who watches: an upgrade would stop workers of an older version.
    Raises what `read_control` raises.
    """
    with _connected(url, application_name) as connection:
        yield connection, _is_made(connection, since)


def _is_made(connection: psycopg.Connection[Any], since: int | None = None) -> bool:
    present, known = version(connection), versions()[-1].number
    if since is None:
        _refuse_newer(present)
    if 0 < present < (since or known):
        raise errors.ControlTooOld(present=present, known=since or known)
    return bool(present)


@contextmanager
def _connected(
    url: DatabaseUrl, application_name: str, settings: Mapping[str, str] | None = None
) -> Iterator[psycopg.Connection[Any]]:
    """What the database answers with an error is, to the caller, a control database that is not available."""
    try:
        with connect(url, application_name=application_name, settings={**PATIENT, **(settings or {})}) as connection:
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            yield connection
    except psycopg.Error as error:
        raise unavailable(url, error) from error


def unavailable(url: DatabaseUrl, error: psycopg.Error) -> errors.ControlUnavailable:
    """`error`, of the control database at `url`, in words and with what helps."""
    fault = explain(error)
    hint = fault.hint.replace("this shard's URL", "fleet.control")
    return errors.ControlUnavailable(url=url.redacted, reason=fault.reason, **({"help": hint} if hint else {}))


def upgrade(connection: psycopg.Connection[Any]) -> int:
    """The control schema is at this version of the tool; the number of files that had to be applied.

    All in one transaction under a lock, so that of two tools started at once one upgrades it.
    Raises ControlTooNew.
    """
    wanted = versions()
    present = version(connection)
    _refuse_newer(present)
    if present == wanted[-1].number:
        return 0
    with connection.transaction():
        connection.execute(_queries["wait_for_schema_lock"])
        connection.execute(_queries["lock_schema"], {"class": CLASS, "key": SCHEMA_LOCK})
        if not _has_schema(connection):
            connection.execute(_queries["create_version_table"])
        present = version(connection)
        missing = [each for each in wanted if each.number > present]
        for each in missing:
            connection.execute(SQL(each.statements))
            connection.execute(_queries["record_version"], {"version": each.number, "name": each.name})
    return len(missing)


def version(connection: psycopg.Connection[Any]) -> int:
    """The number of the newest file that was applied; 0 where the schema was never made."""
    if not _has_schema(connection):
        return 0
    row = connection.execute(_queries["schema_version"]).fetchone()
    return int(row[0]) if row else 0


def _refuse_newer(present: int) -> None:
    known = versions()[-1].number
    if present > known:
        raise errors.ControlTooNew(present=present, known=known)


def _has_schema(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute(_queries["schema_exists"]).fetchone()
    return bool(row and row[0])
