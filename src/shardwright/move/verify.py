"""Whether every tenant is where the directory says, and nowhere else: directory, fences, rows without a tenant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from shardwright.catalog import changes
from shardwright.catalog import tenants as directory
from shardwright.catalog.ask import ask_each
from shardwright.catalog.comparison import Comparison
from shardwright.catalog.control import read_control
from shardwright.config import FleetConfig, format_duration
from shardwright.move.store import Move, Moves
from shardwright.pg.connect import connect
from shardwright.pg.faults import Fault, explain
from shardwright.pg.queries import load
from shardwright.pg.tables import read_tables
from shardwright.shard import Shard
from shardwright.transfer import fence
from shardwright.transfer.graph import PlacedTable, TableGraph
from shardwright.transfer.place import table_graph

_NAME = "shardwright tenants verify"
_TAKES_WRITES = {
    "moving": "source",
    "given_up": "source",
    "returned": "source",
    "switched": "target",
    "cleaning": "target",
}
_queries = load(__package__, "verify.sql")


@dataclass(frozen=True)
class Odd:
    """Something on one shard that is not as it should be, and the command that helps."""

    shard: str
    fact: str
    cure: str

    def as_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return dict(vars(self))


@dataclass(frozen=True)
class Verification:
    """How the directory differs from the shards; fences that contradict it; rows whose tenant is not on their shard."""

    comparison: Comparison
    fences: tuple[Odd, ...]
    orphans: tuple[Odd, ...]

    @property
    def is_equal(self) -> bool:
        """Whether all is as the directory says."""
        return self.comparison.is_equal and not self.fences and not self.orphans

    def as_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        odd = {"fences": self.fences, "orphans": self.orphans}
        return {
            **self.comparison.as_dict(),
            **{name: [each.as_dict() for each in found] for name, found in odd.items()},
        }


def tenants_since(control: psycopg.Connection[Any], fleet: FleetConfig, moment: Any) -> list[str]:
    """Who is on the move, or was since that moment: rightly on two shards."""
    return Moves(control, fleet.shard_set).tenants_since(moment)


def verify_tenants(fleet: FleetConfig) -> Verification:
    """Reads every root table, the fences of open moves, and tables of tenants that no foreign key keeps whole.

    Changes nothing. Raises NoTenants, NoShards, ControlUnavailable; GreenIsTheFleet where the file still has the shards
    that a change has left.
    """
    with read_control(fleet.control, application_name=_NAME) as control:
        if control is not None:
            changes.require_written_down(control, fleet)
    comparison = directory.verify(fleet, moving=lambda control, since: tenants_since(control, fleet, since))
    with read_control(fleet.control, application_name=_NAME) as control:
        moves = Moves(control, fleet.shard_set).open() if control else []
    found = ask_each(
        fleet.select(None),
        lambda shard: _look(fleet, shard, moves),
        connections_per_host=fleet.config.limits.connections_per_host,
    )
    fences, orphans = [], []
    for name, answer in found.items():
        if isinstance(answer, Fault):
            if name not in comparison.unread:
                orphans.append(Odd(name, f"its tables could not be read: {answer.reason}", answer.hint))
            continue
        fences += answer[0]
        orphans += answer[1]
    return Verification(comparison, tuple(fences), tuple(orphans))


def _look(fleet: FleetConfig, shard: Shard, moves: list[Move]) -> tuple[list[Odd], list[Odd]] | Fault:
    limit = format_duration(fleet.config.limits.statement_timeout)
    settings = {"lock_timeout": "2s", "statement_timeout": limit, "client_encoding": "UTF8"}
    try:
        with connect(shard.url, application_name=_NAME, settings=settings) as connection:
            graph = table_graph(
                read_tables(connection, fleet.config.fleet.version_table), directory.require_tenants(fleet.config)
            )
            return [*_fences(connection, shard, moves)], [*_orphans(connection, shard, graph)]
    except psycopg.Error as error:
        return explain(error)


def _fences(connection: psycopg.Connection[Any], shard: Shard, moves: list[Move]) -> Iterator[Odd]:
    """A switch that is under way at this moment may be seen half done; asked again, it is not."""
    known = {move.run: move for move in moves}
    lines = connection.execute(_queries["has_moves"]).fetchone()
    present = connection.execute(_queries["moves"]).fetchall() if lines and lines[0] else []
    for run, tenant, side in present:
        move = known.get(run)
        if move is None:
            fact = f"tenant {tenant!r}: what move {run} has made there is still there, and the move is over"
            yield Odd(shard.name, fact, f"shardwright runs show {run}")
            continue
        is_open, should_be = fence.is_open(connection, fence.of_move(run)), _TAKES_WRITES[move.phase] == side
        if is_open != should_be:
            states = {True: "takes writes", False: "refuses writes"}
            fact = f"tenant {tenant!r}: the shard {states[is_open]}, and move {run} is {move.phase}"
            yield Odd(shard.name, fact, f"shardwright move status {tenant}")


def _orphans(connection: psycopg.Connection[Any], shard: Shard, graph: TableGraph) -> Iterator[Odd]:
    root = next((each for each in graph.tables if each.kind == "root"), None)
    for placed in graph.tables:
        if root is None or placed.kind != "direct" or _is_kept_whole(placed, root):
            continue
        count, examples = _count(connection, placed, root)
        if count:
            fact = f"{graph.catalog.shown(placed.table.name)} has {count} rows of tenants that are not on the shard"
            yield Odd(shard.name, f"{fact}: {', '.join(examples)}", "shardwright tenants locate ID --ask")


def _is_kept_whole(placed: PlacedTable, root: PlacedTable) -> bool:
    """Whether a validated foreign key sees to it that each row has its tenant beside it."""
    return any(
        key.table == root.table.name and key.columns == (placed.way.key,) and key.is_validated
        for key in placed.table.foreign_keys
    )


def _count(connection: psycopg.Connection[Any], placed: PlacedTable, root: PlacedTable) -> tuple[int, list[str]]:
    key, id_ = placed.table.column(str(placed.way.key)), root.table.column(str(root.way.key))
    orphan = sql.SQL(
        "FROM {} AS r WHERE {key} IS NOT NULL AND NOT EXISTS (SELECT FROM {} AS t WHERE {id}::text = {key}::text)"
    )
    if key.type == id_.type:
        orphan = sql.SQL("FROM {} AS r WHERE {key} IS NOT NULL AND NOT EXISTS (SELECT FROM {} AS t WHERE {id} = {key})")
    rest = orphan.format(
        placed.table.source, root.table.source, key=sql.Identifier("r", key.name), id=sql.Identifier("t", id_.name)
    )
    row = connection.execute(sql.SQL("SELECT count(*) {}").format(rest)).fetchone()
    count = row[0] if row else 0
    examples = (
        connection.execute(
            sql.SQL("SELECT DISTINCT {}::text {} ORDER BY 1 LIMIT 3").format(sql.Identifier("r", key.name), rest)
        ).fetchall()
        if count
        else []
    )
    return count, [each[0] for each in examples]
