"""All databases of a fleet as they are at one moment, and the way back there by the cheapest that is enough."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg

from shardwright.config import FleetConfig
from shardwright.dsn import DatabaseUrl
from shardwright.fleet import Fleet
from shardwright.routing.guide import guides_of
from shardwright.testing.cure import Way
from shardwright.testing.kept import KeptDatabase
from shardwright.testing.leftovers import Open, Server, TransactionLeftOpen

CONTROL = "control"
_AT_ONCE = 4
Replaced = Callable[[str], object]


@dataclass(frozen=True)
class Restored:
    """What it took: the way for each database (a shard's name, or "control"), and what had been left open."""

    ways: Mapping[str, Way]
    left_open: tuple[Open, ...] = ()

    def __str__(self) -> str:
        return ", ".join(f"{name} {way}" for name, way in self.ways.items())


@dataclass
class _Host:
    """A server, and the databases on it; `position` is its log's end when they were last found as they should be."""

    server: Server
    kept: dict[str, KeptDatabase]
    position: str | None = None


@dataclass
class Snapshot:
    """Made by `snapshot`. Not for two threads at once; as a context its templates are dropped afterwards."""

    _control: DatabaseUrl
    _hosts: list[_Host] = field(repr=False)
    _listeners: list[Replaced] = field(default_factory=list, repr=False)
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="shardwright testing"), repr=False
    )

    def on_replaced(self, listener: Replaced) -> None:
        """`listener(name)` is called when that database was made anew, and every connection to it was ended."""
        self._listeners.append(listener)

    def restore(self, *, test: str = "") -> Restored:
        """Every database is as it was: rows, sequences, schema, settings.

        By the cheapest that is enough: nothing where nothing was written, else rows are deleted, and only where the
        schema has changed (or a table that holds much) is a database made anew. Sessions with a transaction open are
        ended, and told as a TransactionLeftOpen warning that names `test`. Raises psycopg.Error.
        """
        ways: dict[str, Way] = {}
        left: list[Open] = []
        for host in self._hosts:
            state = host.server.settled()
            for each in state.open:
                self._end(host, each)
            left += state.open
            if state.open or state.position != host.position:
                ways |= self._restore_on(host)
                host.position = state.position  # of before the look: what is written meanwhile is looked for again
            else:
                ways |= dict.fromkeys(host.kept, "untouched")
        if ways.get(CONTROL) != "untouched":
            for guide in guides_of(self._control):
                guide.forget()
        if left:
            told = "; ".join(map(str, left))
            message = f"{test or 'a test'} left a transaction open, and its session was ended: {told}"
            warnings.warn(TransactionLeftOpen(message), stacklevel=2)
        return Restored(ways, tuple(left))

    def drop(self) -> None:
        """The templates are gone; the databases stay as they are."""
        for host in self._hosts:
            for kept in host.kept.values():
                kept.drop_template()
            host.server.close()
        self._threads.shutdown()

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    def _restore_on(self, host: _Host) -> dict[str, Way]:
        ways = self._threads.map(KeptDatabase.restore, host.kept.values())
        return dict(zip(host.kept, ways, strict=True))

    def _end(self, host: _Host, each: Open) -> None:
        if each.pid is not None:
            host.server.end(each)
            return
        kept = next(kept for kept in host.kept.values() if kept.url.database == each.database)
        with suppress(psycopg.errors.UndefinedObject):  # it was ended meanwhile
            kept.roll_back(each.query)

    def replaced(self, name: str) -> None:
        """Whoever listens hears that a database was made anew."""
        if name == CONTROL:
            for guide in guides_of(self._control):
                guide.close()
        for listener in self._listeners:
            listener(name)


def snapshot(fleet: Fleet) -> Snapshot:
    """The fleet as it is now: its shards and its control database, kept as a template each on their own servers.

    Sessions that are connected are ended for it. The role must be a superuser. Raises NotDisposable for a fleet that
    is not marked development or test, EmbeddedError, psycopg.Error.
    """
    fleet.require_disposable("a snapshot for tests")
    return of_databases(fleet.resolved)


def of_databases(fleet: FleetConfig, templates: Mapping[str, str] | None = None) -> Snapshot:
    """`snapshot`, of databases some of which have a template already."""
    urls = {CONTROL: fleet.control, **{shard.name: shard.url for shard in fleet.every}}
    taken = Snapshot(fleet.control, [])
    servers: dict[str, list[str]] = {}
    for name, url in urls.items():
        servers.setdefault(f"{url.user}@{url.address}", []).append(name)
    for names in servers.values():
        kept = {name: _keep(taken, name, urls[name], (templates or {}).get(name)) for name in names}
        server = Server(urls[names[0]], [urls[name].database for name in names])
        taken._hosts.append(_Host(server, kept))
    return taken


def _keep(taken: Snapshot, name: str, url: DatabaseUrl, template: str | None) -> KeptDatabase:
    def replaced() -> None:
        taken.replaced(name)

    if template is None:
        return KeptDatabase.with_template(url, replaced=replaced)
    return KeptDatabase(url, template, mine=False, replaced=replaced)
