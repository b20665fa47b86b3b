"""Scratch databases: a copy of a shard's schema to try things on, made on the control database's server."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import psycopg
from psycopg import sql

from shardwright.dsn import DatabaseUrl
from shardwright.embedded import find_binaries
from shardwright.errors import EmbeddedError
from shardwright.pg import prepared
from shardwright.pg.connect import connect
from shardwright.pg.databases import MAINTENANCE, Nature, drop, make_like
from shardwright.pg.faults import explain
from shardwright.pg.programs import ProgramFailed, run_on
from shardwright.pg.queries import load

_PREFIX = "shardwright_scratch"
_NAME = "shardwright scratch"
_STALE_AFTER = 6 * 3600
_queries = load(__package__)
Fill = Callable[[DatabaseUrl], object]


class NoScratch(Exception):
    """No scratch copy could be made; the text says why."""


@contextmanager
def scratch_copy(
    source: DatabaseUrl, server: DatabaseUrl, version_table: str, *, fill: Fill | None = None
) -> Iterator[DatabaseUrl]:
    """A database on the server of `server` with the schema of `source` and its version rows; gone afterwards.

    `fill` puts rows into it while it has no indexes, foreign keys and triggers yet: these are made, and materialized
    views are filled, afterwards. Raises NoScratch where the role may not create databases, or pg_dump is missing or
    older than the server; and what `fill` raises.
    """
    with scratch_database(server) as url:
        if fill is None:
            _copy_schema(source, url, "--schema-only")
        else:
            _copy_schema(source, url, "--section=pre-data")
            fill(url)
            _copy_schema(source, url, "--section=post-data", "--no-blobs")
        _copy_versions(source, url, version_table)
        yield url


@contextmanager
def scratch_database(
    server: DatabaseUrl, *, template: str = "template0", like: Nature | None = None
) -> Iterator[DatabaseUrl]:
    """An empty database, made as `like` where given, or a copy of `template`, on the server of `server`; gone
    afterwards. Raises NoScratch."""
    name = f"{_PREFIX}_{int(time.time())}_{secrets.token_hex(4)}"
    url = replace(server.with_database(name), driver=None)
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    try:
        with connect(server.with_database(MAINTENANCE), application_name=_NAME) as admin:
            _drop_stale(admin, server)
            if like is None:
                admin.execute(statement)
            else:
                make_like(admin, sql.Identifier(name), like)
    except psycopg.Error as error:
        raise NoScratch(f"no scratch database on {server.address}: {explain(error).reason}") from error
    try:
        yield url
    finally:
        _discard(url)


def _discard(url: DatabaseUrl) -> None:
    """The database is gone, and what a trial that was killed has left prepared in it."""
    with connect(url, application_name=_NAME) as connection:
        for name in prepared.names(connection):
            prepared.finish(connection, name, commit=False)
    drop(url, application_name=_NAME)


def _drop_stale(admin: psycopg.Connection[tuple[str, ...]], server: DatabaseUrl) -> None:
    """What a killed run left behind: hours old, and nobody is connected."""
    oldest = f"{_PREFIX}_{int(time.time()) - _STALE_AFTER}"
    for (name,) in admin.execute(_queries["stale_databases"], {"prefix": f"{_PREFIX}_%", "oldest": oldest}).fetchall():
        with suppress(psycopg.Error):  # another rollout is at it
            _discard(replace(server.with_database(name), driver=None))


def _copy_schema(source: DatabaseUrl, target: DatabaseUrl, *what: str) -> None:
    try:
        folder = find_binaries().bin
    except EmbeddedError as error:
        raise NoScratch(f"pg_dump was not found: {error.hint}") from error
    dump = _run(
        [str(folder / "pg_dump"), *what, "--no-owner", "--no-privileges", "--exclude-schema=shardwright"],
        source,
        "",
    )
    _run([str(folder / "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"], target, dump)


def _run(command: list[str], url: DatabaseUrl, text: str) -> str:
    try:
        return run_on(url, command, text=text)
    except ProgramFailed as error:
        raise NoScratch(str(error)) from error


def _copy_versions(source: DatabaseUrl, target: DatabaseUrl, version_table: str) -> None:
    table = sql.Identifier(*version_table.split("."))
    with connect(source, application_name=_NAME) as reading, connect(target, application_name=_NAME) as writing:
        try:
            rows = reading.execute(sql.SQL("SELECT version_num FROM {}").format(table)).fetchall()
        except psycopg.errors.UndefinedTable:
            return
        for row in rows:
            writing.execute(sql.SQL("INSERT INTO {} VALUES (%s)").format(table), row)
