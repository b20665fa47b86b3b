"""A clean fleet for each test: the kit beside truncating by hand and beside databases that are made anew.

`python benchmarks/testkit.py`; benchmarks/README.md says what each way is.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from psycopg import sql

from shardwright.dsn import DatabaseUrl
from shardwright.pg import databases
from shardwright.testing import TestFleet

SHARDS = 3
REACH = 1.0  # seconds for a hundred tests
_ENV = """
from alembic import context
from sqlalchemy import create_engine

with create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
_REVISION = """
from alembic import op

revision, down_revision = "r1", None


def upgrade():
    for n in range({tables}):
        parent = f"REFERENCES t{{n - 1}}" if n else ""
        op.execute(f"CREATE TABLE t{{n}} (id bigserial PRIMARY KEY, title text NOT NULL DEFAULT 'x', at timestamptz, "
                   f"body jsonb, parent bigint {{parent}})")
        op.execute(f"CREATE INDEX ON t{{n}} (parent)")


def downgrade():
    pass
"""
Way = Callable[[TestFleet], object]


def write_project(folder: Path, tables: int) -> Path:
    """A fleet with that many tables, each of which refers to the one before."""
    (folder / "migrations" / "versions").mkdir(parents=True)
    (folder / "migrations" / "env.py").write_text(_ENV)
    (folder / "migrations" / "versions" / "r1.py").write_text(_REVISION.format(tables=tables))
    (folder / "shardwright.toml").write_text('[fleet]\ncontrol = "embedded"\n')
    return folder / "shardwright.toml"


class Hands:
    """What a developer would write by hand, over connections that are kept."""

    def __init__(self, fleet: TestFleet, tables: int) -> None:
        self.connections = {name: psycopg.connect(fleet.urls[name], autocommit=True) for name in fleet.shards}
        self._all = [sql.Identifier(f"t{n}") for n in reversed(range(tables))]

    def write(self, _: TestFleet) -> None:
        """What a test does: three rows in three tables of each shard."""
        for connection in self.connections.values():
            with connection.pipeline():
                for n in range(3):
                    connection.execute(f"INSERT INTO t{n} (parent) VALUES (NULL)".encode())

    def truncate(self, _: TestFleet) -> None:
        """Every table of every shard, in one statement each."""
        statement = sql.SQL("TRUNCATE {} RESTART IDENTITY").format(sql.SQL(", ").join(self._all))
        for connection in self.connections.values():
            connection.execute(statement)

    def delete(self, _: TestFleet) -> None:
        """Every row of every table, children first, in one round trip a shard; sequences stay where they are."""
        statement = sql.SQL("; ").join(sql.SQL("DELETE FROM {}").format(table) for table in self._all)
        for connection in self.connections.values():
            connection.execute(statement)

    def copy(self, fleet: TestFleet) -> None:
        """Every shard's database is dropped and made from its template."""
        for name in fleet.shards:
            url = DatabaseUrl.parse(fleet.urls[name])
            template = DatabaseUrl.parse(fleet.urls["shard_0"]).database + "_template"
            databases.copy(url.with_database(template), url, application_name="by hand")
        self.close()
        self.connections = {name: psycopg.connect(fleet.urls[name], autocommit=True) for name in fleet.shards}

    def close(self) -> None:
        for connection in self.connections.values():
            connection.close()


def measure(fleet: TestFleet, test: Way, clean: Way, turns: int) -> float:
    """Seconds that cleaning takes for a hundred tests."""
    clean(fleet)
    taken = []
    for _ in range(turns):
        test(fleet)
        began = time.perf_counter()
        clean(fleet)
        taken.append(time.perf_counter() - began)
    return sum(taken) * 100 / turns


def figures(tables: int, turns: int, repeat: int) -> dict[str, float]:
    """Each way, all in turn in each repetition, the last of which leaves databases as the first finds them; medians."""
    found: dict[str, list[float]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fleet = stack.enter_context(TestFleet(write_project(folder, tables), shards=SHARDS))
        hands = Hands(fleet, tables)
        stack.callback(hands.close)
        ways: dict[str, tuple[Way, Way, int]] = {
            "kit, tests that write": (hands.write, TestFleet.clean_all, turns),
            "kit, tests that only read": (lambda _: None, TestFleet.clean_all, turns),
            "DELETE by hand": (hands.write, hands.delete, turns),
            "TRUNCATE by hand": (hands.write, hands.truncate, max(1, turns // 10)),
            "databases anew": (hands.write, hands.copy, max(1, turns // 10)),
        }
        for _ in range(repeat):
            for name, (test, clean, number) in ways.items():
                found.setdefault(name, []).append(measure(fleet, test, clean, number))
    return {name: median(each) for name, each in found.items()}


def main() -> Any:
    """Prints seconds for a hundred tests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=50)
    parser.add_argument("--turns", type=int, default=100, help="tests a measurement")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = figures(given.tables, given.turns, given.repeat)
    reached = found["kit, tests that write"] < REACH
    if given.json:
        print(json.dumps({"figures": found, "reaches": [{"name": "a hundred tests", "reached": reached}]}))
        return
    print(f"seconds to clean {SHARDS} shards of {given.tables} tables after each of a hundred tests")
    for name, seconds in found.items():
        print(f"  {name:28} {seconds:8.2f} s   {seconds * 10:8.2f} ms a test")
    print(f"  reach: less than {REACH:g} s for tests that write: {'reached' if reached else 'missed'}")


if __name__ == "__main__":
    main()
