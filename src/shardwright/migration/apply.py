"""In a worker process: runs one shard's revisions through the user's own env.py, and checks what came of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from sqlalchemy import create_engine, pool, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from shardwright.dsn import DatabaseUrl
from shardwright.migration.drivers import driver_for, sync_driver_for
from shardwright.migration.history import History, ScriptLocation, State
from shardwright.migration.send import require_unmoved, send_all
from shardwright.migration.versions import read_afresh, read_state
from shardwright.pg import prepared
from shardwright.runs.results import revisions_text
from shardwright.runs.session import ShardProblem, ShardSession

Choose = Callable[[History, State], Iterable[RevisionStep]]


def upgrade(session: ShardSession) -> Mapping[str, Any]:
    """The shard is at the payload's `target`; gives its state before and after, as read, not as reported."""
    target = session.payload["target"]
    return _run(session, lambda history, state: history.upgrade(state, target))


def upgrade_over(session: ShardSession) -> Mapping[str, Any]:
    """The shard has gone up over exactly the payload's `steps`; gives what `upgrade` gives."""
    return _run(session, _exactly(session.payload["steps"]))


def mixed(session: ShardSession) -> Mapping[str, Any]:
    """The shard has gone through the payload's `segments` in order: some are sent, the others run online."""
    location: ScriptLocation = session.payload["location"]
    history = _history(location)
    session.facts["before"] = before = read_state(session.watch, location.version_table)
    require_unmoved(before, session.payload["before"])
    try:
        for segment in session.payload["segments"]:
            if segment.renderings:
                send_all(session, segment.renderings)
            else:
                _run_env(session, history, _exactly(segment.revisions))
    finally:
        session.facts["after"] = read_afresh(session, location.version_table)
    return session.facts


def _exactly(revisions: Sequence[str]) -> Choose:
    return lambda history, _: history.steps(revisions)


def prepare(session: ShardSession) -> Mapping[str, Any]:
    """The payload's `steps` stand in one prepared transaction named `transaction`; none of it is visible yet.

    User code commits as it always does: what it commits last, with the version rows as they are to be, is prepared
    instead. Raises ShardProblem where it commits anything before that.
    """
    location: ScriptLocation = session.payload["location"]
    history = _history(location)
    require_unmoved(read_state(session.watch, location.version_table), session.payload["before"])
    session.before_commit = preparing = _Preparing(session)
    _run_env(session, history, preparing.steps)
    if not preparing.is_done:
        raise ShardProblem(
            "Alembic reported success, but nothing was committed",
            "look for a statement that env.py executes before context.configure() and does not commit",
        )
    return session.facts


class _Preparing:
    """Turns the commit that ends a migration into PREPARE TRANSACTION, and refuses those in its middle."""

    def __init__(self, session: ShardSession) -> None:
        self.is_done = False
        self._has_begun = False
        self._session = session

    def steps(self, history: History, _: State) -> Iterator[RevisionStep]:
        """The payload's steps; before the first of them env.py may commit as it likes."""
        self._has_begun = True
        self._session.facts["since"] = time.monotonic()
        yield from history.steps(self._session.payload["steps"])

    def __call__(self, connection: Connection) -> None:
        if self.is_done or not self._has_begun:
            return
        if self._is_complete(connection):
            self._session.place = "PREPARE TRANSACTION"
            connection.exec_driver_sql(prepared.prepare(self._session.payload["transaction"]).as_string())
            self.is_done = True
            self._session.place = None
            return
        raise ShardProblem(
            f"{self._session.place or 'env.py'} commits before the end",
            "autocommit_block and transaction_per_migration can't be all shards or none: migrate without --atomic",
        )

    def _is_complete(self, connection: Connection) -> bool:
        """Whether this transaction has brought the version rows to where they are to be."""
        table = ".".join(_quoted(part) for part in self._session.payload["location"].version_table.split("."))
        try:
            rows = connection.exec_driver_sql(f"SELECT version_num FROM {table}").fetchall()  # noqa: S608 quoted
        except DBAPIError:
            return False  # a connection of user code's own, which sees nothing of this migration yet
        return bool(tuple(sorted(row[0] for row in rows)) == self._session.payload["after"])


def return_to(session: ShardSession) -> Mapping[str, Any]:
    """The shard is back at exactly the payload's `state`, its own recorded one."""
    earlier = tuple(session.payload["state"])
    return _run(session, lambda history, state: history.return_to(state, earlier))


@cache
def _history(location: ScriptLocation) -> History:
    """Loaded once per worker: with a hundred revisions loading costs more than a small migration."""
    os.chdir(location.project)
    return History(location)


def _run(session: ShardSession, choose: Choose) -> Mapping[str, Any]:
    location: ScriptLocation = session.payload["location"]
    history = _history(location)
    session.facts["before"] = before = read_state(session.watch, location.version_table)
    wanted = history.after(before, choose(history, before))
    try:
        if wanted != before:
            _run_env(session, history, choose)
    finally:
        session.facts["after"] = after = read_afresh(session, location.version_table)
    if after is None or history.ancestry(after) != history.ancestry(wanted):
        raise _not_there(after)
    return session.facts


def _not_there(after: State | None) -> ShardProblem:
    if after is None:
        return ShardProblem("it could not be read after the migration")
    return ShardProblem(
        f"Alembic reported success, but the shard is at {revisions_text(after)}",
        "look for a statement that env.py executes before context.configure() and does not commit",
    )


def _run_env(session: ShardSession, history: History, choose: Choose) -> None:
    config = history.location.alembic_config()
    url = session.shard.url
    driver = driver_for(url, config.get_main_option("sqlalchemy.url"))
    config.set_main_option("sqlalchemy.url", url.sqlalchemy(driver).replace("%", "%%"))
    with _LazyConnection(replace(url, driver=driver)) as lazy:
        config.attributes = _Attributes(lazy, shard=session.shard.name)
        with _environment(config, session, history, choose):
            history.script.run_env()


def _environment(config: Config, session: ShardSession, history: History, choose: Choose) -> EnvironmentContext:
    """Alembic's environment for one shard: takes a connection to no other database, and follows the revisions."""

    def steps(state: State, context: MigrationContext) -> Iterator[RevisionStep]:
        _require_version_table(session, history.location, context)
        for step in choose(history, state):
            session.place = _describe(step)
            session.report(session.place)
            yield step
        session.place = None

    destination = session.payload.get("target", session.payload.get("state"))
    environment = EnvironmentContext(config, history.script, fn=steps, starting_rev=None, destination_rev=destination)
    configure = environment.configure

    def configure_here(*arguments: Any, **keywords: Any) -> None:
        configure(*arguments, **keywords)
        _require_here(session, environment.get_context())

    # The functions of `alembic.context` call this very object, so no subclass is needed (nor would one be called).
    environment.configure = configure_here  # type: ignore[method-assign]
    return environment


def _describe(step: RevisionStep) -> str:
    script = step.revision
    return f"{'upgrade' if step.is_upgrade else 'downgrade'} {script.revision} ({Path(script.path).name})"


def _require_here(session: ShardSession, context: MigrationContext) -> None:
    """env.py may have opened anything; before Alembic writes a word, the shard itself confirms that it is there."""
    connection = context.connection
    assert connection is not None  # noqa: S101 online
    begun_before = connection.in_transaction()
    pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    if not begun_before:
        connection.rollback()  # env.py may want to begin by itself
    session.require_here(pid)


_SCHEMA_OF_TABLE = """
    SELECT coalesce(
        (SELECT space.nspname
         FROM pg_catalog.pg_class AS class
         JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
         WHERE class.oid = pg_catalog.to_regclass({table})),
        pg_catalog.current_schema())
"""


def _require_version_table(session: ShardSession, location: ScriptLocation, context: MigrationContext) -> None:
    """Raises ShardProblem where env.py, or the search_path it sets, keeps the revisions elsewhere than we read."""
    assert context.connection is not None  # noqa: S101 online
    schema, table = context.version_table_schema, context.version_table
    ask = text(_SCHEMA_OF_TABLE.format(table=":table"))
    found = context.connection.execute(ask, {"table": _quoted(schema, table)}).scalar(), table
    if found != _home(session, *location.version_table.split(".")):
        name = table if found == _home(session, table) else f"{found[0]}.{table}"
        raise ShardProblem(
            f"env.py keeps its revisions in {name}, not in {location.version_table}",
            f'set version_table = "{name}" under [fleet] in shardwright.toml',
        )


def _home(session: ShardSession, *name: str) -> tuple[str | None, str]:
    """Schema and table that `name` means to our own sessions on the shard."""
    if len(name) == 1:
        row = session.watch.execute(_SCHEMA_OF_TABLE.format(table="%s"), [_quoted(*name)]).fetchone()
        return row[0] if row else None, name[0]
    return name[0], name[1]


def _quoted(*parts: str | None) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts if part)


class _LazyConnection:
    """A connection for an env.py that takes `config.attributes["connection"]`, opened when it is asked for."""

    def __init__(self, url: DatabaseUrl) -> None:
        self._url = url
        self._connection: Connection | None = None

    def __enter__(self) -> _LazyConnection:
        return self

    def get(self) -> Connection:
        if self._connection is None:
            engine = create_engine(self._url.sqlalchemy(sync_driver_for(self._url)), poolclass=pool.NullPool)
            self._connection = connection = engine.connect()
            # Some env.py take a connection here, others an engine and call connect() on it: both are served.
            connection.connect = lambda: nullcontext(connection)  # type: ignore[attr-defined]
        return self._connection

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()


class _Attributes(dict[str, Any]):
    """`config.attributes`, whose "connection" is opened only for an env.py that asks for it."""

    def __init__(self, lazy: _LazyConnection, **values: Any) -> None:
        super().__init__(values)
        self._lazy = lazy

    def __missing__(self, key: str) -> Any:
        if key == "connection":
            return self._lazy.get()
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return key == "connection" or super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        return self._lazy.get() if key == "connection" else super().get(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        return self[key] if key == "connection" else super().pop(key, *default)
