"""How far checks of references have come: the control database's table of it. No other module names it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg

from shardwright import errors
from shardwright.catalog.control import beside_control
from shardwright.config import FleetConfig
from shardwright.pg import locks
from shardwright.pg.queries import load

T = TypeVar("T")
_LAST_LOCK = (1 << 31) - 1  # one for each set, counted from here downwards; those of operations are below them
_queries = load(__package__, "progress.sql")


@dataclass(frozen=True)
class Example:
    """A value that no shard has, and one row that refers to it, by its key (None: its table has none)."""

    shard: str
    value: str
    row: str | None = None


@dataclass(frozen=True)
class Place:
    """How far one shard's rows were read: `after` is the key of the last one.

    `dangling` rows refer to nothing; of `undecided` ones that can't be said, since a shard was not read.
    """

    after: tuple[str, ...] = ()
    rows: int = 0
    dangling: int = 0
    undecided: int = 0
    examples: tuple[Example, ...] = ()
    is_done: bool = False


class Progress:
    """The places of references; nothing is kept where there is no `connection`."""

    def __init__(self, connection: psycopg.Connection[Any] | None, shard_set: str) -> None:
        self._connection = connection
        self._shard_set = shard_set

    def read(self, reference: str, shapes: Mapping[str, str]) -> dict[str, Place]:
        """Where a check that was stopped within the last day was, on these shards, if their tables are as they were."""
        values = {"shard_set": self._shard_set, "reference": reference, "shards": list(shapes)}
        lines = self._ask(lambda connection: connection.execute(_queries["read"], values).fetchall()) or ()
        return {
            shard: Place(tuple(after), rows, dangling, undecided, tuple(Example(**each) for each in examples), is_done)
            for shard, shape, after, rows, dangling, undecided, examples, is_done in lines
            if shape == shapes[shard]
        }

    def write(self, reference: str, places: Mapping[str, Place], shapes: Mapping[str, str]) -> None:
        """A check that follows goes on from these places; of a thousand shards they are written at once."""
        lines = [
            {
                **vars(place),
                "after": list(place.after),
                "examples": json.dumps([vars(each) for each in place.examples]),
                "shard_set": self._shard_set,
                "reference": reference,
                "shard": shard,
                "shape": shapes[shard],
            }
            for shard, place in places.items()
        ]
        self._ask(lambda connection: connection.cursor().executemany(_queries["write"], lines))

    def forget(self, reference: str) -> None:
        """The next check begins anew."""
        values = {"shard_set": self._shard_set, "reference": reference}
        self._ask(lambda connection: connection.execute(_queries["forget"], values))

    def _ask(self, ask: Callable[[psycopg.Connection[Any]], T]) -> T | None:
        """What it gives; a control database that went away meanwhile is no reason to stop reading shards."""
        if self._connection is None:
            return None
        try:
            return ask(self._connection)
        except psycopg.Error:
            self._connection = None
            return None


@contextmanager
def keeping_progress(fleet: FleetConfig) -> Iterator[Progress]:
    """Progress that outlives the process: unless the control database is away or of another version, whoever only
    checks does not upgrade it, or somebody else is checking the same set at this moment."""
    with ExitStack() as stack:
        connection = None
        with suppress(errors.ControlError):
            beside, is_made = stack.enter_context(beside_control(fleet.control, application_name="shardwright check"))
            key = _LAST_LOCK - zlib.crc32(fleet.shard_set.encode()) % (1 << 29)
            connection = beside if is_made and locks.acquire(beside, key) else None
        yield Progress(connection, fleet.shard_set)
