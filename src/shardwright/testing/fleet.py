"""`TestFleet`: a project's fleet on databases of the tests' own, migrated once and clean again in milliseconds."""

from __future__ import annotations

import itertools
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import psycopg
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from shardwright import config as configuration
from shardwright import errors
from shardwright.catalog.tenants import require_tenants
from shardwright.config import Config
from shardwright.dsn import DatabaseUrl
from shardwright.fleet import Fleet
from shardwright.move.status import MoveStatus
from shardwright.pg import databases
from shardwright.pg.connect import connect
from shardwright.pg.queries import load
from shardwright.routing.awaited import AsyncTenants
from shardwright.routing.engines import Engines, make_engine
from shardwright.routing.face import TenantId
from shardwright.routing.tenants import Tenants
from shardwright.runs.results import RunResult
from shardwright.testing import project
from shardwright.testing.freeze import frozen
from shardwright.testing.kept import NAME
from shardwright.testing.places import cluster_in_memory
from shardwright.testing.snapshots import CONTROL, Replaced, Restored, Snapshot, of_databases, snapshot

DEFAULT_SHARDS = 3
_fleets = itertools.count()
_queries = load(__package__)
Seed = Callable[[Session, Any], object]


class TestFleet:
    """Made once for all tests; `clean_all` between them. As a context it is closed, and all it has made is gone.

    `fleet` and `tenants` are the project's, over its own databases: no server that shardwright.toml names is touched,
    and no variable of their URLs need be set. `config_file` is for an application that looks for its own configuration
    (`SHARDWRIGHT_CONFIG`).
    """

    __test__ = False  # pytest is not to take it for a class of tests

    def __init__(
        self,
        file: Path | str | None = None,
        *,
        shards: int | Sequence[str] | None = None,
        clusters: int = 1,
        seed: bool = False,
        servers: Sequence[str] = (),
    ) -> None:
        """The fleet of `file`, else of the nearest shardwright.toml upwards, is there: migrated, seeded if asked.

        `shards`: names, or how many; those that the file names, else three, unless given. `clusters`: servers of its
        own, that end with this process; `servers`: URLs of others to make its databases on instead, as a superuser.
        Raises ConfigError, EmbeddedError, NotDisposable, TestFleetNotMade, and what Fleet.migrate raises.
        """
        found = configuration.find_file(Path(file) if file is not None else None)
        given = [DatabaseUrl.parse(url) for url in servers]
        project.require_apart(found, given)
        with ExitStack() as stack:
            self._servers = given or [self._start(stack) for _ in range(clusters)]
            self.urls = self._addresses(_names(found, shards))
            stack.callback(self._drop_databases)
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="shardwright-testing-"))
            self.config_file = Path(folder) / configuration.FILE_NAME
            self.config = self._configure(found)
            self.fleet = Fleet(self.config)
            templates = self._make(seed=seed)
            self._engines: Engines[Engine] = Engines(lambda shard: make_engine(shard, {}))
            self._clean = of_databases(self.fleet.resolved, templates)
            self._clean.on_replaced(self._dispose)
            stack.callback(self._close_all)
            self._stack = stack.pop_all()
        self._snapshots: list[Snapshot] = []
        self._listeners: list[Replaced] = []

    @cached_property
    def tenants(self) -> Tenants:
        """The way to the tenants' rows, closed with the fleet."""
        return Tenants(self.config)

    def async_tenants(self, **engine_options: Any) -> AsyncTenants:
        """The same to be awaited: a new one for each event loop, for `async with`."""
        return AsyncTenants(self.config, **engine_options)

    @property
    def shards(self) -> tuple[str, ...]:
        """The names of the shards."""
        return tuple(name for name in self.urls if name != CONTROL)

    def engine(self, shard: str) -> Engine:
        """SQLAlchemy's engine of one shard, always the same one. Raises NoSuchShard."""
        return self._engines.of(self.fleet.resolved.select(shard)[0])

    def connect(self, shard: str) -> psycopg.Connection[Any]:
        """A new connection of psycopg to one shard; close it. Raises NoSuchShard."""
        return psycopg.connect(self.fleet.resolved.select(shard)[0].url.conninfo)

    # --- between tests ------------------------------------------------------------------------

    def clean_all(self, *, test: str = "") -> Restored:
        """Every database is as it was when the fleet was made; see Snapshot.restore."""
        return self._clean.restore(test=test)

    def snapshot(self) -> Snapshot:
        """The fleet as it is now, to be given to `restore`; sessions that are connected are ended for it."""
        taken = snapshot(self.fleet)
        taken.on_replaced(self._dispose)
        for listener in self._listeners:
            taken.on_replaced(listener)
        self._snapshots.append(taken)
        return taken

    def restore(self, taken: Snapshot, *, test: str = "") -> Restored:
        """Every database is as it was at the snapshot."""
        return taken.restore(test=test)

    def on_replaced(self, listener: Replaced) -> None:
        """`listener(name)` is called when a shard's database (or "control") was made anew: dispose of its pool then."""
        self._listeners.append(listener)
        for taken in (self._clean, *self._snapshots):
            taken.on_replaced(listener)

    # --- within a test ------------------------------------------------------------------------

    def add_tenant(self, tenant: TenantId | None = None, *, shard: str | None = None, seed: Seed | None = None) -> Any:
        """A new tenant has its place, on `shard` or by `tenants.placement`; gives its id.

        `None`: an id that no test has had, of the type that the root table's key has. `seed(session, id)` makes its
        rows on its shard, the one of the root table first. Raises TenantExists, NoSuchShard, NoTenants.
        """
        made = self._new_id() if tenant is None else tenant
        self.fleet.add_tenant(str(made), shard=shard)
        if seed is not None:
            self.tenants.run(made, seed, made)
        return made

    def move(self, tenant: TenantId, to: str, **options: Any) -> MoveStatus:
        """The tenant is on shard `to`, truly moved; see Fleet.move."""
        return self.fleet.move(str(tenant), to, **options)

    @contextmanager
    def freeze_shard(self, shard: str) -> Iterator[None]:
        """The shard is down within the block: its sessions are ended and new ones refused. Raises NoSuchShard."""
        with frozen(self.fleet.resolved.select(shard)[0].url):
            yield

    def close(self) -> None:
        """Databases, servers and files are gone."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- making it ----------------------------------------------------------------------------

    def _start(self, stack: ExitStack) -> DatabaseUrl:
        return DatabaseUrl.parse(stack.enter_context(cluster_in_memory()).url(databases.MAINTENANCE))

    def _addresses(self, shards: Sequence[str]) -> dict[str, str]:
        """The control database is on the first server, the shards on all in turn."""
        prefix = f"shardwright_test_{os.getpid()}_{next(_fleets)}"
        urls = {CONTROL: self._servers[0].with_database(f"{prefix}_control").conninfo}
        for number, name in enumerate(shards):
            server = self._servers[number % len(self._servers)]
            urls[name] = server.with_database(f"{prefix}_{number}").conninfo
        return urls

    def _configure(self, found: Path) -> Config:
        shards = {name: url for name, url in self.urls.items() if name != CONTROL}
        return project.for_tests(found, control=self.urls[CONTROL], shards=shards, copy=self.config_file)

    def _make(self, *, seed: bool) -> Mapping[str, str]:
        """Gives the databases that are templates of shards already."""
        firsts = {self._server_of(name): name for name in reversed(self.shards)}
        for name in (CONTROL, *firsts.values()):
            databases.create_if_missing(self._url(name), application_name=NAME)
        _require_all(self.fleet.migrate(shards=",".join(firsts.values())))
        for name in firsts.values():
            databases.copy(self._url(name), self._template(name), application_name=NAME)
        templates = {name: self._template(firsts[self._server_of(name)]) for name in self.shards}
        for name in set(self.shards) - set(firsts.values()):
            databases.copy(templates[name], self._url(name), application_name=NAME)
        if not seed:
            return {name: url.database for name, url in templates.items()}
        _require_all(self.fleet.seed())
        if self.config.tenants is not None:
            self.fleet.sync_tenants(accept=True)
        return {}

    def _server_of(self, shard: str) -> int:
        return self.shards.index(shard) % len(self._servers)

    def _url(self, name: str) -> DatabaseUrl:
        return DatabaseUrl.parse(self.urls[name])

    def _template(self, shard: str) -> DatabaseUrl:
        url = self._url(shard)
        return url.with_database(f"{url.database}_template")

    def _new_id(self) -> TenantId:
        root = require_tenants(self.config).root
        with connect(self._url(self.shards[0]), application_name=NAME) as connection:
            row = connection.execute(_queries["type_of_key"], {"table": root}).fetchone()
        kind = row[0] if row else "text"
        number = uuid.uuid4()
        return (
            number if kind == "uuid" else number.int % _LARGEST.get(kind, 1) if kind in _LARGEST else f"tenant-{number}"
        )

    def _dispose(self, name: str) -> None:
        """The engines of a database that was made anew have no connections; they open what they need."""
        if name != CONTROL:
            self.engine(name).dispose()

    def _close_all(self) -> None:
        for engine in self._engines.take_all():
            engine.dispose()
        if "tenants" in vars(self):
            self.tenants.close()
        for taken in (self._clean, *self._snapshots):
            taken.drop()

    def _drop_databases(self) -> None:
        """Before the servers end, which are somebody else's perhaps."""
        for name in self.urls:
            databases.drop(self._url(name), application_name=NAME)
            if name != CONTROL:
                databases.drop(self._template(name), application_name=NAME)


_LARGEST = {"smallint": 1 << 15, "integer": 1 << 31, "bigint": 1 << 62}


def _names(file: Path, shards: int | Sequence[str] | None) -> list[str]:
    if isinstance(shards, int):
        return [f"shard_{number}" for number in range(shards)]
    named = project.read(file).get("shards")
    return list(shards or (named if isinstance(named, dict) else ())) or _names(file, DEFAULT_SHARDS)


def _require_all(result: RunResult) -> None:
    """Raises TestFleetNotMade where a shard could not be migrated or seeded."""
    for each in result.results:
        if result.exit_code and each.error:
            raise errors.TestFleetNotMade(act=result.kind, shard=each.shard, reason=each.error, help=each.hint or "")
