"""How fast durable runs are begun, taken over from the dead, and got through: real workers on one embedded server.

Prints a table (`--json`: one document) and leaves nothing behind. README.md says what the figures are.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from psycopg import sql

from shardwright import fleet as fleets
from shardwright.embedded import Cluster, temporary_cluster
from shardwright.runs.board import Board
from shardwright.runs.kinds import Kind, Step, StepContext
from shardwright.runs.stopping import StopRequest

MANY = 64  # more places than there are runs


def _wait(context: StepContext) -> None:
    until = time.monotonic() + context.plan["seconds"]
    while time.monotonic() < until:
        context.raise_if_stopped()
        time.sleep(0.05)


KIND = Kind("wait", (Step("wait", _wait),))


@dataclass
class Bench:
    """A project without shards to speak of, its control database, and workers."""

    cluster: Cluster
    folder: Path
    url: str
    time_to_live: float

    @contextmanager
    def workers(self, count: int, *, at_once: int) -> Iterator[list[subprocess.Popen[bytes]]]:
        """So many are ready; afterwards they are dead."""
        command = [sys.executable, __file__, "--work", str(at_once)]
        processes = [subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL) for _ in range(count)]
        try:
            self.until("SELECT count(*) >= %s FROM shardwright.worker WHERE process = ANY (%s)", count,
                       [process.pid for process in processes])  # fmt: skip
            yield processes
        finally:
            for process in processes:
                process.kill()
                process.wait()

    @contextmanager
    def board(self) -> Iterator[Board]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            yield Board(connection, "main")

    def create(self, count: int, seconds: float = 0.0) -> list[int]:
        """New runs, whose step takes so long."""
        with self.board() as board:
            return [board.create(KIND, {"seconds": seconds}) for _ in range(count)]

    def ask(self, query: str, *values: Any) -> Any:
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute(query, values).fetchone()
        return row and row[0]

    def until(self, query: str, *values: Any) -> Any:
        """What the query gives, once that is true."""
        while not (value := self.ask(query, *values)):
            time.sleep(0.02)
        return value

    def until_finished(self, runs: list[int]) -> None:
        self.until("SELECT bool_and(state = 'finished') FROM shardwright.run WHERE id = ANY (%s)", runs)


def dispatch(bench: Bench, times: int) -> list[float]:
    """From a run's making to the begin of its first step, with one idle worker."""
    query = """SELECT extract('epoch' FROM begun_at - started_at)::float
               FROM shardwright.run JOIN shardwright.run_step ON run = id WHERE id = %s"""
    taken = []
    with bench.workers(1, at_once=1):
        for _ in range(times):
            runs = bench.create(1)
            bench.until_finished(runs)
            taken.append(bench.ask(query, runs[0]))
            time.sleep(0.13)  # not always at the same moment of the worker's round
    return taken


def takeover(bench: Bench, times: int) -> list[float]:
    """From a worker's kill -9 to the begin of its run's step elsewhere, a second worker being idle."""
    begun = "SELECT count(*) > %s FROM shardwright.run_event WHERE run = %s AND data ->> 'state' = 'begun'"
    taken = []
    for _ in range(times):
        with bench.workers(2, at_once=1) as workers:
            time.sleep(bench.time_to_live + 1.0)  # both have been looking for long enough to judge
            (run,) = bench.create(1, seconds=1e6)
            bench.until(begun, 0, run)
            query = (
                "SELECT process FROM shardwright.worker WHERE id = (SELECT worker FROM shardwright.run WHERE id = %s)"
            )
            holder = bench.ask(query, run)
            killed = time.monotonic()
            next(worker for worker in workers if worker.pid == holder).kill()
            bench.until(begun, 1, run)
            taken.append(time.monotonic() - killed)
        with bench.board() as board:
            board.cancel(run)  # the next worker that begins takes it back
    return taken


def throughput(bench: Bench, workers: int, runs: int) -> float:
    """Runs of one step that does nothing, per second."""
    with bench.workers(workers, at_once=8):
        begun = time.monotonic()
        bench.until_finished(bench.create(runs))
        return runs / (time.monotonic() - begun)


@contextmanager
def made(seconds: float) -> Iterator[Bench]:
    """A fresh control database, on a server of its own, with that time to live."""
    with ExitStack() as stack:
        cluster = stack.enter_context(temporary_cluster())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
            for name in ("control", "shard"):
                admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        (folder / "shardwright.toml").write_text(
            f'[fleet]\ncontrol = "{cluster.url("control")}"\n[shards.one]\nurl = "{cluster.url("shard")}"\n'
            f'[runs]\ntime_to_live = "{seconds:.0f}s"\nat_once = {MANY}\nper_host = {MANY}\n'
        )
        with fleets.Fleet.from_config(folder / "shardwright.toml")._connect_to_act():
            pass  # the control schema is made
        yield Bench(cluster, folder, cluster.url("control"), seconds)


def measure(times: int) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Each figure by its name."""
    with made(10) as bench:
        yield "dispatch, seconds", _spread(dispatch(bench, 4 * times))
        for workers in (1, 3):
            yield (
                f"runs per second, {workers} worker{'s' * (workers > 1)}",
                {"median": median(throughput(bench, workers, 100) for _ in range(3))},
            )
    for seconds in (2, 10):
        with made(seconds) as bench:
            yield f"takeover with time_to_live {seconds} s, seconds", _spread(takeover(bench, times))


def _spread(values: list[float]) -> dict[str, float]:
    return {"least": min(values), "median": median(values), "most": max(values)}


def work(at_once: int) -> None:
    """This process is a worker until it is killed."""
    fleets.KINDS = (KIND,)
    fleets.Fleet.from_config().work(at_once=at_once, stop=StopRequest())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="how many workers die at each time to live")
    parser.add_argument("--json", action="store_true", help="one document instead of a table")
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work)
    say: Callable[[str, Mapping[str, float]], None] = _line if not options.json else lambda *_: None
    figures = {}
    for name, values in measure(options.times):
        figures[name] = values
        say(name, values)
    if options.json:
        print(json.dumps({"processors": os.cpu_count(), "figures": figures}, indent=2))


def _line(name: str, values: Mapping[str, float]) -> None:
    print(f"{name:45}", "  ".join(f"{key} {value:.2f}" for key, value in values.items()), flush=True)


if __name__ == "__main__":
    main()
