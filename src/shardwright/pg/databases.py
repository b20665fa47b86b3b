"""Creates and drops whole databases, through the server's maintenance database."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, LiteralString

import psycopg
from psycopg import sql

from shardwright.dsn import DatabaseUrl
from shardwright.pg.connect import connect
from shardwright.pg.queries import load

MAINTENANCE = "postgres"
# Settings that are lists of names: given as one string they would become one name.
_LISTS = frozenset({"search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries"})
_LIST_ENTRY = re.compile(r'"((?:[^"]|"")*)"|([^\s,]+)')
_LOCALE_OPTIONS: Mapping[str, LiteralString] = {"icu": "ICU_LOCALE", "builtin": "BUILTIN_LOCALE"}
_queries = load(__package__)


@dataclass(frozen=True)
class Nature:
    """What a database was made with, and what is set for it: for all (None), or for a role in it.

    `locale` only where it is not of the operating system's (`provider` libc); `owner` None: whoever makes it.
    """

    owner: str | None
    encoding: str
    collate: str
    ctype: str
    provider: Literal["libc", "icu", "builtin"]
    locale: str | None
    settings: tuple[tuple[str | None, str], ...] = ()


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


def make_read_only(url: DatabaseUrl, *, application_name: str) -> list[str]:
    """New sessions of the database of `url` only read, unless they say otherwise; the others are ended.

    Gives those that could not be ended, in words. Raises psycopg.Error.
    """
    with connect(url.with_database(MAINTENANCE), application_name=application_name) as admin:
        name = sql.Identifier(url.database)
        admin.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
        left = []
        for pid, who in admin.execute(_queries["sessions_of"], {"database": url.database}).fetchall():
            try:
                admin.execute("SELECT pg_catalog.pg_terminate_backend(%s)", [pid])
            except psycopg.errors.InsufficientPrivilege:
                left.append(f"pid {pid} ({who})")
        return left


def nature(url: DatabaseUrl, *, application_name: str) -> Nature | None:
    """What the database of `url` was made with; None where it is not there. Raises psycopg.Error."""
    with connect(url.with_database(MAINTENANCE), application_name=application_name) as admin:
        return _nature(admin, url.database)


def recreate(url: DatabaseUrl, *, application_name: str) -> None:
    """The database of `url` is new and empty, with the owner, encoding, locale and settings it had before.

    Sessions that used it are ended. Raises psycopg.Error; a failure between the two leaves no database, and
    the next call makes it.
    """
    with connect(url.with_database(MAINTENANCE), application_name=application_name) as admin:
        name = sql.Identifier(url.database)
        before = _nature(admin, url.database)
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        admin.execute(_create_like(name, before) if before else sql.SQL("CREATE DATABASE {}").format(name))
        for role, setting in before.settings if before else ():
            admin.execute(_setting_again(name, role, setting))


def copy(source: DatabaseUrl, target: DatabaseUrl, *, application_name: str) -> None:
    """The database of `target` is what `source`'s is, on the same server; what was there before is gone.

    Sessions of `target` are ended; in `source` nobody may be. Raises psycopg.Error.
    """
    with connect(target.with_database(MAINTENANCE), application_name=application_name) as admin:
        name = sql.Identifier(target.database)
        like = _nature(admin, source.database)
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        # The files and not the rows: half the time where the files are small.
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        admin.execute(statement.format(name, sql.Identifier(source.database)))
        for role, setting in like.settings if like else ():
            admin.execute(_setting_again(name, role, setting))


def create_like(url: DatabaseUrl, like: Nature, *, mark: str, application_name: str) -> bool:
    """The database of `url` is there; whether it was made by this call, as `like` and with `mark` as its comment.

    It comes by its name only once all of this is done, so that one that was made is known by its mark whatever was
    killed. Raises psycopg.Error.
    """
    with connect(url.with_database(MAINTENANCE), application_name=application_name) as admin:
        if admin.execute(_queries["database"], {"database": url.database}).fetchone():
            return False
        unfinished = sql.Identifier(_unfinished(url))
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(unfinished))
        make_like(admin, unfinished, like)
        admin.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(unfinished, sql.Literal(mark)))
        final = sql.Identifier(url.database)
        admin.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(unfinished, final))
        return True


def make_like(admin: psycopg.Connection[Any], name: sql.Identifier, like: Nature) -> None:
    """A new database of that name, made as `like` was. Raises psycopg.Error.

    Owner and settings of roles for which whoever makes it can't act, or which this server does not have, are left out.
    """
    roles = roles_of(admin)
    admin.execute(_create_like(name, like if like.owner in roles else replace(like, owner=None)))
    for role, setting in like.settings:
        if role is None or role in roles:
            with suppress(psycopg.errors.InsufficientPrivilege):
                admin.execute(_setting_again(name, role, setting))


def roles_of(admin: psycopg.Connection[Any]) -> set[str]:
    """The roles of the server for which this session's can act, itself included. Raises psycopg.Error."""
    return {role for (role,) in admin.execute(_queries["roles"])}


def mark_of(url: DatabaseUrl, *, application_name: str) -> str | None:
    """The comment of the database of `url`; None where it has none, or is not there. Raises psycopg.Error."""
    with connect(url.with_database(MAINTENANCE), application_name=application_name) as admin:
        row = admin.execute(_queries["database_comment"], {"database": url.database}).fetchone()
        return row[0] if row else None


def unmark(url: DatabaseUrl, *, application_name: str) -> None:
    """The database of `url` has no comment. Raises psycopg.Error."""
    with connect(url.with_database(MAINTENANCE), application_name=application_name) as admin:
        admin.execute(sql.SQL("COMMENT ON DATABASE {} IS NULL").format(sql.Identifier(url.database)))


def drop_unfinished(url: DatabaseUrl, *, application_name: str) -> None:
    """What a killed `create_like` has left is gone. Raises psycopg.Error."""
    drop(url.with_database(_unfinished(url)), application_name=application_name)


def _unfinished(url: DatabaseUrl) -> str:
    return f"shardwright_new_{zlib.crc32(url.database.encode()):08x}"


def _nature(admin: psycopg.Connection[Any], database: str) -> Nature | None:
    found = admin.execute(_queries["database"], {"database": database}).fetchone()
    settings = admin.execute(_queries["database_settings"], {"database": database}).fetchall()
    if found is None:
        return None
    return replace(Nature(*found), settings=tuple((role, setting) for role, setting in settings))


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


def _create_like(name: sql.Identifier, like: Nature) -> sql.Composed:
    parts = [sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(name)]
    options = {
        "OWNER": sql.Identifier(like.owner) if like.owner else None,
        "ENCODING": sql.Literal(like.encoding),
        "LC_COLLATE": sql.Literal(like.collate),
        "LC_CTYPE": sql.Literal(like.ctype),
        "LOCALE_PROVIDER": sql.SQL(like.provider),
        _LOCALE_OPTIONS.get(like.provider, ""): sql.Literal(like.locale) if like.locale else None,
    }
    parts += [sql.SQL("{} {}").format(sql.SQL(key), value) for key, value in options.items() if key and value]
    return sql.SQL(" ").join(parts)
