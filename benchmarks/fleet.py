"""How fast a fleet is migrated: `shardwright migrate` beside a loop over the `alembic` command and one over psql.

All in one run on one embedded server: one new revision on every shard, then a rollout that finds nothing to do.
Prints a table (`--json`: one document) and leaves nothing behind. README.md says what is compared with what.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster, temporary_cluster

EXAMPLE = Path(__file__).parents[1] / "examples" / "tasks"
NEWEST, BEFORE = "3157ff595d95", "62da09e09203"  # the example's last revision and the one below it
LENGTH = 11  # revisions below the last one
DOWN = """
    DROP INDEX IF EXISTS ix_tasks_organization_id_priority;
    ALTER TABLE tasks DROP COLUMN IF EXISTS priority;
    UPDATE alembic_version SET version_num = {before}
"""
SAMPLE = 20  # shards that the slow loops are measured on
ALEMBIC, PSQL, OURS = "alembic, one by one", "psql, one by one", "shardwright migrate"
PSQL_OF_PATH = "psql of PATH, one by one"  # where that is another: Debian's is a script that then starts psql
SAMPLED = {ALEMBIC, PSQL_OF_PATH}
# What we promise: at one new revision beside the alembic command, at nothing to do beside psql.
REVISION_GOAL, NOTHING_GOAL = 10.0, 5.0

# As on anybody's machine: compiled files are kept, and no setting of this shell reaches the clients.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "SHARDWRIGHT_CONFIG"} and not name.startswith("PG")
}


# --- the fleet ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fleet:
    """The example application over a control database and shards; `before` is the revision below the newest."""

    cluster: Cluster
    project: Path
    shards: tuple[str, ...]
    before: str

    def ini(self, shard: str) -> Path:
        """The alembic.ini that names this shard."""
        return self.project / f"{shard}.ini"

    def take_back(self) -> None:
        """Every shard lacks the newest revision again."""
        statements = sql.SQL(DOWN).format(before=sql.Literal(self.before))
        for shard in self.shards:
            with psycopg.connect(self.cluster.url(shard), autocommit=True) as connection:
                connection.execute(statements)

    def require_newest(self, shards: Sequence[str]) -> None:
        """Fails unless these shards have the newest revision: doing nothing is fast."""
        for shard in shards:
            with psycopg.connect(self.cluster.url(shard)) as connection:
                row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            if row != (NEWEST,):
                raise SystemExit(f"{shard} is at {row}, not at {NEWEST}")


@contextmanager
def example_fleet(shards: int, revisions_before: int) -> Iterator[Fleet]:
    """The example over so many databases, with a history so long before its last revision, which they lack."""
    with temporary_cluster() as cluster, tempfile.TemporaryDirectory(prefix="shardwright-bench-") as folder:
        project = Path(shutil.copytree(EXAMPLE, Path(folder) / "tasks", ignore=shutil.ignore_patterns("__pycache__")))
        before = lengthen_history(project / "migrations" / "versions", revisions_before - LENGTH)
        fleet = Fleet(cluster, project, tuple(f"shard_{number}" for number in range(shards)), before)
        write_configuration(fleet)
        make_databases(fleet)
        write_revision_as_sql(fleet)
        run([sys.executable, "-m", "shardwright", "migrate", before], project)  # the control database is made
        yield fleet


def lengthen_history(versions: Path, more: int) -> str:
    """So many revisions more below the newest, that do nothing; gives the one just below it."""
    below = BEFORE
    for number in range(more):
        revision = f"f{number:011x}"
        text = f"revision = {revision!r}\ndown_revision = {below!r}\n\ndef upgrade(): ...\n\ndef downgrade(): ...\n"
        (versions / f"{revision}.py").write_text(text)
        below = revision
    newest = next(versions.glob("0012_*.py"))
    newest.write_text(newest.read_text().replace(f'= "{BEFORE}"', f'= "{below}"'))
    return below


def write_configuration(fleet: Fleet) -> None:
    """shardwright.toml names the shards, and each shard has an alembic.ini of its own for the alembic command."""
    lines = ["[fleet]", f'control = "{fleet.cluster.url("control")}"', 'environment = "test"']
    ini = (fleet.project / "alembic.ini").read_text()
    for shard in fleet.shards:
        lines += [f"[shards.{shard}]", f'url = "{fleet.cluster.url(shard)}"']
        url = DatabaseUrl.parse(fleet.cluster.url(shard)).sqlalchemy("psycopg").replace("%", "%%")
        fleet.ini(shard).write_text(ini.replace("postgresql+psycopg://localhost/tasks", url))
    (fleet.project / "shardwright.toml").write_text("\n".join(lines))


def make_databases(fleet: Fleet) -> None:
    """The first shard is migrated to the revision before the newest, the others are copies of it."""
    first, *others = fleet.shards
    with psycopg.connect(fleet.cluster.url("postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE control")
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(first)))
        run([*alembic(fleet, first), "upgrade", fleet.before], fleet.project)
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        for shard in others:
            admin.execute(copy.format(sql.Identifier(shard), sql.Identifier(first)))


def write_revision_as_sql(fleet: Fleet) -> None:
    """What psql sends: the newest revision as Alembic prints it, version row and transaction included."""
    command = [*alembic(fleet, fleet.shards[0]), "upgrade", f"{fleet.before}:{NEWEST}", "--sql"]
    (fleet.project / "newest.sql").write_text(run(command, fleet.project))


# --- processes and their memory -----------------------------------------------------------------


class PeakMemory:
    """The most memory, in MB, that the commands run with it had at once; None where that can't be seen.

    Everything below a command counts, pages that several share only once. Linux only. A command that has ended
    within a tenth of a second is not seen.
    """

    def __init__(self) -> None:
        self.megabytes: float | None = None
        self._root: int | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def watch(self, pid: int) -> None:
        """From now on this process is the one looked at."""
        self._root = pid

    def _look(self) -> None:
        while not self._over.wait(0.1):
            kilobytes = sum(map(proportional_size, with_descendants(self._root))) if self._root else 0
            if kilobytes:
                self.megabytes = max(self.megabytes or 0.0, kilobytes / 1024)


def with_descendants(pid: int) -> Iterator[int]:
    """The process and all that it and they have started."""
    yield pid
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = tasks.read_text().split()
        except OSError:  # it has just ended
            continue
        for child in children:
            yield from with_descendants(int(child))


def proportional_size(pid: int) -> int:
    """Its memory in kB, a page shared by n processes as one n-th; 0 where it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def run(command: Sequence[str | Path], folder: Path, memory: PeakMemory | None = None) -> str:
    """What `command` printed to stdout, once it has ended well; else the benchmark ends with what it said."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        process = subprocess.Popen(
            command, cwd=folder, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
        )
        if memory is not None:
            memory.watch(process.pid)
        code = process.wait()
        stdout.seek(0)
        stderr.seek(0)
        if code != 0:
            raise SystemExit(f"{' '.join(map(str, command))} ended with {code}:\n{stdout.read()}{stderr.read()}")
        return stdout.read()


def alembic(fleet: Fleet, shard: str) -> list[str | Path]:
    """The alembic command for one shard."""
    return [sys.executable, "-m", "alembic", "-c", fleet.ini(shard)]


# --- the ways -----------------------------------------------------------------------------------

Way = Callable[[Fleet, Sequence[str], PeakMemory], None]


def alembic_loop(fleet: Fleet, shards: Sequence[str], memory: PeakMemory) -> None:
    """The loop that everybody writes first."""
    for shard in shards:
        run([*alembic(fleet, shard), "upgrade", "head"], fleet.project, memory)


def psql_loop(program: Path, *arguments: str) -> Way:
    """A loop over psql, which knows beforehand what is to be done."""

    def act(fleet: Fleet, shards: Sequence[str], memory: PeakMemory) -> None:
        for shard in shards:
            url = fleet.cluster.url(shard)
            run([program, "-Xq", "-v", "ON_ERROR_STOP=1", "-d", url, *arguments], fleet.project, memory)

    return act


def shardwright(*options: str) -> Way:
    """The command line, which takes the whole fleet."""

    def act(fleet: Fleet, _: Sequence[str], memory: PeakMemory) -> None:
        run([sys.executable, "-m", "shardwright", "migrate", *options], fleet.project, memory)

    return act


def ways(fleet: Fleet, jobs: Sequence[int], *psql_arguments: str) -> dict[str, Way]:
    """The loops; our command with its defaults, and with each `--jobs`."""
    found = {ALEMBIC: alembic_loop, PSQL: psql_loop(fleet.cluster.binaries.bin / "psql", *psql_arguments)}
    of_path = shutil.which("psql")
    if of_path and not Path(of_path).samefile(fleet.cluster.binaries.bin / "psql"):
        found[PSQL_OF_PATH] = psql_loop(Path(of_path), *psql_arguments)
    found[OURS] = shardwright()
    return found | {f"{OURS} --jobs {number}": shardwright("--jobs", str(number)) for number in jobs}


# --- measuring ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """How long a way took for so many shards, and the most memory it had, in MB."""

    shards: int
    seconds: float
    memory: float | None

    @property
    def rate(self) -> float:
        """Shards per second."""
        return self.shards / self.seconds


def measure(fleet: Fleet, way: Way, shards: Sequence[str]) -> Measured:
    """The way, taken once; fails where it did not bring the shards to the newest revision."""
    with PeakMemory() as memory:
        start = time.perf_counter()
        way(fleet, shards, memory)
        seconds = time.perf_counter() - start
    fleet.require_newest(shards)
    return Measured(len(shards), seconds, memory.megabytes)


def measure_each(
    fleet: Fleet, compared: Mapping[str, Way], options: argparse.Namespace, *, prepare: Callable[[], None]
) -> dict[str, Measured]:
    """Each way after `prepare`, as often as asked for; the median by speed."""
    found: dict[str, list[Measured]] = {name: [] for name in compared}
    for _ in range(options.repeat):
        for name, way in compared.items():
            shards = fleet.shards[:SAMPLE] if name in SAMPLED and not options.full else fleet.shards
            prepare()
            found[name].append(measure(fleet, way, shards))
    return {name: sorted(each, key=lambda one: one.seconds)[len(each) // 2] for name, each in found.items()}


def benchmark(options: argparse.Namespace) -> dict[str, dict[str, Measured]]:
    """Every way, at one new revision and at nothing to do."""
    with example_fleet(options.shards, options.revisions_before) as fleet:
        revision = ways(fleet, options.jobs, "-f", "newest.sql")
        one = measure_each(fleet, revision, options, prepare=fleet.take_back)
        # The last of them has left every shard at the newest revision.
        reading = ways(fleet, options.jobs, "-c", "SELECT version_num FROM alembic_version")
        nothing = measure_each(fleet, reading, options, prepare=lambda: None)
    return {"one new revision": one, "nothing to do": nothing}


# --- printing -----------------------------------------------------------------------------------


def table(title: str, found: Mapping[str, Measured], shards: int) -> Iterator[str]:
    """The lines of one table; a sample's seconds are scaled to the whole fleet."""
    yield f"{title}, {shards} shards"
    yield f"  {'':32} {'seconds':>8} {'shards/s':>9} {'x alembic':>10} {'x psql':>7} {'memory':>8}"
    for name, each in found.items():
        seconds = f"{'~' if each.shards < shards else ''}{shards / each.rate:.1f}"
        memory = f"{each.memory:.0f} MB" if each.memory else "-"
        faster = [f"{each.rate / found[other].rate:.2f}" for other in (ALEMBIC, PSQL)]
        yield f"  {name:32} {seconds:>8} {each.rate:>9.1f} {faster[0]:>10} {faster[1]:>7} {memory:>8}"
    yield ""


def goals(results: Mapping[str, Mapping[str, Measured]]) -> list[tuple[str, float, float]]:
    """What is promised: its words, the ratio that was measured, the ratio that is wanted."""
    one, nothing = results["one new revision"], results["nothing to do"]
    found = [("one new revision, beside the alembic command", one[OURS].rate / one[ALEMBIC].rate, REVISION_GOAL)]
    for other, words in ((PSQL, "psql"), (PSQL_OF_PATH, "the psql of PATH")):
        if other in nothing:
            found.append((f"nothing to do, beside {words}", nothing[OURS].rate / nothing[other].rate, NOTHING_GOAL))
    return found


def document(results: Mapping[str, Mapping[str, Measured]], options: argparse.Namespace) -> dict[str, Any]:
    """Everything measured, for a machine."""
    return {
        "shards": options.shards,
        "revisions_before": options.revisions_before,
        "processors": os.cpu_count(),
        "python": sys.version.split()[0],
        "results": {
            title: {
                name: {"shards": each.shards, "seconds": each.seconds, "rate": each.rate, "memory_mb": each.memory}
                for name, each in found.items()
            }
            for title, found in results.items()
        },
        "goals": [{"goal": words, "ratio": ratio, "wanted": wanted} for words, ratio, wanted in goals(results)],
    }


def parse() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=200, help="databases in the fleet (200)")
    parser.add_argument(
        "--revisions-before", type=int, default=LENGTH, metavar="N", help=f"length of the history before ({LENGTH})"
    )
    parser.add_argument("--jobs", type=int, nargs="*", default=[], metavar="N", help="also with these --jobs")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="take the median of so many runs (1)")
    parser.add_argument("--full", action="store_true", help=f"the slow loops over all shards, not over {SAMPLE}")
    parser.add_argument("--check", action="store_true", help="exit code 1 where a goal is missed")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


def main() -> int:
    """Exit code 0; 1 with --check where a goal is missed."""
    options = parse()
    results = benchmark(options)
    if options.json:
        print(json.dumps(document(results, options), indent=2))
    else:
        for title, found in results.items():
            print(*table(title, found, options.shards), sep="\n")
        for words, ratio, wanted in goals(results):
            print(f"{'reached' if ratio >= wanted else 'MISSED '}  {words}: {ratio:.1f} x (wanted: {wanted:.0f} x)")
    missed = any(ratio < wanted for _, ratio, wanted in goals(results))
    return 1 if missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
