"""One database that is brought back to its baseline, over a connection that is kept."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any
from weakref import WeakValueDictionary

import psycopg
from psycopg import sql

from shardwright.dsn import DatabaseUrl
from shardwright.pg import databases
from shardwright.pg.connect import connect
from shardwright.pg.queries import load
from shardwright.testing import baseline, cure
from shardwright.testing.baseline import FEW
from shardwright.testing.cure import Cure, Way

NAME = "shardwright testing"
_TRIES = 3
# Neither triggers nor foreign keys shall stop what takes all rows away, and nobody is waited for for long.
_SETTINGS = {
    "session_replication_role": "replica",
    "lock_timeout": "5s",
    "statement_timeout": "60s",
    "max_parallel_workers_per_gather": "0",  # the parts of the look come in their order
    "plan_cache_mode": "force_generic_plan",  # the look has many parts, and its plan never another shape
}
_queries = load(__package__)
_numbers = itertools.count()
_last: WeakValueDictionary[tuple[str, int, str], KeptDatabase] = WeakValueDictionary()


class KeptDatabase:
    """A database and the template it comes from; not for two threads at once. Methods raise psycopg.Error."""

    def __init__(self, url: DatabaseUrl, template: str, *, mine: bool, replaced: Callable[[], None]) -> None:
        self.url = url
        self._template = url.with_database(template)
        self._is_mine = mine
        self._replaced = replaced
        self._connection: psycopg.Connection[Any] | None = None
        with connect(self._template, application_name=NAME, settings=_SETTINGS) as connection:
            self._baseline = baseline.take(connection)
        self._apply(Cure("emptied", sequences=tuple(self._baseline.sequences.items())))
        _last[url.identity] = self

    @classmethod
    def with_template(cls, url: DatabaseUrl, *, replaced: Callable[[], None]) -> KeptDatabase:
        """With a template made of the database as it is; its sessions are ended for that."""
        template = f"shardwright_template_{os.getpid()}_{next(_numbers)}"
        end_sessions(url)
        replaced()
        databases.copy(url, url.with_database(template), application_name=NAME)
        return cls(url, template, mine=True, replaced=replaced)

    def restore(self) -> Way:
        """The database is as its baseline has it; says what that took."""
        if _last.get(self.url.identity) is not self:
            return self._copy()  # its rows are of another baseline's time: their age says nothing here
        way: Way = "untouched"
        for _ in range(_TRIES):
            needed = self._needed()
            if needed.way == "untouched":
                return way
            if needed.way == "copied":
                return self._copy()
            self._apply(needed)
            way = "emptied"
            if not self._baseline.stubborn:
                return way
        return self._copy()

    def roll_back(self, gid: str) -> None:
        """The transaction that was prepared there is undone."""
        self._open().execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid)))

    def close(self) -> None:
        """No connection is left; used again, it opens one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def drop_template(self) -> None:
        """The template is gone, where it was made for this."""
        self.close()
        if self._is_mine:
            databases.drop(self._template, application_name=NAME)

    def _open(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self.url, application_name=NAME, settings=_SETTINGS)
            baseline.prepare(self._connection, self._baseline)
            self._connection.execute(_queries["large"].format(few=sql.Literal(FEW)))
        return self._connection

    def _needed(self) -> Cure:
        try:
            return cure.decide(self._baseline, baseline.look(self._open(), self._baseline))
        except psycopg.OperationalError:
            self.close()
            if not databases.is_there(self.url, application_name=NAME):
                return cure.COPIED
            return cure.decide(self._baseline, baseline.look(self._open(), self._baseline))
        except psycopg.errors.UndefinedTable:
            return cure.COPIED

    def _apply(self, needed: Cure) -> None:
        """All in one round trip, unless a table has to be filled anew."""
        connection, tables = self._open(), needed.empty
        statements = [_emptying(*name) for name in tables]
        statements += [
            _queries["delete_new"].format(table=sql.Identifier(*name), mark=sql.Literal(str(self._baseline.mark)))
            for name in needed.trim
        ]
        statements += [baseline.set_back(name, position) for name, position in needed.sequences]
        if needed.refill:
            self._refill(connection, needed, statements)
            statements = []
        names = [sql.Identifier(*name).as_string() for name in tables]
        statements += [_queries["ask_large"].format(tables=sql.Literal(names))] if tables else []
        if statements:
            cursor = connection.execute(sql.SQL("; ").join(statements))
            while cursor.nextset():
                pass
            for (large,) in cursor.fetchall() if tables else ():  # its empty pages would be read at every look
                connection.execute(_queries["vacuum"].format(table=sql.Identifier(*tables[large - 1])))

    def _refill(self, connection: psycopg.Connection[Any], needed: Cure, first: list[sql.Composed]) -> None:
        with connection.transaction(), connection.cursor() as cursor:
            for statement in first:
                cursor.execute(statement)
            for table in needed.refill:
                name, columns = sql.Identifier(*table.name), sql.SQL(", ").join(map(sql.Identifier, table.columns))
                cursor.execute(_emptying(*table.name))
                with cursor.copy(_queries["give_rows"].format(table=name, columns=columns)) as copy:
                    copy.write(table.contents or b"")
        row = connection.execute(_queries["mark"]).fetchone()
        assert row is not None  # noqa: S101 a SELECT without FROM gives a row
        self._baseline = replace(self._baseline, mark=int(row[0]))

    def _copy(self) -> Way:
        self.close()
        databases.copy(self._template, self.url, application_name=NAME)
        _last[self.url.identity] = self
        self._replaced()
        return "copied"


@lru_cache
def _emptying(schema: str, table: str) -> sql.Composed:
    return _queries["delete_all"].format(table=sql.Identifier(schema, table))


def end_sessions(url: DatabaseUrl) -> None:
    """Nobody is connected to the database of `url`. Raises psycopg.Error."""
    with connect(url.with_database(databases.MAINTENANCE), application_name=NAME) as admin:
        while pids := admin.execute(_queries["sessions"], {"database": url.database}).fetchall():
            for (pid,) in pids:
                admin.execute(_queries["end_session"], {"pid": pid})
