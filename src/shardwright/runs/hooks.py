"""What happens on every SQLAlchemy connection that user code opens in a worker."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from shardwright.pg.indexes import waits_without_harm
from shardwright.runs.session import ShardSession

_READS = re.compile(r"^\s*(SELECT|SHOW|SET|RESET|BEGIN|COMMIT|ROLLBACK|EXPLAIN)\b", re.IGNORECASE)


class Hooks:
    """Our name and time-outs on every connection, an end to cancelled work, care for CONCURRENTLY.

    Installed once per process; `session` is the shard in hand, or None between two.
    """

    def __init__(self) -> None:
        self.session: ShardSession | None = None
        self._engines: WeakSet[Engine] = WeakSet()
        event.listen(Engine, "do_connect", self._connect)
        event.listen(Engine, "engine_connect", self._note_engine)
        event.listen(Engine, "before_cursor_execute", self._before)
        event.listen(Engine, "after_cursor_execute", self._after)
        event.listen(Engine, "commit", self._commit)
        event.listen(Engine, "rollback", self._rollback)

    @contextmanager
    def serving(self, session: ShardSession) -> Iterator[None]:
        """`session` is the one in hand within; afterwards no connection is left that user code has kept."""
        self.session = session
        try:
            yield
        finally:
            self.session = None
            for engine in list(self._engines):
                if not engine.dialect.is_async:  # those can only be closed by the loop they were opened in
                    engine.dispose()
            session.end_leftovers()

    def _note_engine(self, connection: Connection) -> None:
        self._engines.add(connection.engine)

    def _connect(self, dialect: Any, record: Any, arguments: Any, keywords: dict[str, Any]) -> None:
        del record, arguments
        if self.session is None:
            return
        for name, value in self.session.connection_arguments(dialect.driver).items():
            present = keywords.get(name)
            if isinstance(value, dict):
                keywords[name] = {**(present or {}), **value}
            elif name == "options" and present:
                keywords[name] = f"{present} {value}"
            else:
                keywords[name] = value
        for name, value in self.session.connection_defaults(dialect.driver).items():
            keywords.setdefault(name, value)

    def _before(
        self, connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        del parameters, context, many
        if self.session is None:
            return
        self.session.raise_if_cancelled()
        if waits_without_harm(statement):
            cursor.execute("SHOW search_path")
            self.session.drop_leftover(statement, search_path=cursor.fetchone()[0])
            cursor.execute("SET lock_timeout = 0")
            connection.info["shardwright_waits"] = True

    def _after(
        self, connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        del parameters, context, many
        if self.session is None:
            return
        if connection.info.pop("shardwright_waits", False):
            cursor.execute("RESET lock_timeout")
        if _READS.match(statement) is None:
            self._note_write(connection)

    def _note_write(self, connection: Connection) -> None:
        if getattr(connection.connection.dbapi_connection, "autocommit", False):
            self._mark_committed()
        else:
            connection.info["shardwright_wrote"] = True

    def _commit(self, connection: Connection) -> None:
        if self.session is not None and self.session.before_commit is not None:
            self.session.before_commit(connection)
        if connection.info.pop("shardwright_wrote", False):
            self._mark_committed()

    def _rollback(self, connection: Connection) -> None:
        if not connection.invalidated:  # its server is gone: asking would hide the error that tells so
            connection.info.pop("shardwright_wrote", None)

    def _mark_committed(self) -> None:
        if self.session is not None:
            self.session.committed = True
