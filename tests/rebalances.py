"""Rebalances under traffic, for tests: some shards, tenants that write without end, a ledger of what they were told.

As a program: carries one run in the foreground of the current folder. Where the environment names a point
(`SW_DIES=after start.start_move 1`), it dies there as by kill -9; at `SW_STOPS` it is stopped.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from kit import Project, until
from ledger import Key, Ledger, differences
from moves import _COUNT, QUICK, ROWS, SCHEMA, TENANTS, Writer
from pair import as_role
from points import OWNERS, struck
from shardwright.move import start as move_start
from shardwright.rebalance.options import RebalanceOptions
from shardwright.rebalance.start import Proposal
from shardwright.rebalance.status import RebalanceStatus
from shardwright.rebalance.store import Line, Rebalances
from shardwright.runs.board import Places
from shardwright.runs.kinds import StepContext
from stage import Stage

OWNERS |= {"Rebalances": Rebalances, "start": move_start}
RULES = "[rebalance]\nmeasures = { rows = 1.0 }\nper_host = 4"
ONE_BY_ONE = RULES.replace("per_host = 4", "per_host = 1")


class Estate(Stage):
    """A fleet of some shards, on each of which there are tenants of some size; each is written for by one client."""

    program = __file__
    pause = 0.05  # seconds that a writer rests at most

    def __init__(
        self, path: Path, control: str, shards: Mapping[str, str], *, extra: str = RULES, **limits: str
    ) -> None:
        runs = '[runs]\ntime_to_live = "2s"\nper_host = 8'
        usual = {"keep": '"1h"', "write_gap": '"2s"'}
        project = Project(path, control, dict(shards), limits={**usual, **limits}, extra=f"{TENANTS}\n{runs}\n{extra}")
        super().__init__(project)
        self.project.write()
        self.control, self.direct = control, dict(shards)
        self.ledger = Ledger()
        self.tenant, self.others = "", dict.fromkeys(shards, self.ledger)  # as a Writer asks for them
        self.tenants: dict[str, str] = {}  # by name, as a test calls them
        self.writers: list[Writer] = []

    def fill(self, sizes: Mapping[str, Sequence[int]], *, more: str = "") -> None:
        """Each shard has a tenant for each number, which says how many tasks it has: `shard_0.0`, `shard_0.1`, …"""
        for shard in self.direct:
            self.ask(shard, SCHEMA + more)
            for number, rows in enumerate(sizes.get(shard, ())):
                self.tenants[f"{shard}.{number}"] = self.settle_in(shard, rows)
        for shard in self.direct:
            self.ledger.rows |= {key: set(found) for key, found in self.found(shard).items()}
        self.project.fleet().sync_tenants()

    def settle_in(self, shard: str, rows: int) -> str:
        """A new tenant on that shard, with so many tasks; the directory does not know of it yet."""
        tenant = str(uuid.uuid4())
        with psycopg.connect(self.direct[shard]) as connection:
            connection.execute("INSERT INTO org VALUES (%s, 1, 'free')", [tenant])
            for statement in _FILL:
                connection.execute(statement, {"org": tenant, "rows": rows})
        return tenant

    def belong_to(self, role: str) -> None:
        """The tool works as that role from now on, which owns the databases and tables, and is no superuser."""
        self.ask("control", f"CREATE ROLE {role} LOGIN")
        self.ask("control", f"GRANT SET ON PARAMETER session_replication_role TO {role}")
        for where in ("control", *self.direct):
            for (statement,) in self.ask(where, _OWNED, role, role):
                self.ask(where, statement)
        self.ask("control", "DROP SCHEMA shardwright CASCADE")
        self.project.control = as_role(self.project.control, role)
        self.project.shards = {name: as_role(url, role) for name, url in self.direct.items()}
        self.project.write()
        self.project.fleet().sync_tenants()

    # --- traffic

    def write(self) -> None:
        """Each tenant has a client at work, who has written."""
        self.writers = [
            Writer(self, tenant, next(_seeds), at=name.split(".")[0], acts=QUICK)  # type: ignore[arg-type]
            for name, tenant in self.tenants.items()
        ]
        for writer in self.writers:
            writer.thread.start()
        until(lambda: all(writer.latencies for writer in self.writers))

    def go_on(self, transactions: int = 20) -> None:
        """So many more are acknowledged."""
        enough = self.ledger.acknowledged + transactions
        until(lambda: self.ledger.acknowledged >= enough)

    def settle(self) -> None:
        """Nobody writes any more."""
        self.quiet.set()
        for writer in self.writers:
            writer.thread.join(60)
            assert not writer.thread.is_alive(), writer.name

    # --- looking

    def ask(self, shard: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """What it gives on that shard (or "control"), committed."""
        url = self.control if shard == "control" else self.direct[shard]
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def placement(self, tenant: str) -> str:
        """Where the directory has it."""
        return str(self.ask("control", "SELECT shard FROM shardwright.placement WHERE tenant = %s", tenant)[0][0])

    @property
    def places(self) -> dict[str, str]:
        """Where each tenant is, by the name that it was given."""
        return {name: self.placement(tenant) for name, tenant in self.tenants.items()}

    def found(self, shard: str) -> dict[Key, list[int]]:
        """Every row on that shard that writers may have written, and what it is."""
        rows: dict[Key, list[int]] = defaultdict(list)
        for table, query in ROWS.items():
            for name, n in self.ask(shard, query):
                rows[table, name].append(n)
        return rows

    def require_all(self) -> None:
        """Every acknowledged write is there, once in the whole fleet; each tenant is where the directory has it, and
        nowhere else; no writer met what it should not, and nothing of a move is left."""
        self.settle()
        assert [fault for writer in self.writers for fault in writer.faults] == []
        everywhere: dict[Key, list[int]] = defaultdict(list)
        for shard in self.direct:
            for key, values in self.found(shard).items():
                everywhere[key] += values
        wrong = differences(self.ledger.rows, everywhere)
        assert wrong == [], f"{len(wrong)} of {self.ledger.acknowledged}: {wrong[:8]}"
        for tenant in self.tenants.values():
            there = [shard for shard in self.direct if self.ask(shard, _COUNT, tenant) != [(0,)]]
            assert there == [self.placement(tenant)], tenant
        assert self.project.fleet().verify_tenants().is_equal
        for shard in self.direct:
            self.require_empty(shard)

    def name_of(self, tenant: str) -> str:
        """How a test calls it."""
        return next(name for name, each in self.tenants.items() if each == tenant)

    # --- rebalancing

    def limit_disk(self, room: int) -> None:
        """The servers' disk is known, and has room for so many bytes more than there are now; all of it may be used."""
        sizes = [self.ask(shard, "SELECT pg_database_size(current_database())")[0][0] for shard in self.direct]
        (host,) = {shard.host for shard in self.project.fleet().resolved.shards}
        self.project.extra += f'\nhigh_water = 1.0\n[monitor.disk]\n"{host}" = "{(sum(sizes) + room) // 1_000_000}MB"'
        self.project.write()

    def context(self, run: int) -> StepContext:
        """The rebalance in this process's hands, as a step of it sees it; nobody carries it."""
        fleet = self.project.fleet().resolved
        with self.board() as board:
            admitted = board.admit(Places(8, 8), only=run)
            found = board.run(run)
        assert admitted is not None
        assert found is not None
        return StepContext(fleet, run, found.plan, runner=admitted[1], tell=partial(self._tell, run))

    def _tell(self, run: int, text: str) -> None:
        with self.board() as board:
            board.tell(run, text)

    @contextmanager
    def worker(self) -> Iterator[None]:
        """Within, there is one more worker."""
        worker = self.project.start_cli("worker")
        try:
            yield
        finally:
            worker.terminate()
            worker.communicate(timeout=30)

    def plan(self, **options: Any) -> Proposal:
        """What a rebalance would do."""
        return self.project.fleet().plan_rebalance(RebalanceOptions(**options))

    def start(self, **options: Any) -> int:
        """A rebalance is in the queue; gives its run."""
        fleet = self.project.fleet()
        return fleet.start_rebalance(fleet.plan_rebalance(RebalanceOptions(**options)))

    def carry(self, run: int) -> RebalanceStatus:
        """By this process, as far as it goes by itself."""
        return self.project.fleet().carry_rebalance(run)

    def mover(self, run: int, *, dies: str = "", stops: str = "") -> subprocess.Popen[str]:
        """A process that carries the run, and dies, or is stopped, at that point."""
        return self.carrier(str(run), dies=dies, stops=stops)

    def lines(self, run: int) -> list[Line]:
        """Its moves, as they stand."""
        found = self.project.fleet().rebalance_of_run(run)
        assert found is not None
        return list(found.lines)

    def story(self, run: int) -> str:
        """All that is known of the run, for a failure's message."""
        with self.board() as board:
            steps = ", ".join(f"{step.name} {step.state}" for step in board.steps(run))
            lines = "\n".join(map(str, self.lines(run)))
            return f"{board.run(run)}\n{steps}\n{lines}\n" + "\n".join(self.messages(run))


_FILL = (
    "INSERT INTO project SELECT gen_random_uuid(), %(org)s, g FROM generate_series(1, 5) AS g",
    """INSERT INTO task SELECT gen_random_uuid(), g, (SELECT id FROM project WHERE org_id = %(org)s
       ORDER BY n OFFSET g %% 5 LIMIT 1) FROM generate_series(1, %(rows)s) AS g""",
    "INSERT INTO seat SELECT %(org)s, -g, g FROM generate_series(1, 10) AS g",
    "INSERT INTO log SELECT %(org)s, gen_random_uuid(), g FROM generate_series(1, 10) AS g",
)
_OWNED = """
SELECT format('ALTER DATABASE %%I OWNER TO %%I', current_database(), role) FROM (SELECT %s AS role) AS _
UNION ALL
SELECT format('ALTER TABLE public.%%I OWNER TO %%I', relname, role)
FROM pg_class, (SELECT %s AS role) AS _
WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
"""
MakeEstate = Callable[..., Estate]
_seeds = itertools.count(1000)


def _main() -> None:
    from shardwright.fleet import Fleet  # noqa: PLC0415 late, as the fleet needs DBOS

    fleet = Fleet.from_config()
    with struck():
        print(fleet.carry_rebalance(int(sys.argv[1])), flush=True)  # noqa: T201 the log that tests read
    os._exit(0)


if __name__ == "__main__":
    _main()
