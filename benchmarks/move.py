"""How a tenant is moved: copy and comparison beside psql and pg_dump, write gap, what it costs writers, memory.

All in one run on two embedded servers. Prints figures (`--json`: one document) and leaves nothing behind. README.md
says what is compared with what, and what is promised.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from moving import COLUMNS, OTHER, SOURCE, TARGET, TENANT, Shards, shards, tiny_shards, two_servers
from processes import PeakMemory, client_seconds, run
from shardwright.catalog.control import open_control
from shardwright.catalog.placement import find, move_placement
from shardwright.embedded import Cluster
from shardwright.move.way import Way
from shardwright.runs.board import Board
from shardwright.runs.kinds import StepContext
from shardwright.transfer import capture
from shardwright.transfer.copy import Copy
from shardwright.transfer.drain import drain, forget_drained, make_room, snapshot
from shardwright.transfer.sessions import write_silently
from shardwright.transfer.switch import NotNow, Switch

COPY_ROWS, LARGE_COPY_ROWS = 300_000, 4_000_000
GAP_ROWS, LARGE_GAP_ROWS = (10_000, 1_000_000), 5_000_000
MEMORY_ROWS = (100_000, 1_000_000)
OURS, WHOLE, PSQL, DUMP = "shardwright's copy", "a whole move", "psql | psql", "pg_dump | pg_restore"
# What we promise.
BESIDE_PSQL, BESIDE_PSQL_LARGE, GAP_MS, GAP_GROWTH, OTHERS_COST, MEMORY_GROWTH, TINY_SECONDS = (
    1.2, 1.0, 100.0, 2.0, 5.0, 8.0, 1.0,
)  # fmt: skip

Figures = dict[str, float]
Clusters = tuple[Cluster, Cluster]
_TURN = 10  # writes; what else the machine does is then much the same for a turn with triggers and the next without
_MOVE = 1000  # the number of a move that is no run
_AT_ONCE_MS = 30.0  # a figure that is below twice this has not grown: it is the machine's noise


@dataclass(frozen=True)
class Reach:
    """What is promised, what was measured, and whether that is enough."""

    words: str
    measured: float
    wanted: float
    is_least: bool = False

    @property
    def reached(self) -> bool:
        """Whether the promise is kept."""
        return self.measured >= self.wanted if self.is_least else self.measured <= self.wanted


# --- copy and comparison --------------------------------------------------------------------------


def copy(clusters: Clusters, options: argparse.Namespace) -> Iterator[tuple[str, Figures]]:
    """Rows per second of each way, from the same rows into the same empty tables with their indexes."""
    for rows in options.copy_rows:
        with shards(clusters, rows) as made:
            _make_alone(made)
            ways: dict[str, Callable[[Shards], Figures]] = {
                OURS: partial(_copied, streams=options.streams), PSQL: _by_psql, DUMP: _by_dump, WHOLE: _moved,
            }  # fmt: skip
            found: dict[str, list[Figures]] = {name: [] for name in ways}
            for _ in range(options.repeat):
                for name, way in ways.items():
                    made.empty_target()
                    found[name].append(_timed(made, rows, way))
                    _say(f"copy, {rows} rows, {name}: {found[name][-1]['rows/s']:.0f} rows/s")
            medians = {name: _median(each, "rows/s") for name, each in found.items()}
            for name, each in medians.items():
                ratio = {f"x {PSQL}": each["rows/s"] / medians[PSQL]["rows/s"]}
                yield f"copy, {rows} rows: {name}", each | ratio


def _timed(made: Shards, rows: int, way: Callable[[Shards], Figures]) -> Figures:
    clients, servers = client_seconds(), made.server_seconds()
    took = way(made)
    seconds = took.pop("seconds")
    time.sleep(0.2)  # what a session has used is counted once it has ended
    used = {
        "client s/million": client_seconds() - clients,
        "server s/million": made.server_seconds() - servers,
    }
    arrived = made.sql(TARGET, f"SELECT count(*) FROM tasks WHERE organization_id = {TENANT}")[0][0]
    if arrived != rows:
        raise SystemExit(f"{arrived} of {rows} rows have arrived")
    if way is _moved:
        made.fleet.undo_move(TENANT)
    return {"rows/s": rows / seconds, **{name: each / rows * 1e6 for name, each in used.items()}, **took}


def _copied(made: Shards, streams: int) -> Figures:
    """The copy of a move, with triggers on both shards and all that it writes down; nobody else writes."""
    here, there = made.sessions_of(SOURCE, _MOVE), made.sessions_of(TARGET, _MOVE)
    scope, context = made.scope(_MOVE), StepContext(fleet=made.fleet.resolved, run=_MOVE, plan={})
    with _capture(made), _capture(made, TARGET):
        began = time.monotonic()
        Copy(scope, here, there, context, streams=streams).copy()
        return {"seconds": time.monotonic() - began}


def _moved(made: Shards) -> Figures:
    """From the plan until the way back is all that is kept; how fast the two comparisons in it were."""
    began = time.monotonic()
    found = {step.name: step for step in made.move().steps}
    seconds = time.monotonic() - began
    rates = {
        f"{name} rows/s": step.result["rows"] / (step.ended_at - step.begun_at).total_seconds()
        for name, step in found.items()
        if name in ("compare", "prove") and step.ended_at and step.begun_at
    }
    return {"seconds": seconds, **rates}


def _by_psql(made: Shards) -> Figures:
    """Binary, no trigger fired, as the move does it: the best that two psql can do."""
    rows = f"SELECT {COLUMNS} FROM tasks WHERE organization_id = {TENANT}"
    return _piped(
        made,
        [_bin(made, "psql"), "-qXc", f"COPY ({rows}) TO STDOUT (FORMAT binary)", made.url(SOURCE)],
        [_bin(made, "psql"), "-qXc", f"COPY tasks ({COLUMNS}) FROM STDIN (FORMAT binary)", made.url(TARGET)],
    )


def _by_dump(made: Shards) -> Figures:
    """Of a database that has these rows only: pg_dump knows no condition."""
    data = ["--data-only", "--disable-triggers"]
    return _piped(
        made,
        [_bin(made, "pg_dump"), "-Fc", "-Z0", "-t", "tasks", *data, made.url("alone")],
        [_bin(made, "pg_restore"), *data, "-d", made.url(TARGET)],
    )


def _piped(made: Shards, out: list[str], into: list[str]) -> Figures:
    made.sql(TARGET, "INSERT INTO organizations VALUES (1, 'one')")
    quiet = f"export PGOPTIONS='-c session_replication_role=replica'; {shlex.join(out)} | {shlex.join(into)}"
    began = time.monotonic()
    run(["sh", "-c", quiet], made.folder)
    return {"seconds": time.monotonic() - began}


def _make_alone(made: Shards) -> None:
    made.create("alone")
    definition = [_bin(made, "pg_dump"), "-s", "-t", "tasks", "-t", "organizations", made.url(SOURCE)]
    rows = f"SELECT {COLUMNS} FROM tasks WHERE organization_id = {TENANT}"
    run(
        ["sh", "-c", " && ".join((
            f"{shlex.join(definition)} | {shlex.join([_bin(made, 'psql'), '-qX', made.url('alone')])}",
            shlex.join([_bin(made, "psql"), "-qXc", f"COPY ({rows}) TO STDOUT (FORMAT binary)", made.url(SOURCE)])
            + " | PGOPTIONS='-c session_replication_role=replica' "
            + shlex.join([_bin(made, "psql"), "-qXc", f"COPY tasks ({COLUMNS}) FROM STDIN (FORMAT binary)",
                          made.url("alone")]),
        ))],
        made.folder,
    )  # fmt: skip


def _bin(made: Shards, name: str) -> str:
    return str(made.clusters[0].binaries.bin / name)


# --- write gap ------------------------------------------------------------------------------------


def gap(clusters: Clusters, options: argparse.Namespace) -> Iterator[tuple[str, Figures]]:
    """How long the tenant could not write: by the mover's clock, and how long the writers' slowest write took."""
    for rows in options.gap_rows:
        with shards(clusters, rows) as made, made.writers(4, options.pause) as writes:
            status = made.move()
            _say(f"gap, {rows} rows: moved, write gap {status.move.write_gap}")
            switches = list(_back_and_forth(made, status.run.id, status.run.runner, options.switches))
        felt = [
            max((acked - asked for asked, acked in writes if asked < end and acked > begin), default=0.0) * 1000
            for begin, end, _ in switches
        ]
        gaps = [each for *_, each in switches]
        span = max(end for _, end in writes) - min(begin for begin, _ in writes)
        yield (
            f"write gap, {rows} rows, ms",
            {
                "first": float((status.move.write_gap or {}).get("gap_ms") or 0.0),
                **percentiles("gap", gaps), **percentiles("felt", felt),
                "writes/s": len(writes) / span, "switches": float(len(switches)),
            },
        )  # fmt: skip


def _back_and_forth(made: Shards, run: int, runner: int, times: int) -> Iterator[tuple[float, float, float]]:
    """Switches of a tenant that both shards capture: begin, end, gap in ms. The decision is the directory's."""
    fleet = made.fleet.resolved
    with open_control(fleet.control, application_name="benchmark") as control:
        plan = Board(control, "main").run(run)
        if plan is None:
            raise SystemExit(f"run {run} is gone")
        way = Way.of(StepContext(fleet=fleet, run=run, plan=plan.plan, runner=runner))
        present = find(control, "main", TENANT)
        epoch = present.epoch if present else 0
        while times:
            way = way.back()
            here, there = way.source.shard.name, way.target.shard.name

            def decide(here: str = here, there: str = there, epoch: int = epoch) -> None:
                with control.transaction():
                    move_placement(control, "main", TENANT, here, there, expected_epoch=epoch, changed_by="benchmark")

            while True:
                time.sleep(0.2)
                began = time.monotonic()
                try:
                    done = Switch(
                        way.scope, way.source, way.target, way.write_gap, decide, gone_to=there, epoch=epoch + 1
                    ).go()
                except NotNow as error:
                    _say(f"not now: {error}")
                else:
                    break
            yield began, time.monotonic(), (done.gap or 0.0) * 1000
            epoch, times = epoch + 1, times - 1


# --- what it costs writers ------------------------------------------------------------------------


def cost(clusters: Clusters, options: argparse.Namespace) -> Iterator[tuple[str, Figures]]:
    """The server's processor time for each write with a move's triggers, and beside it without, in short turns."""
    kinds = {
        "the tenant's own": (_write_task, TENANT),
        "the tenant's own, table without the tenant key": (_write_comment, TENANT),
        "another tenant's": (_write_task, OTHER),
        "another tenant's, table without the tenant key": (_write_comment, OTHER),
    }
    numbers = itertools.count(10**9, _TURN)
    with shards(clusters, 10_000) as without, shards(clusters, 10_000) as with_triggers, _capture(with_triggers):
        for made in (without, with_triggers):  # of an empty table, all would be read for each row
            made.sql(SOURCE, "INSERT INTO comments SELECT id, id, 'well' FROM tasks; ANALYZE comments")
        for name, (write, tenant) in kinds.items():
            with _writer(without, write, tenant) as off, _writer(with_triggers, write, tenant) as on:
                found = []
                for turn in range(options.turns + 1):
                    first = next(numbers)
                    pair = {each: each(first) for each in ((off, on) if turn % 2 else (on, off))}
                    found.append((*pair[off], *(more - less for less, more in zip(pair[off], pair[on], strict=True))))
            cpu, whole, more_cpu, more = (median(each) for each in zip(*found[1:], strict=True))
            figures = {"server us/write off": cpu * 1e6, "more": more_cpu * 1e6, "more cpu %": 100 * more_cpu / cpu,
                       "us/write off": whole * 1e6, "slower %": 100 * more / whole}  # fmt: skip
            yield f"writes of {name}", figures


@contextmanager
def _writer(made: Shards, write: Callable[..., None], tenant: str) -> Iterator[Callable[[int], tuple[float, float]]]:
    """A session, and what so many writes of it take: for each, seconds of the server's processor, and of waiting."""
    with made.connect(SOURCE) as connection:
        [[task, pid]] = connection.execute(
            "SELECT min(id), pg_backend_pid() FROM tasks WHERE organization_id = %s", [tenant]
        ).fetchall()

        def turn(first: int) -> tuple[float, float]:
            used, began = on_processor(pid), time.monotonic()
            for number in range(first, first + _TURN):
                write(connection, tenant, task, number)
            return (on_processor(pid) - used) / _TURN, (time.monotonic() - began) / _TURN

        yield turn


def on_processor(pid: int) -> float:
    """Seconds that a process has been on a processor."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _write_task(connection: psycopg.Connection[Any], tenant: str, task: int, number: int) -> None:
    del task
    query = "INSERT INTO tasks VALUES (%s, %s, 'new', 'a body of some length', 'new', now())"
    connection.execute(query, [number, tenant], prepare=True)
    connection.execute("UPDATE tasks SET status = 'done' WHERE id = %s", [number], prepare=True)


def _write_comment(connection: psycopg.Connection[Any], tenant: str, task: int, number: int) -> None:
    del tenant
    connection.execute("INSERT INTO comments VALUES (%s, %s, 'well')", [number, task], prepare=True)
    connection.execute("UPDATE comments SET body = 'very well' WHERE id = %s", [number], prepare=True)


@contextmanager
def _capture(made: Shards, side: str = SOURCE, move: int = _MOVE) -> Iterator[None]:
    """A move's triggers are on every table of the shard."""
    scope, context = made.scope(move), StepContext(fleet=made.fleet.resolved, run=move, plan={})
    with made.connect(side) as connection:
        capture.make_schema(connection)
        capture.register(
            connection, scope, side=side, is_open=side == SOURCE, gone_to=None, epoch=1, runner=0
        )  # fmt: skip
        capture.install(connection, scope, side, context, timedelta(seconds=1))
        yield
        capture.remove(connection, move, context, timedelta(seconds=1))
        capture.forget(connection, move)


# --- drain ----------------------------------------------------------------------------------------


def drained(clusters: Clusters, options: argparse.Namespace) -> Iterator[tuple[str, Figures]]:
    """Keys per second from the queue to the target, in rounds of several sizes."""
    with shards(clusters, 200_000) as made:
        made.empty_target()
        _by_psql(made)
        scope = made.scope(_MOVE)
        here, there = made.sessions_of(SOURCE, _MOVE), made.sessions_of(TARGET, _MOVE)
        with _capture(made), _capture(made, TARGET), here.open() as reader, there.open() as writer:
            write_silently(writer)
            make_room(writer, scope.tables)
            for keys in options.keys:
                rates = []
                for turn in range(options.rounds):
                    first = f"SELECT id FROM tasks WHERE organization_id = {TENANT} ORDER BY id LIMIT {keys}"
                    made.sql(SOURCE, f"UPDATE tasks SET title = 'turn {turn}' WHERE id IN ({first})")
                    began = time.monotonic()
                    with snapshot(reader) as taken:
                        brought = drain(reader, writer, scope, scope.tables)
                    forget_drained(reader, scope.tables, taken)
                    if brought.keys != keys:
                        raise SystemExit(f"{brought.keys} keys were drained, and not {keys}")
                    rates.append(keys / (time.monotonic() - began))
                yield f"drain, {keys} keys", {"keys/s": median(rates)}


# --- memory, and a tiny tenant --------------------------------------------------------------------


def memory(clusters: Clusters, options: argparse.Namespace) -> Iterator[tuple[str, Figures]]:
    """The most that `shardwright move` had."""
    for rows in options.memory_rows:
        with shards(clusters, rows) as made, PeakMemory() as seen:
            command = [sys.executable, "-m", "shardwright", "move", TENANT, "--to", TARGET, "--yes"]
            run(command, made.folder, seen)
            if seen.megabytes is not None:
                yield f"memory, {rows} rows", {"MB": seen.megabytes}


def tiny(clusters: Clusters, options: argparse.Namespace) -> Iterator[tuple[str, Figures]]:
    """A hundred rows in ten tables: what a move costs at least."""
    found = []
    for _ in range(options.rounds):
        with tiny_shards(clusters) as made:
            clients, servers, sessions = client_seconds(), made.server_seconds(), made.sessions()
            with _round_trips() as count:
                began = time.monotonic()
                status = made.move()
                seconds = time.monotonic() - began
            time.sleep(0.3)  # sessions are counted as they end
            carried = sum(
                (step.ended_at - step.begun_at).total_seconds()
                for step in status.steps
                if step.ended_at and step.begun_at
            )
            found.append(
                {
                    "seconds": seconds,
                    "of them steps": carried,
                    "client cpu s": client_seconds() - clients,
                    "server cpu s": made.server_seconds() - servers,
                    "connections": made.sessions() - sessions,
                    "round trips": float(count[0]),
                }
            )
    yield "tiny tenant, from plan to keep", _median(found, "seconds")


@contextmanager
def _round_trips() -> Iterator[list[int]]:
    """How often a session has waited for its server."""
    counted, wait = [0], psycopg.Connection.wait

    def waiting(self: Any, *values: Any, **options: Any) -> Any:
        counted[0] += 1
        return wait(self, *values, **options)

    psycopg.Connection.wait = waiting  # type: ignore[method-assign]
    try:
        yield counted
    finally:
        psycopg.Connection.wait = wait  # type: ignore[method-assign]


# --- what is promised, and the words --------------------------------------------------------------


def reaches(found: Mapping[str, Figures]) -> Iterator[Reach]:
    """What is promised of what was measured."""
    gaps = []
    for name, each in found.items():
        if name.startswith("copy") and name.endswith(OURS):
            is_large = int(name.split()[1]) > COPY_ROWS
            yield Reach(
                f"{name}: times {PSQL}", each[f"x {PSQL}"], BESIDE_PSQL_LARGE if is_large else BESIDE_PSQL, True
            )
        if name.startswith("write gap"):
            gaps.append(each["gap p99"])
            yield Reach(f"{name}: p99", each["gap p99"], GAP_MS)
        if name.startswith("writes of another tenant's"):
            yield Reach(f"{name}: % more of the server's processor", each["more cpu %"], OTHERS_COST)
        if name.startswith("tiny"):
            yield Reach(f"{name}: seconds", each["seconds"], TINY_SECONDS)
    if len(gaps) > 1:
        least = max(gaps[0], _AT_ONCE_MS)
        yield Reach("write gap p99: times that of the smallest tenant", gaps[-1] / least, GAP_GROWTH)
    used = [each["MB"] for name, each in found.items() if name.startswith("memory")]
    if len(used) > 1:
        yield Reach("MB more for the largest tenant than for the smallest", used[-1] - used[0], MEMORY_GROWTH)


def percentiles(name: str, values: list[float]) -> Figures:
    """The median, and what 99 of 100 do not exceed."""
    ordered = sorted(values)
    places = {"p50": 0.5, "p99": 0.99}
    return {f"{name} {word}": ordered[min(len(ordered) - 1, int(len(ordered) * part))] for word, part in places.items()}


def _median(found: list[Figures], by: str) -> Figures:
    return sorted(found, key=lambda each: each[by])[len(found) // 2]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


MEASURES: dict[str, Callable[[Clusters, argparse.Namespace], Iterator[tuple[str, Figures]]]] = {
    "tiny": tiny,
    "copy": copy,
    "gap": gap,
    "cost": cost,
    "drain": drained,
    "memory": memory,
}


def parse() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    number = partial(add, type=int, metavar="N")
    add("measures", nargs="*", choices=(*MEASURES, []), metavar="MEASURE", help=f"of {', '.join(MEASURES)} (all)")
    number("--copy-rows", nargs="+", default=[COPY_ROWS], help=f"rows to copy ({COPY_ROWS})")
    number("--gap-rows", nargs="+", default=list(GAP_ROWS), help="the tenant's rows, where the write gap is measured")
    number("--memory-rows", nargs="+", default=list(MEMORY_ROWS), help="the same for memory")
    number("--keys", nargs="+", default=[10, 1_000, 50_000], help="keys in a drain")
    number("--repeat", default=3, help="take the median of so many copies (3)")
    number("--rounds", default=5, help="the same for tiny tenants and drains (5)")
    number("--streams", default=2, help="of our copy (2)")
    number("--switches", default=100, help="of each tenant, back and forth (100)")
    number("--turns", default=400, help=f"of {_TURN} writes each, with triggers and without (400)")
    add("--pause", type=float, default=0.002, metavar="S", help="of a writer between two writes (0.002)")
    add("--large", action="store_true", help=f"also copy {LARGE_COPY_ROWS} rows, and switch {LARGE_GAP_ROWS}")
    add("--check", action="store_true", help="exit code 1 where a reach is missed")
    add("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    if options.large:
        options.copy_rows.append(LARGE_COPY_ROWS)
        options.gap_rows.append(LARGE_GAP_ROWS)
    return options


def main() -> int:
    """Exit code 0; 1 with --check where a reach is missed."""
    options = parse()
    found: dict[str, Figures] = {}
    with two_servers() as clusters:
        for measure in options.measures or MEASURES:
            for name, figures in MEASURES[measure](clusters, options):
                found[name] = figures
                if not options.json:
                    print(
                        f"{name:48}", "  ".join(f"{key} {short(value)}" for key, value in figures.items()), flush=True
                    )
    made = list(reaches(found))
    if options.json:
        machine = {"processors": os.cpu_count(), "python": sys.version.split()[0], "load": os.getloadavg()}
        told = [{**vars(each), "reached": each.reached} for each in made]
        print(json.dumps({**machine, "figures": found, "reaches": told}, indent=2))
    else:
        for each in made:
            word = "reached" if each.reached else "MISSED "
            print(f"{word}  {each.words}: {each.measured:.2f} (wanted: {each.wanted:g})")
    return 1 if options.check and not all(each.reached for each in made) else 0


def short(value: float) -> str:
    """For people."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
