"""The ways that are compared: each takes the shards from one state to another."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from databases import Fleet
from processes import PeakMemory, run
from shardwright.dsn import DatabaseUrl
from shardwright.pg.connect import connect

READ = "SELECT version_num FROM alembic_version"
EIGHT, SIXTEEN = 8, 16
SMALL = 200  # fleets beyond it are not taken by ways that are slow and can't take a part

ALEMBIC, POOL = "alembic, one by one", "pool of 4 processes"
PSQL, PSQL_EIGHT, PSQL_KEPT = "psql, one by one", "psql, eight at once", "psql, eight kept"
PSQL_OF_PATH = "psql of PATH, eight at once"  # where that is another: Debian's is a script that then starts psql
KEPT, READS = "connections kept open", "bare SELECTs"
OURS, ONLINE = "shardwright migrate", "shardwright migrate --online"


@dataclass(frozen=True)
class Task:
    """What psql sends to bring a shard there: a file in the project's folder; where there is none it reads."""

    title: str
    file: str | None
    prepare: Callable[[Fleet], None]

    def arguments(self) -> list[str]:
        """What psql is given for it."""
        return ["-f", self.file] if self.file else ["-c", READ]

    def text(self, fleet: Fleet) -> str:
        """The SQL."""
        return (fleet.project / self.file).read_text() if self.file else READ


# Brings the shards there; gives the seconds where not all of its time counts.
Act = Callable[[Fleet, Task, Sequence[str], PeakMemory], float | None]


@dataclass(frozen=True)
class Way:
    """A way, and on how many shards it is measured at most; None: on all of them."""

    name: str
    act: Act
    at_most: int | None = None


def alembic_loop(fleet: Fleet, _: Task, shards: Sequence[str], memory: PeakMemory) -> None:
    """The loop that everybody writes first."""
    for shard in shards:
        run([*fleet.alembic(shard), "upgrade", "head"], fleet.project, memory)


def pool(fleet: Fleet, _: Task, shards: Sequence[str], memory: PeakMemory) -> None:
    """pool.py, started anew."""
    inis = "\n".join(str(fleet.ini(shard)) for shard in shards)
    run([sys.executable, Path(__file__).with_name("pool.py")], fleet.project, memory, text=inis)


def psql(program: Path, at_once: int) -> Act:
    """psql started for each shard, so many at once; it knows beforehand what is to be done."""

    def act(fleet: Fleet, task: Task, shards: Sequence[str], memory: PeakMemory) -> None:
        def one(shard: str) -> None:
            run([*psql_command(program), "-d", fleet.cluster.url(shard), *task.arguments()], fleet.project, memory)

        with ThreadPoolExecutor(at_once) as threads:
            list(threads.map(one, shards))

    return act


def psql_kept(program: Path) -> Act:
    """Eight psql started once, each of which goes with `\\connect` through its share of the shards."""

    def act(fleet: Fleet, task: Task, shards: Sequence[str], memory: PeakMemory) -> None:
        def share(shards: Sequence[str]) -> None:
            words = f"\\i {task.file}" if task.file else f"{READ};"
            script = "".join(f'\\connect "{fleet.cluster.url(shard)}"\n{words}\n' for shard in shards)
            run([*psql_command(program), "-d", fleet.cluster.url("postgres")], fleet.project, memory, text=script)

        with ThreadPoolExecutor(EIGHT) as threads:
            list(threads.map(share, filter(None, (shards[number::EIGHT] for number in range(EIGHT)))))

    return act


def psql_command(program: Path) -> list[str | Path]:
    """psql, which ends at the first error and reads nobody's settings."""
    return [program, "-Xq", "-v", "ON_ERROR_STOP=1"]


def kept_open(fleet: Fleet, task: Task, shards: Sequence[str], _: PeakMemory) -> float:
    """The SQL over connections that were open to every shard before the clock began, eight at once: what is left is
    the server's work for the revision itself.
    """
    statements = [part.encode() for part in task.text(fleet).split(";\n\n") if part.strip()]

    def send(connection: psycopg.Connection[Any]) -> None:
        for statement in statements:  # one by one: CONCURRENTLY can't be in a message with others
            connection.execute(statement)

    with ExitStack() as stack, ThreadPoolExecutor(EIGHT) as threads:
        connections = [
            stack.enter_context(psycopg.connect(fleet.cluster.url(shard), autocommit=True)) for shard in shards
        ]
        start = time.perf_counter()
        list(threads.map(send, connections))
        return time.perf_counter() - start


def bare_reads(fleet: Fleet, _: Task, shards: Sequence[str], __: PeakMemory) -> float:
    """One SELECT a shard over connections opened as our command opens them, sixteen at once, and nothing else."""

    def read(shard: str) -> None:
        with connect(DatabaseUrl.parse(fleet.cluster.url(shard)), application_name="bare") as connection:
            connection.execute(READ).fetchall()

    with ThreadPoolExecutor(SIXTEEN) as threads:
        start = time.perf_counter()
        list(threads.map(read, shards))
        return time.perf_counter() - start


def shardwright(*options: str) -> Act:
    """The command line, which takes the whole fleet."""

    def act(fleet: Fleet, _: Task, __: Sequence[str], memory: PeakMemory) -> None:
        run([sys.executable, "-m", "shardwright", "migrate", *options], fleet.project, memory)

    return act


def ways(fleet: Fleet, task: Task, jobs: Sequence[int], *, full: bool) -> list[Way]:
    """All of them for this task; the slow ones on a sample of the shards unless `full`."""
    program = fleet.cluster.binaries.bin / "psql"
    found = [
        Way(ALEMBIC, alembic_loop, 10),
        Way(POOL, pool, 100),
        Way(PSQL, psql(program, 1), 200),
        Way(PSQL_EIGHT, psql(program, EIGHT)),
        Way(PSQL_KEPT, psql_kept(program)),
        Way(KEPT, kept_open),
    ]
    of_path = shutil.which("psql")
    if of_path and not Path(of_path).samefile(program):
        found.insert(4, Way(PSQL_OF_PATH, psql(Path(of_path), EIGHT), 100))
    if task.file is None:
        found.append(Way(READS, bare_reads))
    elif len(fleet.shards) <= SMALL:
        found.append(Way(ONLINE, shardwright("--online")))
    found.append(Way(OURS, shardwright()))
    found += [Way(f"{OURS} --jobs {number}", shardwright("--jobs", str(number))) for number in jobs]
    return [Way(way.name, way.act) for way in found] if full else found
