"""In a worker process: runs the application's seed function, or its seeds/*.sql, on one shard."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from psycopg.sql import SQL
from sqlalchemy import create_engine, pool
from sqlalchemy.orm import Session

from shardwright.migration.drivers import sync_driver_for
from shardwright.runs.session import ShardSession
from shardwright.shard import Shard

SeedFunction = Callable[..., object]


class BadSeed(Exception):
    """`fleet.seed` names nothing that can be used as a seed function."""


def plant(session: ShardSession) -> Mapping[str, Any]:
    """The shard has its seed data; the payload names a function or SQL files. One transaction unless it commits."""
    project: Path = session.payload["project"]
    os.chdir(project)
    if str(project) not in sys.path:
        sys.path.insert(0, str(project))
    if session.payload["function"] is None:
        _run_files(session, session.payload["files"])
    else:
        _run_function(session, _load(session.payload["function"]))
    return {}


def _run_files(session: ShardSession, files: list[Path]) -> None:
    with session.connect() as connection, connection.transaction():
        for file in files:
            session.place = file.name
            session.raise_if_cancelled()
            connection.execute(SQL(file.read_text(encoding="utf-8")))


def _run_function(session: ShardSession, function: SeedFunction) -> None:
    url = session.shard.url
    engine = create_engine(url.sqlalchemy(sync_driver_for(url)), poolclass=pool.NullPool)
    session.place = str(session.payload["function"])
    call = _with_shard(function, session.shard)
    if _wants_connection(function):
        with engine.connect() as connection:
            _refuse_unfinished(call(connection))
            connection.commit()
    else:
        with Session(engine) as orm_session:  # not begin(): many seed functions commit themselves
            _refuse_unfinished(call(orm_session))
            orm_session.commit()


def _with_shard(function: SeedFunction, shard: Shard) -> SeedFunction:
    """`function` of one argument; the shard goes to a second one that must be given, or to one named `shard`."""
    parameters = inspect.signature(function).parameters.values()
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    more = [shard for each in positional[1:2] if each.default is each.empty or each.name == "shard"]
    named = {each.name: shard for each in parameters if each.kind is each.KEYWORD_ONLY and each.name == "shard"}
    return lambda first: function(first, *more, **named)


def _refuse_unfinished(outcome: object) -> None:
    """Raises BadSeed where calling the function ran nothing of it: a success without a row."""
    if inspect.iscoroutine(outcome) or inspect.isgenerator(outcome):
        outcome.close()
        raise BadSeed("it is async or a generator, so nothing ran; write a plain function that takes a Session")


def _wants_connection(function: SeedFunction) -> bool:
    """By the first parameter's annotation, which may be text, else by its name; everything else gets a Session."""
    first = next(iter(inspect.signature(function).parameters.values()), None)
    if first is None:
        return False
    if first.annotation is first.empty:
        return first.name in {"connection", "conn"}
    name = first.annotation if isinstance(first.annotation, str) else getattr(first.annotation, "__name__", "")
    return name.rpartition(".")[2].strip("'\" ") == "Connection"


def _load(name: str) -> SeedFunction:
    module, _, path = name.partition(":")
    found: Any
    try:
        found = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise BadSeed(f'fleet.seed = "{name}", but there is no module {error.name} in {Path.cwd()}') from error
        raise
    except AttributeError as error:
        raise BadSeed(f'fleet.seed = "{name}", but {error}') from error
    if not callable(found):
        raise BadSeed(f'fleet.seed = "{name}" names no function')
    function: SeedFunction = found
    return function
