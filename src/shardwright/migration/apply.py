"""In a worker process: runs one shard's revisions through the user's own env.py, and checks what came of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from sqlalchemy import create_engine, pool
from sqlalchemy.engine import Connection

from shardwright.dsn import DatabaseUrl
from shardwright.migration.drivers import driver_for, sync_driver_for
from shardwright.migration.history import History, ScriptLocation, State
from shardwright.migration.versions import read_state
from shardwright.runs.session import ShardSession

Choose = Callable[[History, State], list[RevisionStep]]


class NotThere(Exception):
    """Alembic reported success, but the shard is not at the revision that was asked for."""


def upgrade(session: ShardSession) -> Mapping[str, Any]:
    """The shard is at the payload's `target`; gives its state before and after, as read, not as reported."""
    target = session.payload["target"]
    return _run(session, lambda history, state: history.upgrade(state, target))


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
        session.facts["after"] = after = _read_afresh(session, location.version_table)
    if after is None or history.ancestry(after) != history.ancestry(wanted):
        raise NotThere(_why_not_there(after))
    return session.facts


def _why_not_there(after: State | None) -> str:
    if after is None:
        return "it could not be read after the migration"
    return (
        f"Alembic reported success, but the shard is still at {', '.join(after) or 'base'}: "
        "does env.py execute a statement before context.configure() without committing it?"
    )


def _read_afresh(session: ShardSession, version_table: str) -> State | None:
    """What the shard says on a new connection; None where it says nothing."""
    try:
        with session.connect() as connection:
            return read_state(connection, version_table)
    except Exception:  # noqa: BLE001 whatever it is, the state is not known; the first error tells more
        return None


def _run_env(session: ShardSession, history: History, choose: Choose) -> None:
    def steps(state: State, context: MigrationContext) -> list[RevisionStep]:
        _require_ours(session, history.location, context)
        return choose(history, state)

    config = history.location.alembic_config()
    url = session.shard.url
    driver = driver_for(url, config.get_main_option("sqlalchemy.url"))
    config.set_main_option("sqlalchemy.url", url.sqlalchemy(driver).replace("%", "%%"))
    with _following(session), _LazyConnection(url) as lazy:
        config.attributes = _Attributes(lazy, shard=session.shard.name)
        with EnvironmentContext(config, history.script, fn=steps, starting_rev=None):
            history.script.run_env()


def _require_ours(session: ShardSession, location: ScriptLocation, context: MigrationContext) -> None:
    """env.py may have opened anything; before a revision runs, the shard itself confirms that it is there."""
    assert context.connection is not None  # noqa: S101 online
    pid = context.connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    session.require_here(pid)
    schema = context.version_table_schema
    table = f"{schema}.{context.version_table}" if schema else context.version_table
    if table != location.version_table:
        raise WrongVersionTable(table, location.version_table)


class WrongVersionTable(Exception):
    """env.py keeps its revisions in another table than the configuration says."""

    def __init__(self, found: str, configured: str) -> None:
        super().__init__(
            f"env.py keeps its revisions in {found}, not in {configured}: "
            f'set version_table = "{found}" under [fleet] in shardwright.toml'
        )


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


@contextmanager
def _following(session: ShardSession) -> Iterator[None]:
    """Each revision that begins is reported, and named in the error if it fails."""
    logger = logging.getLogger("alembic.runtime.migration")
    handler = _StepHandler(session)
    before = logger.level, logger.disabled, logger.propagate
    logger.setLevel(logging.INFO)
    logger.disabled = False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.disabled, logger.propagate = before


class _StepHandler(logging.Handler):
    """Alembic logs `Running upgrade a -> b, doc` with the step as its argument."""

    def __init__(self, session: ShardSession) -> None:
        super().__init__(logging.INFO)
        self._session = session

    def emit(self, record: logging.LogRecord) -> None:
        step = record.args[0] if isinstance(record.args, tuple) and record.args else None
        if isinstance(step, RevisionStep):
            way = "upgrade" if step.is_upgrade else "downgrade"
            script = step.revision
            file = Path(script.path).name if script.path else ""
            self._session.place = f"{way} {script.revision} ({file})"
            self._session.report(self._session.place)
