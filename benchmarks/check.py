"""What a look at a whole fleet costs: `shardwright check`, its parts, `status` and the deploy gate, over many shards.

All in one run on one embedded server. Prints a table (`--json`: one document) and leaves nothing behind. README.md says
what the columns are.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import psycopg

from databases import NEWEST, Fleet, example_fleet
from processes import PeakMemory, processor_seconds, run

_ROWS = 2000  # of the referring table, on each shard
_CONFIGURATION = """
[tenants]
root = "t1"
key = "organization_id"
[references]
"t2.name" = "t1.name"
[limits]
connections_per_host = 20
"""
LOOKS: dict[str, Sequence[str]] = {
    "status --require": ("status", "--require", NEWEST),
    "check --quick": ("check", "--quick"),
    "check --only references": ("check", "--only", "references"),
    "check --only tenants": ("check", "--only", "tenants"),
    "check": ("check",),
}


@dataclass(frozen=True)
class Measured:
    """How long a look took, processor time of client and server, MB of memory, most sessions at work at once."""

    seconds: float
    processor: float
    memory: float | None
    connections: int


class Connections:
    """The most sessions of Shardwright that were seen at work on the shards at once; idle ones are not counted."""

    def __init__(self, fleet: Fleet) -> None:
        self.most = 0
        self._url = fleet.cluster.url("postgres")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Connections:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        # A session that its client has closed is seen for a moment more: idle, without a word. It is no connection.
        query = """SELECT count(*) FROM pg_stat_activity
                   WHERE datname LIKE 'shard\\_%' AND application_name LIKE 'shardwright%' AND state = 'active'"""
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._over.wait(0.005):
                row = connection.execute(query).fetchone()
                self.most = max(self.most, row[0] if row else 0)


def measure(fleet: Fleet, words: Sequence[str]) -> Measured:
    """The command, taken once; fails where it does not find all well."""
    used = processor_seconds(fleet.cluster.pid)
    with PeakMemory() as memory, Connections(fleet) as connections:
        start = time.perf_counter()
        run([sys.executable, "-m", "shardwright", *words], fleet.project, memory)
        seconds = time.perf_counter() - start
    used = processor_seconds(fleet.cluster.pid) - used
    return Measured(seconds, used, memory.megabytes, connections.most)


def fill(fleet: Fleet) -> None:
    """Each shard has a tenant, and rows that refer to those of the next shard."""
    count = len(fleet.shards)
    for number, shard in enumerate(fleet.shards):
        with psycopg.connect(fleet.cluster.url(shard), autocommit=True) as connection:
            connection.execute(
                "INSERT INTO t1 (id, organization_id, name) VALUES (%s, %s, %s)", [number, number, shard]
            )
            connection.execute(
                "INSERT INTO t2 (organization_id, name) SELECT %s, %s FROM generate_series(1, %s)",
                [number, fleet.shards[(number + 1) % count], _ROWS],
            )
    with (fleet.project / "shardwright.toml").open("a") as file:
        file.write(_CONFIGURATION)
    run([sys.executable, "-m", "shardwright", "migrate"], fleet.project)
    run([sys.executable, "-m", "shardwright", "tenants", "sync"], fleet.project)


def parse() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=200, metavar="N", help="size of the fleet (200)")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="take the median of so many runs (3)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


def main() -> None:
    """Measures each look."""
    options = parse()
    with example_fleet(options.shards) as fleet:
        fill(fleet)
        found = {}
        for name, words in LOOKS.items():
            runs = sorted((measure(fleet, words) for _ in range(options.repeat)), key=lambda each: each.seconds)
            found[name] = runs[len(runs) // 2]
            print(f"{options.shards} shards, {name}", file=sys.stderr)
    if options.json:
        figures = {name: asdict(each) for name, each in found.items()}
        print(json.dumps({"processors": os.cpu_count(), "shards": options.shards, "figures": figures}, indent=2))
        return
    print(f"{options.shards} shards")
    print(f"  {'':26} {'seconds':>8} {'ms/shard':>9} {'memory':>8} {'connections':>12}")
    for name, each in found.items():
        work, memory = each.processor / options.shards * 1000, f"{each.memory:.0f} MB" if each.memory else "-"
        print(f"  {name:26} {each.seconds:>8.1f} {work:>9.1f} {memory:>8} {each.connections:>12}")


if __name__ == "__main__":
    main()
