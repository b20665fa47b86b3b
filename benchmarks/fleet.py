"""How fast a fleet is migrated: `shardwright migrate` beside what people do without it, and how much memory each takes.

All in one run on one embedded server, for each size of fleet: one new revision, nothing to do, twenty revisions from
empty. Prints tables (`--json`: one document) and leaves nothing behind. README.md says what is compared with what.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from databases import Fleet, example_fleet
from processes import PeakMemory, processor_seconds
from ways import ALEMBIC, OURS, PSQL_EIGHT, PSQL_OF_PATH, READS, Task, Way, ways

SIZES = (50, 200, 1000)
ONE, NOTHING, TWENTY = "one new revision", "nothing to do", "twenty revisions from empty"
TWENTY_UP_TO = 200  # shards: all ways take it from empty, and a thousand times twenty revisions is an hour
# What we promise.
BESIDE_ALEMBIC, BESIDE_PSQL, BESIDE_READS, MEMORY_GROWTH = 50.0, 1.0, 3.0, 8.0

TASKS = {
    "one": Task(ONE, "one.sql", Fleet.take_back),
    "twenty": Task(TWENTY, "twenty.sql", Fleet.empty),
    "nothing": Task(NOTHING, None, lambda _: None),
}


@dataclass(frozen=True)
class Measured:
    """How long a way took for so many shards, the processor time of client and server, and the most memory in MB."""

    shards: int
    seconds: float
    processor: float
    memory: float | None

    @property
    def rate(self) -> float:
        """Shards per second."""
        return self.shards / self.seconds


Table = Mapping[str, Measured]  # by way
Results = Mapping[tuple[int, str], Table]  # by size of the fleet and task


def measure(fleet: Fleet, task: Task, way: Way) -> Measured:
    """The way, taken once; fails where it did not bring the shards to the newest revision."""
    shards = fleet.shards[: way.at_most]
    used = processor_seconds(fleet.cluster.pid)
    with PeakMemory() as memory:
        start = time.perf_counter()
        seconds = way.act(fleet, task, shards, memory) or time.perf_counter() - start
    used = processor_seconds(fleet.cluster.pid) - used
    fleet.require_newest(shards)
    return Measured(len(shards), seconds, used, memory.megabytes)


def measure_each(fleet: Fleet, task: Task, options: argparse.Namespace) -> Table:
    """Each way from the same start, as often as asked for; the median by speed."""
    compared = ways(fleet, task, options.jobs, full=options.full)
    found: dict[str, list[Measured]] = {way.name: [] for way in compared}
    for _ in range(options.repeat):
        for way in compared:
            task.prepare(fleet)
            found[way.name].append(measure(fleet, task, way))
            print(f"{len(fleet.shards)} shards, {task.title}, {way.name}", file=sys.stderr)
    return {name: sorted(each, key=lambda one: one.seconds)[len(each) // 2] for name, each in found.items()}


def benchmark(options: argparse.Namespace) -> Results:
    """Every way, for every task, at every size of fleet."""
    results: dict[tuple[int, str], Table] = {}
    for size in options.shards:
        with example_fleet(size) as fleet:
            for name in options.revisions:
                if name == "twenty" and size > TWENTY_UP_TO and not options.full:
                    continue
                results[size, TASKS[name].title] = measure_each(fleet, TASKS[name], options)
            # The last of them has left every shard at the newest revision.
            results[size, NOTHING] = measure_each(fleet, TASKS["nothing"], options)
    return results


def reaches(results: Results) -> Iterator[tuple[str, float, float, bool]]:
    """What is promised: its words, what was measured, what is wanted, and whether it was reached."""
    for (size, title), found in results.items():
        ours = found[OURS].rate
        if title == ONE:
            yield _at_least(
                f"{size} shards, {title}: times the alembic loop", ours / found[ALEMBIC].rate, BESIDE_ALEMBIC
            )
        for name in (PSQL_EIGHT, PSQL_OF_PATH):
            if title == ONE and name in found:
                yield _at_least(f"{size} shards, {title}: times {name}", ours / found[name].rate, BESIDE_PSQL)
        if title == NOTHING and size == max(SIZES):
            took = found[READS].rate / ours
            yield f"{size} shards, {title}: time, in {READS}", took, BESIDE_READS, took <= BESIDE_READS
    memory = {size: found[OURS].memory for (size, title), found in results.items() if title == ONE}
    if len(memory) > 1 and None not in memory.values():
        grown = (memory[max(memory)] or 0.0) - (memory[min(memory)] or 0.0)
        yield f"MB more at {max(memory)} shards than at {min(memory)}", grown, MEMORY_GROWTH, grown <= MEMORY_GROWTH


def _at_least(words: str, ratio: float, wanted: float) -> tuple[str, float, float, bool]:
    return words, ratio, wanted, ratio >= wanted


def table(size: int, title: str, found: Table) -> Iterator[str]:
    """The lines of one table; a sample's seconds are scaled to the whole fleet."""
    yield f"{title}, {size} shards"
    yield f"  {'':32} {'seconds':>8} {'shards/s':>9} {'x alembic':>10} {'x 8 psql':>9} {'ms/shard':>9} {'memory':>8}"
    for name, each in found.items():
        seconds = f"{'~' if each.shards < size else ''}{size / each.rate:.1f}"
        memory = f"{each.memory:.0f} MB" if each.memory else "-"
        work = f"{each.processor / each.shards * 1000:.1f}"
        faster = [f"{each.rate / found[other].rate:.2f}" for other in (ALEMBIC, PSQL_EIGHT)]
        yield f"  {name:32} {seconds:>8} {each.rate:>9.1f} {faster[0]:>10} {faster[1]:>9} {work:>9} {memory:>8}"
    yield ""


def document(results: Results) -> dict[str, Any]:
    """Everything measured, for a machine."""
    return {
        "processors": os.cpu_count(),
        "python": sys.version.split()[0],
        "results": [
            {
                "shards": size,
                "task": title,
                "ways": {name: asdict(each) | {"rate": each.rate} for name, each in found.items()},
            }
            for (size, title), found in results.items()
        ],
        "reaches": [
            {"reach": words, "measured": measured, "wanted": wanted, "reached": reached}
            for words, measured, wanted, reached in reaches(results)
        ],
    }


def parse() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        "--shards",
        type=int,
        nargs="+",
        default=SIZES,
        metavar="N",
        help=f"sizes of fleet ({', '.join(map(str, SIZES))})",
    )
    add("--revisions", nargs="+", choices=("one", "twenty"), default=["one"], help="what is to be done (one)")
    add("--jobs", type=int, nargs="*", default=[], metavar="N", help="also with these --jobs")
    add("--repeat", type=int, default=1, metavar="N", help="take the median of so many runs (1)")
    add("--full", action="store_true", help="every way over all shards, the slow ones too")
    add("--check", action="store_true", help="exit code 1 where a reach is missed")
    add("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


def main() -> int:
    """Exit code 0; 1 with --check where a reach is missed."""
    options = parse()
    results = benchmark(options)
    if options.json:
        print(json.dumps(document(results), indent=2))
    else:
        for (size, title), found in results.items():
            print(*table(size, title, found), sep="\n")
        for words, measured, wanted, reached in reaches(results):
            print(f"{'reached' if reached else 'MISSED '}  {words}: {measured:.2f} (wanted: {wanted:g})")
    return 1 if options.check and not all(reached for *_, reached in reaches(results)) else 0


if __name__ == "__main__":
    sys.exit(main())
