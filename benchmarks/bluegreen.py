"""A blue-green change: backfill beside pg_dump | pg_restore, what dual writes cost, write gaps, how lag behaves.

`python benchmarks/bluegreen.py [backfill cost gap lag]`; benchmarks/README.md says what each measure is.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psycopg

from move import Figures, on_processor, percentiles, short
from moving import SCHEMA, two_servers
from shardwright.embedded import Cluster
from shardwright.fleet import Fleet
from shardwright.runs.stopping import StopRequest

Clusters = tuple[Cluster, Cluster]
TENANTS = 20
ROWS = 200_000
_TURN = 10
_ROWS = f"""
INSERT INTO organizations SELECT n, 'organization ' || n FROM generate_series(1, {TENANTS}) AS n;
INSERT INTO tasks
SELECT n, 1 + n % {TENANTS}, 'task ' || n, repeat(md5(n::text), 6), (ARRAY['new', 'open', 'done'])[1 + n % 3],
       timestamptz '2026-01-01' + n * interval '1 second'
FROM generate_series(1, ROWS) AS n;
INSERT INTO comments SELECT n, n, 'well' FROM generate_series(1, ROWS / 10) AS n
"""
_REVISION = '''
from alembic import op

revision, down_revision = "r1", None


def upgrade():
    op.execute("""{schema}""")


def downgrade():
    op.execute("DROP TABLE comments, tasks, organizations")
'''


@dataclass
class Site:
    """One blue shard with its tenants, and two green ones on the other server that a change would make."""

    clusters: Clusters
    folder: Path

    @property
    def fleet(self) -> Fleet:
        """The fleet of the blue shard."""
        return Fleet.from_config(self.folder / "shardwright.toml")

    def url(self, name: str) -> str:
        """Of a shard, of `control`, or of another database."""
        return self.clusters[name.startswith("green") or name == "restored"].url(name)

    def sql(self, name: str, script: str) -> None:
        """Done there, statement by statement."""
        with psycopg.connect(self.url(name), autocommit=True) as connection:
            connection.execute(script.encode())

    def database(self, name: str) -> None:
        """An empty one."""
        with psycopg.connect(self.clusters[name == "restored"].url("postgres"), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}")

    def build(self, rows: int) -> None:
        """The blue shard has so many tasks, and the directory its tenants."""
        subprocess.run(
            [sys.executable, "-m", "shardwright", "init", "--quiet"], cwd=self.folder, check=True, capture_output=True
        )
        (self.folder / "shardwright.toml").write_text(
            f'[fleet]\ncontrol = "{self.url("control")}"\nenvironment = "test"\n'
            '[tenants]\nroot = "organizations"\nkey = "organization_id"\n'
            f'[shards.blue]\nurl = "{self.url("blue")}"\n'
            '[bluegreen]\nplacement = "least_loaded"\n'
            f'[bluegreen.shards.green_0]\nurl = "{self.url("green_0")}"\n'
            f'[bluegreen.shards.green_1]\nurl = "{self.url("green_1")}"\n'
        )
        versions = self.folder / "migrations" / "versions"
        for old in versions.glob("*.py"):
            old.unlink()
        (versions / "r1.py").write_text(_REVISION.format(schema=SCHEMA))
        for name in ("control", "blue"):
            self.database(name)
        self.fleet.migrate("head")
        self.sql("blue", _ROWS.replace("ROWS", str(rows)))
        self.sql("blue", "VACUUM ANALYZE")
        self.fleet.sync_tenants()

    def start(self) -> int:
        """A change is in step, and nobody keeps it so; gives its run."""
        fleet = self.fleet
        run = fleet.start_bluegreen(fleet.plan_bluegreen())
        status = fleet.carry_bluegreen(run, until=lambda each: each.change.phase == "in_step")
        if status.change.phase != "in_step":
            raise SystemExit(f"the change is not in step: {status.run.told}, {status.run.note}")
        return run

    @contextmanager
    def carried(self, run: int) -> Iterator[None]:
        """Somebody keeps it in step within the block."""
        stop = StopRequest()
        thread = threading.Thread(target=lambda: self.fleet.carry_bluegreen(run, stop=stop))
        thread.start()
        try:
            yield
        finally:
            stop.let_go()
            thread.join()


@contextmanager
def site(clusters: Clusters, rows: int) -> Iterator[Site]:
    """All of it gone after the block."""
    with tempfile.TemporaryDirectory(prefix="shardwright-bench-") as folder:
        made = Site(clusters, Path(folder))
        made.build(rows)
        yield made
        for cluster in clusters:
            with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
                query = "SELECT datname FROM pg_database WHERE datname NOT LIKE 'template%' AND datname <> 'postgres'"
                for (name,) in admin.execute(query).fetchall():
                    admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


# --- backfill -------------------------------------------------------------------------------------


def backfill(clusters: Clusters, options: argparse.Namespace) -> Iterator[tuple[str, Figures]]:
    """Rows per second of the copy, and of all until green is in step; pg_dump | pg_restore of the same shard."""
    for rows in options.rows:
        with site(clusters, rows) as made:
            made.database("restored")
            restored = _by_pg_dump(made)
            began = time.monotonic()
            made.start()
            whole = time.monotonic() - began
            done = next(step for step in made.fleet.bluegreen_status().steps if step.name == "copy").result
            ours = done["rows"] / done["seconds"]
            yield f"backfill of {rows:,} tasks", {
                "rows/s": ours, "pg_dump | pg_restore": done["rows"] / restored,
                "times pg_restore": ours * restored / done["rows"], "in step after s": whole,
            }  # fmt: skip


def _by_pg_dump(made: Site) -> float:
    binaries = made.clusters[0].binaries.bin
    began = time.monotonic()
    dump = subprocess.Popen([binaries / "pg_dump", "-Fc", "-d", made.url("blue")], stdout=subprocess.PIPE)
    subprocess.run([binaries / "pg_restore", "-d", made.url("restored")], stdin=dump.stdout, check=True)
    if dump.wait() != 0:
        raise SystemExit("pg_dump has failed")
    return time.monotonic() - began


# --- what dual writes cost ------------------------------------------------------------------------


def cost(clusters: Clusters, options: argparse.Namespace) -> Iterator[tuple[str, Figures]]:
    """The server's processor time for each write while changes are noted, and beside it without, in short turns."""
    kinds = {"table with the tenant key": _write_task, "table without it": _write_comment}
    with site(clusters, 10_000) as made:
        with psycopg.connect(made.clusters[0].url("postgres"), autocommit=True) as admin:
            admin.execute("CREATE DATABASE plain TEMPLATE blue")
        made.start()
        for name, write in kinds.items():
            with _writer(made, "plain", write) as off, _writer(made, "blue", write) as on:
                found = []
                for turn in range(options.turns + 1):
                    first = 10**9 + turn * _TURN
                    pair = {each: each(first) for each in ((off, on) if turn % 2 else (on, off))}
                    found.append((pair[off], pair[on] - pair[off]))
            least, more = (median(each) for each in zip(*found[1:], strict=True))
            yield (
                f"writes to a {name}",
                {"server us/write off": least * 1e6, "more": more * 1e6, "more cpu %": 100 * more / least},
            )


@contextmanager
def _writer(made: Site, shard: str, write: Callable[..., None]) -> Iterator[Callable[[int], float]]:
    with psycopg.connect(made.url(shard), autocommit=True) as connection:
        pid = connection.info.backend_pid

        def turn(first: int) -> float:
            used = on_processor(pid)
            for number in range(first, first + _TURN):
                write(connection, number)
            return (on_processor(pid) - used) / _TURN

        yield turn


def _write_task(connection: psycopg.Connection[tuple[object, ...]], number: int) -> None:
    query = "INSERT INTO tasks VALUES (%s, 3, 'new', 'a body of some length', 'new', now())"
    connection.execute(query, [number], prepare=True)
    connection.execute("UPDATE tasks SET status = 'done' WHERE id = %s", [number], prepare=True)


def _write_comment(connection: psycopg.Connection[tuple[object, ...]], number: int) -> None:
    connection.execute("INSERT INTO comments VALUES (%s, 7, 'well')", [number], prepare=True)
    connection.execute("UPDATE comments SET body = 'very well' WHERE id = %s", [number], prepare=True)


# --- the write gap --------------------------------------------------------------------------------


def gap(clusters: Clusters, options: argparse.Namespace) -> Iterator[tuple[str, Figures]]:
    """Every tenant switched while others, and the first, are written to."""
    rows = options.rows[0]
    with site(clusters, rows) as made:
        run = made.start()
        with made.carried(run), _rate(made, options.gap_rate):
            _, order = made.fleet.switch_bluegreen()
            while not made.fleet.bluegreen_order_ended(order):
                time.sleep(0.2)
            found = [made.fleet.bluegreen_tenant(str(number + 1)) for number in range(TENANTS)]
        gaps = [float(each.write_gap["gap_ms"]) for each in found if each.write_gap]
        yield f"write gap, {TENANTS} tenants of {rows // TENANTS:,} tasks", percentiles("ms", gaps)


# --- lag ------------------------------------------------------------------------------------------


def lag(clusters: Clusters, options: argparse.Namespace) -> Iterator[tuple[str, Figures]]:
    """How far green is behind after some seconds of so many changed rows a second."""
    with site(clusters, options.rows[0]) as made:
        run = made.start()
        with made.carried(run):
            for rate in options.rates:
                with _rate(made, rate) as written:
                    time.sleep(options.seconds)
                    lane = max(made.fleet.bluegreen_status().lanes, key=lambda each: each.lag_seconds or 0.0)
                yield (
                    f"lag at {rate:,} rows/s",
                    {
                        "written/s": written[0] / options.seconds,
                        "keys": float(lane.keys or 0),
                        "seconds": lane.lag_seconds or 0.0,
                    },
                )
                _wait_until_in_step(made)


def _wait_until_in_step(made: Site) -> None:
    while any(lane.keys for lane in made.fleet.bluegreen_status().lanes):
        time.sleep(0.5)


@contextmanager
def _rate(made: Site, rate: int) -> Iterator[list[int]]:
    """So many rows a second are changed on blue within the block, wherever the tenants are written; gives how many."""
    over, written = threading.Event(), [0]

    def write() -> None:
        with psycopg.connect(made.url("blue"), autocommit=True) as connection:
            turn, began = 0, time.monotonic()
            while not over.is_set():
                turn += 1
                share = max(1, rate // 20)
                first = 1 + turn * share % 100_000
                try:
                    done = connection.execute(
                        "UPDATE tasks SET status = %s WHERE id BETWEEN %s AND %s",
                        [f"s{turn}", first, first + share - 1],
                    )
                    written[0] += done.rowcount
                except psycopg.Error as error:
                    if error.sqlstate != "SW001":
                        raise
                over.wait(max(0.0, began + turn / 20 - time.monotonic()))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield written
    finally:
        over.set()
        thread.join()


MEASURES: dict[str, Callable[[Clusters, argparse.Namespace], Iterator[tuple[str, Figures]]]] = {
    "backfill": backfill,
    "cost": cost,
    "gap": gap,
    "lag": lag,
}


def parse() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("measures", nargs="*", choices=(*MEASURES, []), metavar="MEASURE", help=f"of {', '.join(MEASURES)} (all)")
    add("--rows", type=int, nargs="+", default=[ROWS], metavar="N", help=f"tasks on the blue shard ({ROWS})")
    add("--turns", type=int, default=400, metavar="N", help=f"of {_TURN} writes each, noted and not (400)")
    add("--rates", type=int, nargs="+", default=[200, 1_000, 2_000, 5_000, 10_000], metavar="N", help="changed rows/s")
    add("--gap-rate", type=int, default=200, metavar="N", help="changed rows/s while tenants are switched (200)")
    add("--seconds", type=float, default=8.0, metavar="S", help="for which each rate is kept (8)")
    add("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


def main() -> int:
    """Exit code 0."""
    options, found = parse(), dict[str, Figures]()
    with ExitStack() as stack:
        clusters = stack.enter_context(two_servers())
        for measure in options.measures or MEASURES:
            for name, figures in MEASURES[measure](clusters, options):
                found[name] = figures
                if not options.json:
                    told = "  ".join(f"{key} {short(value)}" for key, value in figures.items())
                    print(f"{name:48}", told, flush=True)
    if options.json:
        machine = {"processors": os.cpu_count(), "python": sys.version.split()[0], "load": os.getloadavg()}
        print(json.dumps({**machine, "figures": found}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
