"""One local PostgreSQL server in a directory: made, started, found again, stopped, taken away."""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.parse import quote

from shardwright.embedded import server
from shardwright.embedded.account import private_directory, server_account, verify_private
from shardwright.embedded.binaries import Binaries, find_binaries
from shardwright.embedded.locks import LOCK_FILE, NothingThere, locked
from shardwright.embedded.processes import is_there, processes_of, signal_all
from shardwright.embedded.shared_memory import remove_segment
from shardwright.embedded.state import short_hash
from shardwright.errors import (
    ClusterNotStarted,
    ClusterNotStopped,
    ClusterOfOtherVersion,
    ClustersFailed,
    DirectoryNotPrivate,
    EmbeddedError,
)

_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
# Through a shell that ends at once: the server is nobody's child, so it outlives us and leaves us no zombie.
_LAUNCH = 'exec "$@" >>"$LOG" 2>&1 </dev/null & echo $!'


class Cluster:
    """A PostgreSQL server of our own; a value that names a directory, whether or not anything is there yet.

    Any process that names the same directory has the same cluster. A started server outlives the process
    that started it. It listens on a Unix socket only, in a directory nobody else can enter, superuser
    `postgres`. With `safe` it keeps its data through a crash of the machine, not only of itself.
    `settings` are PostgreSQL's, taken at the next start.
    """

    port: Final = server.PORT

    def __init__(
        self,
        directory: Path,
        *,
        settings: Mapping[str, str] = {},
        binaries: Binaries | None = None,
        safe: bool = False,
    ) -> None:
        self.directory = directory.resolve()
        self.log = self.directory / "server.log"
        self._settings = {**server.USUAL, **({} if safe else server.UNSAFE), **settings}
        self._given_binaries = binaries
        self._safe = safe
        self._account = server_account()
        self._marker = f"shardwright-{short_hash(self.directory, 16)}"
        self._data = self.directory / "pgdata"
        self.socket_directory = server.socket_directory(self.directory, self._account.uid)

    def __repr__(self) -> str:
        return f"Cluster({str(self.directory)!r})"

    # -- questions

    def url(self, database: str) -> str:
        """The URL of `database` on this cluster, the same at every start."""
        host = quote(str(self.socket_directory), safe="")
        return f"postgresql://postgres@/{quote(database, safe='')}?host={host}&port={self.port}"

    @cached_property
    def binaries(self) -> Binaries:
        """The programs this cluster is run with. Raises BinariesNotFound, BinariesUnusable."""
        return self._given_binaries or find_binaries()

    @property
    def version(self) -> tuple[int, int]:
        """The version of PostgreSQL it is run with, such as (18, 6)."""
        return self.binaries.version

    @property
    def pid(self) -> int | None:
        """The server's process, also while it starts or stops; None when it is not there."""
        found = self._pid_file()
        pid = int(found[0]) if found and found[0].strip().isdigit() else None
        return pid if pid is not None and self._alive(pid) else None

    def is_running(self) -> bool:
        """Whether the server takes connections: it is asked, since a process that exists proves nothing."""
        from psycopg import conninfo, pq  # noqa: PLC0415 - costs 0.1 s, and most commands need no server

        address = conninfo.make_conninfo(
            host=str(self.socket_directory),
            hostaddr="",  # or $PGHOSTADDR would lead to another server
            port=self.port,
            user="postgres",
            dbname="postgres",
            connect_timeout=3,
        )
        # libpq's ping, since "too many clients" is an answer as well
        return pq.PGconn.ping(address.encode()) == pq.Ping.OK

    # -- acts

    def start(self) -> None:
        """The server takes connections, made first when there is none; as it is when it runs already.

        Whatever a crash left behind (orphans, files, shared memory) is cleared away first. Starting in
        several processes at once is the same as starting once.
        Raises DirectoryNotPrivate, DirectoryOutOfReach, ClusterOfOtherVersion, ClusterNotStarted and what
        find_binaries() raises.
        """
        private_directory(self.directory, self._account)
        try:
            with locked(self.directory, create=True):
                if not self._settle():
                    self._make_data()
                    private_directory(self.socket_directory, self._account)
                    self._launch()
        except NothingThere:  # destroyed while we waited for our turn
            self.start()

    def stop(self, *, patience: float = _STOP_SECONDS) -> None:
        """No process, socket or shared memory of the server is left; its data is. Nothing, when it is stopped.

        Clients are disconnected. After `patience` seconds it is told more firmly, and then killed.
        Raises ClusterNotStopped.
        """
        with contextlib.suppress(NothingThere), locked(self.directory):
            self._end(patience)

    def destroy(self) -> None:
        """The server is stopped and its directory gone; files there that are not a cluster's are left alone."""
        with contextlib.suppress(NothingThere), locked(self.directory):
            self._end()
            for tree in (self._data, *self.directory.glob("initdb-*")):
                if tree.exists():
                    shutil.rmtree(tree)
            self.log.unlink(missing_ok=True)
            (self.directory / LOCK_FILE).unlink()
        with contextlib.suppress(OSError):
            self.directory.rmdir()

    # -- steps of a start

    def _settle(self) -> bool:
        """True when a server turned out to run; else nothing of an earlier one is left."""
        if not _until(lambda: self.is_running() or not self.pid, _START_SECONDS):
            raise self._not_started(f"process {self.pid} is there, but answers nobody")
        if self.is_running():
            return True
        self._end()
        return False

    def _make_data(self) -> None:
        made_by = self._data / "PG_VERSION"
        if made_by.exists():
            if (major := made_by.read_text().strip()) != str(self.version[0]):
                raise ClusterOfOtherVersion(self.directory, major, self.version[0])
            return
        for unfinished in self.directory.glob("initdb-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        building = self.directory / f"initdb-{uuid.uuid4().hex[:8]}"
        self._initdb(building)
        building.rename(self._data)  # all or nothing: an interrupted initdb looks like a cluster

    def _initdb(self, directory: Path) -> None:
        # Trust holds for the socket only, and the socket's directory is private.
        words = "--username=postgres --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C"
        sync = [] if self._safe else ["--no-sync"]
        try:
            done = self._account.run([self.binaries.bin / "initdb", "-D", directory, *words.split(), *sync])
        except OSError as error:
            raise self._not_started(f"initdb: {error.strerror}") from error
        if done.returncode != 0:
            raise self._not_started("initdb failed", done.stdout)

    def _launch(self) -> None:
        earlier = len(self._log_lines())
        try:
            done = self._account.run(
                ["/bin/sh", "-c", _LAUNCH, "sh", *self._command()],
                environment={"LOG": str(self.log)},
                new_session=True,  # Ctrl-C in our terminal is not meant for the server
            )
        except OSError as error:
            raise self._not_started(f"/bin/sh: {error.strerror}") from error
        pid = next((int(line) for line in done.stdout.splitlines() if line.isdigit()), 0)
        # Not by its title: while a program is being started it has none, on a busy machine for long.
        in_time = _until(lambda: self._ready(pid) or not is_there(pid), _START_SECONDS)
        if not self._ready(pid):
            reason = "it ended at once" if in_time else f"it was not ready after {_START_SECONDS:.0f} s"
            raise self._not_started(reason, done.stdout + "\n".join(self._log_lines()[earlier:]))

    def _command(self) -> list[str]:
        settings = {**self._settings, **server.forced(self._marker, self.socket_directory)}
        words = [f"{name}={value}" for name, value in settings.items()]
        flags = [part for word in words for part in ("-c", word)]
        return [str(self.binaries.bin / "postgres"), "-D", str(self._data), *flags]

    def _ready(self, pid: int) -> bool:
        found = self._pid_file()
        ours = len(found) > 7 and found[0].strip() == str(pid) and found[7].strip() == "ready"
        return ours and self.is_running()

    def _not_started(self, reason: str, output: str = "") -> ClusterNotStarted:
        return ClusterNotStarted(self.directory, reason, self.log, "\n".join(output.splitlines()[-15:]))

    # -- steps of an end

    def _end(self, patience: float = _STOP_SECONDS) -> None:
        self._end_postmaster(patience)
        for number in (signal.SIGQUIT, signal.SIGKILL):  # to what outlived a killed postmaster
            signal_all(self._processes(), number)
            if _until(self._gone, patience):
                return self._clear()
        raise ClusterNotStopped(self.directory, f"processes {sorted(self._processes())} outlived SIGKILL")

    def _end_postmaster(self, patience: float) -> None:
        """It ends its children first, and itself as the last."""
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if pid := self.pid:
                signal_all([pid], number)
                _until(lambda: not self.pid, patience)

    def _clear(self) -> None:
        """Take away what a killed server leaves; a stale pid file whose number is in use again stops a start."""
        if (self.socket_directory / server.SOCKET).exists() and self.is_running():
            raise ClusterNotStopped(self.directory, "it answers, but its processes cannot be seen from here")
        remove_segment(self._pid_file())
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError, DirectoryNotPrivate):
            verify_private(self.socket_directory, self._account)
            for name in (server.SOCKET, f"{server.SOCKET}.lock"):
                (self.socket_directory / name).unlink(missing_ok=True)
            self.socket_directory.rmdir()

    # -- what is there

    def _pid_file(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _log_lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines() if self.log.is_file() else []

    def _processes(self) -> set[int]:
        return processes_of(self._marker, self._account.uid)

    def _alive(self, pid: int) -> bool:
        # Two looks: a process has no title for a moment while it starts its program.
        return pid in self._processes() or pid in self._processes()

    def _gone(self) -> bool:
        return not self._processes() and not self._processes()


def start_all(clusters: Iterable[Cluster]) -> None:
    """Every cluster is started, in parallel. Raises ClustersFailed, after all were tried."""
    _all(clusters, Cluster.start)


def stop_all(clusters: Iterable[Cluster]) -> None:
    """Every cluster is stopped, in parallel. Raises ClustersFailed, after all were tried."""
    _all(clusters, Cluster.stop)


def destroy_all(clusters: Iterable[Cluster]) -> None:
    """Every cluster is gone, in parallel. Raises ClustersFailed, after all were tried."""
    _all(clusters, Cluster.destroy)


def _all(clusters: Iterable[Cluster], act: Callable[[Cluster], None]) -> None:
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="cluster") as pool:
        tried = {cluster: pool.submit(act, cluster) for cluster in clusters}
    failures = {}
    for cluster, outcome in tried.items():
        if isinstance(error := outcome.exception(), EmbeddedError):
            failures[cluster.directory.name] = error
        elif error:
            raise error
    if failures:
        raise ClustersFailed(failures)


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
