"""How fast a fleet is migrated: `shardwright migrate` beside a loop over the `alembic` command and one over psql.

All in one run on one embedded server: one new revision on every shard, then a rollout that finds nothing to do.
Prints a table (`--json`: one document), leaves nothing behind. README.md says what is compared with what.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster, temporary_cluster

EXAMPLE = Path(__file__).parents[1] / "examples" / "tasks"
SAMPLE = 20  # shards that a loop over the slow command is measured on
NEW_REVISION, REVISION_BEFORE = "3157ff595d95", "62da09e09203"
WANTED_OF_ALEMBIC, WANTED_OF_PSQL = 10.0, 5.0  # one new revision; nothing to do
_LOOK = 0.1  # seconds between two looks at the memory
# As on anybody's machine: compiled files are kept, and nothing is said about configuration elsewhere.
_ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "SHARDWRIGHT_CONFIG"} and not name.startswith("PG")
}


@dataclass(frozen=True)
class Fleet:
    """The example application, and a control database and shards that are all at the revision before the newest."""

    cluster: Cluster
    project: Path
    shards: tuple[str, ...]

    def url(self, database: str) -> str:
        """What a client is told."""
        return self.cluster.url(database)

    def ini(self, shard: str) -> Path:
        """The alembic.ini that names this shard."""
        return self.project / f"{shard}.ini"

    def everywhere(self, statements: str) -> None:
        """`statements` are done and committed on every shard."""
        for shard in self.shards:
            with psycopg.connect(self.url(shard), autocommit=True) as connection:
                connection.execute(statements.encode())

    def require(self, revision: str, shards: Sequence[str]) -> None:
        """Fails unless those shards are at `revision`: a way that does nothing is fast."""
        for shard in shards:
            with psycopg.connect(self.url(shard)) as connection:
                row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            if row != (revision,):
                raise SystemExit(f"{shard} is at {row}, not at {revision}")


@dataclass(frozen=True)
class Measured:
    """How long a way took for `shards` of the fleet; `memory` is the most its processes had together, in MB."""

    way: str
    shards: int
    seconds: float
    memory: float | None

    @property
    def rate(self) -> float:
        """Shards per second."""
        return self.shards / self.seconds


class PeakMemory:
    """The most memory that a process and all below it had at once, each shared page counted once (Linux only)."""

    def __init__(self) -> None:
        self.megabytes: float | None = None
        self._root: int | None = None
        self._over = threading.Event()

    @contextmanager
    def looking(self) -> Iterator[PeakMemory]:
        """Looks again and again within, at whatever `run` has started."""
        thread = threading.Thread(target=self._look, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()

    def run(self, command: Sequence[str | Path], folder: Path) -> None:
        """`command` has ended well; raises CalledProcessError with what it said."""
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(
                command, cwd=folder, env=_ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
            self._root = process.pid
            if process.wait() != 0:
                said.seek(0)
                raise SystemExit(f"{' '.join(map(str, command))} failed:\n{said.read()}")

    def _look(self) -> None:
        while not self._over.wait(_LOOK):
            kilobytes = sum(map(_resident, _tree(self._root))) if self._root else 0
            if kilobytes:
                self.megabytes = max(self.megabytes or 0.0, kilobytes / 1024)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = tasks.read_text().split()
        except OSError:  # it has ended
            continue
        for child in children:
            yield from _tree(int(child))


def _resident(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


# --- the ways -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """One way to migrate a fleet: `act` does it on these shards. A slow one is measured on some and scaled."""

    name: str
    act: Callable[[Fleet, Sequence[str], PeakMemory], None]
    slow: bool = False


def alembic_command(fleet: Fleet, shards: Sequence[str], memory: PeakMemory) -> None:
    """The loop that everybody writes first."""
    for shard in shards:
        memory.run([sys.executable, "-m", "alembic", "-c", fleet.ini(shard), "upgrade", "head"], fleet.project)


def psql_revision(fleet: Fleet, shards: Sequence[str], memory: PeakMemory) -> None:
    """The revision's SQL, written to a file beforehand."""
    for shard in shards:
        memory.run([*psql(fleet, shard), "-f", fleet.project / "new_revision.sql"], fleet.project)


def psql_version(fleet: Fleet, shards: Sequence[str], memory: PeakMemory) -> None:
    """The least that finds out that there is nothing to do."""
    for shard in shards:
        memory.run([*psql(fleet, shard), "-c", "SELECT version_num FROM alembic_version"], fleet.project)


def psql(fleet: Fleet, shard: str) -> list[str | Path]:
    """The server's own psql, and not a distribution's wrapper around it."""
    return [fleet.cluster.binaries.bin / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", fleet.url(shard)]


def shardwright(*options: str) -> Callable[[Fleet, Sequence[str], PeakMemory], None]:
    """The real command line."""

    def act(fleet: Fleet, shards: Sequence[str], memory: PeakMemory) -> None:
        del shards  # it takes the whole fleet
        memory.run([sys.executable, "-m", "shardwright", "migrate", *options], fleet.project)

    return act


def ways(of_psql: Way, jobs: Sequence[int]) -> list[Way]:
    """The two loops, and our command with its defaults and with each `--jobs`."""
    return [
        Way("alembic, one by one", alembic_command, slow=True),
        of_psql,
        Way("shardwright migrate", shardwright()),
        *(Way(f"shardwright migrate --jobs {number}", shardwright("--jobs", str(number))) for number in jobs),
    ]


def measure(fleet: Fleet, way: Way, *, full: bool) -> Measured:
    """The way, taken once; fails where the shards are not at the newest revision afterwards."""
    shards = fleet.shards[:SAMPLE] if way.slow and not full else fleet.shards
    with PeakMemory().looking() as memory:
        start = time.perf_counter()
        way.act(fleet, shards, memory)
        seconds = time.perf_counter() - start
    fleet.require(NEW_REVISION, shards)
    return Measured(way.name, len(shards), seconds, memory.megabytes)


def measure_new_revision(fleet: Fleet, options: argparse.Namespace) -> list[Measured]:
    """Every way from the same start: all shards lack one revision."""
    found = []
    for way in ways(Way("psql, one by one", psql_revision), options.jobs):
        fleet.everywhere(DOWN)
        found.append(measure(fleet, way, full=options.full))
    return found


def measure_nothing_to_do(fleet: Fleet, options: argparse.Namespace) -> list[Measured]:
    """Every way on shards that lack nothing."""
    fleet.everywhere(DOWN)
    shardwright()(fleet, fleet.shards, PeakMemory())
    return [
        measure(fleet, way, full=options.full) for way in ways(Way("psql, one SELECT each", psql_version), options.jobs)
    ]


# --- the fleet ----------------------------------------------------------------------------------

DOWN = f"""
    DROP INDEX IF EXISTS ix_tasks_organization_id_priority;
    ALTER TABLE tasks DROP COLUMN IF EXISTS priority;
    UPDATE alembic_version SET version_num = '{REVISION_BEFORE}'
"""


@contextmanager
def example_fleet(shards: int, revisions_before: int) -> Iterator[Fleet]:
    """The example application over that many databases, with a history that long before its last revision."""
    with temporary_cluster() as cluster, tempfile.TemporaryDirectory(prefix="shardwright-bench-") as folder:
        project = shutil.copytree(EXAMPLE, Path(folder) / "tasks", ignore=shutil.ignore_patterns("__pycache__"))
        fleet = Fleet(cluster, project, tuple(f"shard_{number}" for number in range(shards)))
        write_configuration(fleet)
        before = lengthen_history(project, revisions_before)
        make_databases(fleet, before)
        write_revision(fleet, before)
        yield fleet
