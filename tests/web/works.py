"""Runs as the ledger of a busy fleet has them: a rollout in waves, a move under way, a blue-green change, tenants."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from shardwright.bluegreen import steps as greening
from shardwright.bluegreen.store import Changes, Lane
from shardwright.catalog.control import open_control
from shardwright.catalog.placement import place
from shardwright.catalog.store import record_shards
from shardwright.config import FleetConfig
from shardwright.fleet import Fleet
from shardwright.move import steps as moving
from shardwright.move.store import Moves
from shardwright.pg import locks
from shardwright.rebalance import steps as balancing
from shardwright.rebalance.store import NewLine, Rebalances
from shardwright.runs.board import Board, Places
from shardwright.runs.kinds import Kind, Progress
from shardwright.runs.results import ShardResult, Status
from shardwright.runs.store import Ledger, set_lock
from web.fleets import BEFORE, HEAD

HOSTILE = "<script>alert(1)</script>"
_ROOM = Places(at_once=100, per_host=100)
WORKER = "ops-2-26022-598ede"


class Works:
    """What has been done to a fleet, written by the rooms that own the tables; only moments are made up."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet: FleetConfig = fleet.resolved
        self.names = [shard.name for shard in self.fleet.shards]
        with self.control() as control:
            record_shards(control, self.fleet.shard_set, self.fleet.shards)

    @contextmanager
    def control(self) -> Iterator[psycopg.Connection[Any]]:
        with open_control(self.fleet.control, application_name="test") as control:
            yield control

    def tenants(self, *ids: str, shard: str | None = None) -> None:
        """The directory has them, one shard after the other."""
        with self.control() as control:
            for number, tenant in enumerate(ids):
                name = shard or self.names[number % len(self.names)]
                place(control, self.fleet.shard_set, tenant, name, changed_by="ada")

    def many_tenants(self, count: int) -> None:
        """The directory has so many more, `t0000000` and on."""
        with self.control() as control:
            control.execute(
                """INSERT INTO shardwright.placement (shard_set, tenant, shard, epoch, changed_by)
                   SELECT %s, 't' || lpad(n::text, 7, '0'), (%s::text[])[1 + n %% %s], 1, 'sync'
                   FROM generate_series(1, %s) AS n""",
                [self.fleet.shard_set, self.names, len(self.names), count],
            )

    def rollout(self, *, shards: int = 12, done: int = 5, failed: Sequence[int] = (4,), under_way: bool = True) -> int:
        """A rollout in three waves, in a process that is still at it."""
        names = [f"shard_{number}" for number in range(shards)]
        waves = [names[:1], names[1 : shards // 3], names[shards // 3 :]]
        plan = {"kind": "migrate", "target": HEAD, "waves": [[{"shard": name} for name in wave] for wave in waves]}
        results = [ShardResult(name, Status.NOT_TRIED, (BEFORE,), None) for name in names]
        for number in range(done):
            results[number] = ShardResult(names[number], Status.MIGRATED, (BEFORE,), (HEAD,), 0.42 + number / 9, 1)
        for number in failed:
            results[number] = ShardResult(
                names[number], Status.FAILED, (BEFORE,), (BEFORE,), 3.1, 5,
                "8c2e41f0a7d3: lock timeout on tasks; in the way: pid 4711 (report, in a transaction for 12.4 s)",
                "SELECT pg_terminate_backend(4711) on this shard, then repeat",
            )  # fmt: skip
        with self.control() as control:
            ledger = Ledger(control, self.fleet.shard_set)
            run = ledger.begin("migrate", target=HEAD, plan=plan, results=results)
            if not under_way:
                ledger.end(run, exit_code=1 if failed else 0, note=None, interrupted=False)
        return run

    @contextmanager
    def rolling_out(self) -> Iterator[None]:
        """Somebody holds the set's lock, as a process does that rolls out."""
        with self.control() as control:
            control.execute("SELECT pg_advisory_lock(%s, %s)", [locks.CLASS, set_lock(self.fleet.shard_set)])
            yield

    def durable(self, kind: Kind, plan: Mapping[str, Any] | None = None, *, target: str | None = None) -> int:
        """A run of that kind in the queue."""
        with self.control() as control:
            return Board(control, self.fleet.shard_set).create(kind, plan or {}, target=target)

    def begin(self, run: int) -> int:
        """A worker has the run in hand; gives its runner's number."""
        with self.control() as control:
            board = Board(control, self.fleet.shard_set)
            admitted = board.admit(_ROOM, only=run)
            assert admitted is not None
            assert board.take(*admitted, WORKER)
            board.beat_worker(WORKER, at_once=2)
        return admitted[1]

    def steps(self, run: int, runner: int, *done: str, begun: str | None = None) -> None:
        """These steps are done, and that one is begun."""
        with self.control() as control:
            board = Board(control, self.fleet.shard_set)
            for step in done:
                board.write_step(run, runner, step, "begun")
                board.write_step(run, runner, step, "done", {})
            if begun is not None:
                board.write_step(run, runner, begun, "begun")

    def leave(self, run: int, runner: int, state: str, note: str | None = None, **how: Any) -> None:
        """The run rests, or is at its end."""
        with self.control() as control:
            Board(control, self.fleet.shard_set).leave_running(run, runner, state, note, **how)

    def move(self, tenant: str, *, at: str = "catch up") -> int:
        """The tenant's move from its shard to the next one, under way in that step, or switched (`keep`)."""
        with self.control() as control:
            board, moves = Board(control, self.fleet.shard_set), Moves(control, self.fleet.shard_set)
            placed, _ = place(control, self.fleet.shard_set, tenant, self.names[0], changed_by="ada")
            run = board.create(moving.KIND, {"tenant": tenant}, target=self.names[1])
            moves.create(run, tenant, self.names[0], self.names[1], placed.epoch, {})
        runner = self.begin(run)
        names = [step.name for step in moving.KIND.steps]
        self.steps(run, runner, *names[: names.index(at)], begun=at)
        self._course(run)
        with self.control() as control:
            board, moves = Board(control, self.fleet.shard_set), Moves(control, self.fleet.shard_set)
            if at == "keep":
                moves.switch(run, runner, changed_by="ada", keep=24 * 3600)
                moves.note_write_gap(run, {"gap_ms": 18.4, "data_ms": 21.0, "keys": 12, "tries": 1})
                moves.note_certificate(run, certificate())
                board.leave_running(run, runner, "waiting", "delete the tenant's rows at the source?",
                                    waits_for="keep", at_most=86400)  # fmt: skip
            else:
                board.tell(run, "switch, try 1: a transaction of the tenant is open for long")
                board.write_progress(run, runner, Progress("copy", 214_000, 300_000, "rows"))
        return run

    def change(self, tenants: int = 40, *, switched: int = 14) -> int:
        """A blue-green change in step, some of whose tenants are at green."""
        green = [f"green_{number}" for number in range(len(self.names))]
        plan = {"blue": self.names, "green": green, "revision": HEAD}
        lanes = [(blue, there) for blue, there in zip(self.names, green, strict=True)]
        placed = {f"org-{number}": (*lanes[number % len(lanes)], 1) for number in range(tenants)}
        run = self.durable(greening.KIND, plan)
        with self.control() as control:
            changes = Changes(control, self.fleet.shard_set)
            changes.create(run, lanes, placed)
        runner = self.begin(run)
        self.steps(run, runner, "create", "capture", "copy", "compare", begun="switch")
        with self.control() as control:
            changes = Changes(control, self.fleet.shard_set)
            changes.write_phase(run, runner, "in_step")
            for number, (blue, there) in enumerate(lanes):
                changes.note_lane(
                    run,
                    Lane(
                        blue,
                        there,
                        keys=3 * number,
                        lag_seconds=0.2 * number,
                        back_keys=number,
                        back_lag_seconds=0.1,
                    ),
                )
            for number in range(switched):
                changes.note_switch(
                    run, f"org-{number}",
                    write_gap={"gap_ms": 12.5 + number, "keys": 3}, certificate=certificate(),
                )  # fmt: skip
            control.execute(
                "UPDATE shardwright.bluegreen_tenant SET at_green = true WHERE run = %s AND write_gap IS NOT NULL",
                [run],
            )
            changes.order(run, "switch", share=0.25, by="ada")
        return run

    def rebalance(self, *, state: str = "moving") -> int:
        """A rebalance: one tenant is moved, one could not be, one is to go; under way, or all moved that could be."""
        away, there = self.names[0], self.names[1]
        line = NewLine(1, "acme", away, there, 1, bytes=52_000_000, rows=120_000, load=0.2, why="it weighs the most")
        lines = [line, replace(line, tenant="globex"), replace(line, round=2, tenant=HOSTILE)]
        plan = {
            "before": {"imbalance": 0.8, "loads": {away: 1.8, there: 0.2}},
            "after": {"imbalance": 0.04, "loads": {away: 1.04, there: 0.96}},
            "bound": {"imbalance": 0.01, "method": "relaxed"}, "bytes": 104_000_000, "seconds": 61.0, "gap_ms": 40.0,
        }  # fmt: skip
        run = self.durable(balancing.KIND, plan, target="3 moves")
        with self.control() as control:
            Rebalances(control, self.fleet.shard_set).create(run, lines, [away])
        runner = self.begin(run)
        self.steps(run, runner, begun="move")
        move = self.move("acme", at="keep")
        with self.control() as control:
            rebalances = Rebalances(control, self.fleet.shard_set)
            rebalances.begin(run, runner, 1, move)
            rebalances.note(run, runner, 1, "moved")
            rebalances.note(run, runner, 2, "refused", "it can't be moved")
            if state == "moved":
                rebalances.replan(run, runner, [], "an operator cancelled the rebalance")
                rebalances.write_phase(run, runner, "moved", after=["moving"])
        if state == "moved":
            self.steps(run, runner, "move")
            self.leave(run, runner, "waiting", "delete the rows?", waits_for="keep", at_most=86400)
        return run

    def _course(self, run: int) -> None:
        """Ten minutes of progress, as a worker would have told it every second or so."""
        now, rows, told = datetime.now(UTC), 0.0, []
        for second in range(0, 600, 4):
            at = now - timedelta(seconds=600 - second)
            if second < 420:
                rows += 4 * 700 * (1 + 0.5 * math.sin(second / 40)) * (0.3 if 200 < second < 240 else 1)
                told.append((at, {"phase": "copy", "done": round(rows), "total": 300_000, "unit": "rows", "lag": None}))
            else:
                left = 9000 * math.exp((420 - second) / 45) + 120 * (1 + math.sin(second))
                told.append(
                    (at, {"phase": "catch up", "done": 0, "total": round(left), "unit": "keys", "lag": left / 2500})
                )
        with self.control() as control, control.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO shardwright.run_event (run, at, kind, data) VALUES (%s, %s, 'progress', %s)",
                [(run, at, Jsonb(data)) for at, data in told],
            )
            control.execute(
                """UPDATE shardwright.run_step SET begun_at = %s + (position - 1) * interval '210 s',
                          ended_at = CASE WHEN state = 'done' THEN %s + position * interval '210 s' END
                   WHERE run = %s AND state <> 'to do'""",
                [now - timedelta(seconds=600), now - timedelta(seconds=600), run],
            )


def certificate(*, equal: bool = True) -> dict[str, Any]:
    """What a move's certificate holds."""
    rows = [
        ("public.organizations", 1),
        ("public.projects", 42),
        ("public.tasks", 214_310),
        ("public.comments", 85_647),
    ]
    sides = [{"table": table, "rows": number, "hash": f"{number * 7919:032x}", "left_out": 0} for table, number in rows]
    other = [dict(each) for each in sides]
    if not equal:
        other[2]["hash"] = "0" * 32
    return {
        "at": "2026-11-23T11:58:02+00:00", "epoch": 2, "equal": equal, "frozen": sides, "source": sides,
        "target": other,
        "differences": [] if equal else ["public.tasks: 1 row differs: 4711"],
    }  # fmt: skip
