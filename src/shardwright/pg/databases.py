"""Creates and drops whole databases, through the server's maintenance database."""

from __future__ import annotations

import re

import psycopg
from psycopg import sql

from shardwright.dsn import DatabaseUrl
from shardwright.pg.connect import connect
from shardwright.pg.queries import load

MAINTENANCE = "postgres"
# Settings that are lists of names: given as one string they would become one name.
_LISTS = frozenset({"search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries"})
_LIST_ENTRY = re.compile(r'"((?:[^"]|"")*)"|([^\s,]+)')
_queries = load(__package__)


def create_if_missing(url: DatabaseUrl, *, application_name: str) -> bool:
    """Makes sure that the database of `url` is there; whether it had to be created.

    Raises psycopg.Error where the server is away or the role may not create databases.
    """
    with connect(url.with_database(MAINTENANCE), application_name=application_name) as admin:
        if admin.execute(_queries["database"], {"database": url.database}).fetchone():
            return False
        try:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(url.database)))
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            return False  # somebody else was faster
        return True


def is_there(url: DatabaseUrl, *, application_name: str) -> bool:
    """Whether the server has the database of `url`. Raises psycopg.Error where the server is away."""
    with connect(url.with_database(MAINTENANCE), application_name=application_name) as admin:
        return admin.execute(_queries["database"], {"database": url.database}).fetchone() is not None


def drop(url: DatabaseUrl, *, application_name: str) -> None:
    """The database of `url` is gone, and the sessions that used it are ended. Raises psycopg.Error."""
    with connect(url.with_database(MAINTENANCE), application_name=application_name) as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(url.database)))


def recreate(url: DatabaseUrl, *, application_name: str) -> None:
    """The database of `url` is new and empty, with the owner, encoding, locale and settings it had before.

    Sessions that used it are ended. Raises psycopg.Error; a failure between the two leaves no database, and
    the next call makes it.
    """
    with connect(url.with_database(MAINTENANCE), application_name=application_name) as admin:
        name = sql.Identifier(url.database)
        before = admin.execute(_queries["database"], {"database": url.database}).fetchone()
        settings = admin.execute(_queries["database_settings"], {"database": url.database}).fetchall()
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        admin.execute(_create_like(name, before) if before else sql.SQL("CREATE DATABASE {}").format(name))
        for role, setting in settings:
            admin.execute(_setting_again(name, role, setting))


def _setting_again(name: sql.Identifier, role: str | None, setting: str) -> sql.Composed:
    """The ALTER that made `setting`, which is kept as `name=value`, for all or for one role."""
    key, _, value = setting.partition("=")
    values = [whole or bare for whole, bare in _LIST_ENTRY.findall(value)] if key in _LISTS else [value]
    return sql.SQL("ALTER {} SET {} = {}").format(
        sql.SQL("DATABASE {}").format(name)
        if role is None
        else sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(role), name),
        sql.Identifier(*key.split(".")),
        sql.SQL(", ").join(sql.Literal(entry.replace('""', '"')) for entry in values),
    )


def _create_like(name: sql.Identifier, before: tuple[str, str, str, str]) -> sql.Composed:
    owner, encoding, collate, ctype = before
    return sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}").format(
        name, sql.Identifier(owner), sql.Literal(encoding), sql.Literal(collate), sql.Literal(ctype)
    )
