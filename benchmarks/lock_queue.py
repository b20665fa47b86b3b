"""What readers wait while a migration waits: a report holds the table, an ALTER queues behind it, they behind both.

The same revision on one shard by psql, which waits as long as it takes, and by `shardwright migrate`, which gives up
after its lock time-out and comes again. Prints the readers' waits and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import psycopg

from databases import Fleet, example_fleet
from processes import run
from ways import OURS, psql_command

READERS, EVERY = 8, 0.01  # each asks a hundred times a second
HEAD_START, CALM = 0.5, 0.5  # seconds: of the report before the migration, and of readers after it
READ = "SELECT name FROM t1 WHERE id = 1"
NOBODY, PSQL = "no migration", "psql, no lock time-out"


@dataclass(frozen=True)
class Waits:
    """What the readers waited, in ms, from when each answer was due to be asked for; how long the migration took."""

    median: float
    p99: float
    longest: float
    migration: float


def measure(fleet: Fleet, migrate: Callable[[], object], report: float) -> Waits:
    """The readers' waits around `migrate`, which meets a report that holds the table for so many seconds."""
    url, over = fleet.cluster.url(fleet.shards[0]), threading.Event()
    with ThreadPoolExecutor(READERS) as threads:
        readers = [threads.submit(_read, url, over) for _ in range(READERS)]
        try:
            with _report(url, report):
                time.sleep(HEAD_START)
                start = time.perf_counter()
                migrate()
                seconds = time.perf_counter() - start
            time.sleep(CALM)
        finally:
            over.set()
        waits = sorted(wait for reader in readers for wait in reader.result())
    return Waits(_quantile(waits, 0.5), _quantile(waits, 0.99), waits[-1] * 1000, seconds)


def _read(url: str, over: threading.Event) -> list[float]:
    """Seconds that each of a reader's questions waited: they come on time, whether or not the last was answered."""
    waits = []
    with psycopg.connect(url, autocommit=True) as connection:
        due = time.perf_counter()
        while not over.is_set():
            connection.execute(READ).fetchall()
            waits.append(time.perf_counter() - due)
            due += EVERY
            over.wait(max(0.0, due - time.perf_counter()))
    return waits


@contextmanager
def _report(url: str, seconds: float) -> Iterator[None]:
    """Somebody reads the table in a transaction that lasts so long; it is over after the block."""

    def hold() -> None:
        with psycopg.connect(url) as connection:
            connection.execute("SELECT count(*) FROM t1")
            time.sleep(seconds)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _quantile(waits: Sequence[float], share: float) -> float:
    return waits[min(len(waits) - 1, int(share * len(waits)))] * 1000


def benchmark(report: float) -> dict[str, Waits]:
    """The readers' waits, by who migrates."""
    found = {}
    with example_fleet(1) as fleet:
        shard = fleet.cluster.url(fleet.shards[0])
        with psycopg.connect(shard) as connection:
            connection.execute("INSERT INTO t1 (id, organization_id, name) VALUES (1, 1, 'first')")
        psql = [*psql_command(fleet.cluster.binaries.bin / "psql"), "-d", shard, "-f", "one.sql"]
        ours = [sys.executable, "-m", "shardwright", "migrate"]
        for name, migrate in (
            (NOBODY, lambda: time.sleep(report)),
            (PSQL, lambda: run(psql, fleet.project)),
            (OURS, lambda: run(ours, fleet.project)),
        ):
            fleet.take_back()
            found[name] = measure(fleet, migrate, report)
            if name != NOBODY:
                fleet.require_newest(fleet.shards)
    return found


def main() -> int:
    """Exit code 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=float, default=4.0, metavar="SECONDS", help="how long the table is held (4)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    found = benchmark(options.report)
    if options.json:
        print(json.dumps({name: asdict(waits) for name, waits in found.items()}, indent=2))
        return 0
    print(f"{'readers wait, ms':32} {'median':>8} {'p99':>8} {'longest':>8} {'migration, s':>13}")
    for name, waits in found.items():
        print(f"{name:32} {waits.median:8.1f} {waits.p99:8.0f} {waits.longest:8.0f} {waits.migration:13.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
