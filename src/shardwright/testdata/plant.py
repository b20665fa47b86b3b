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

SeedFunction = Callable[..., object]


class BadSeedName(Exception):
    """`fleet.seed` names no function."""


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
    session.place = f"{function.__module__}:{function.__qualname__}"
    parameters = list(inspect.signature(function).parameters.values())
    more = (session.shard,) if len(parameters) > 1 else ()
    if parameters and _wants_connection(parameters[0]):
        with engine.connect() as connection:
            function(connection, *more)
            connection.commit()
    else:
        with Session(engine) as orm_session:  # not begin(): many seed functions commit themselves
            function(orm_session, *more)
            orm_session.commit()


def _wants_connection(parameter: inspect.Parameter) -> bool:
    """By its annotation, else by its name; everything else gets a Session."""
    annotation = parameter.annotation
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    if annotation is inspect.Parameter.empty:
        return parameter.name in {"connection", "conn"}
    return name.rpartition(".")[2] == "Connection"


def _load(name: str) -> SeedFunction:
    module, colon, path = name.partition(":")
    if not colon:
        raise BadSeedName(f'fleet.seed = "{name}" is not of the form "package.module:function"')
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise BadSeedName(f'fleet.seed = "{name}" names no function')
    function: SeedFunction = found
    return function
