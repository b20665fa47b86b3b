"""What Shardwright, or a broken CREATE INDEX CONCURRENTLY, has left on a shard, and nothing under way owns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import psycopg
from psycopg import sql

from shardwright.bluegreen.store import Changes
from shardwright.move.store import Moves
from shardwright.pg.queries import load
from shardwright.runs.store import Ledger, set_lock

_PREPARED = re.compile(r"shardwright_(?P<token>.*?)_(?P<run>[0-9]{1,18})_")
_queries = load(__package__, "leftovers.sql")


@dataclass(frozen=True)
class Traces:
    """What is there of ours on one shard, whoever owns it.

    `transfers`: by the number of a move or change, how many objects it has in our schema, how many triggers, and a
    table that has one. Invalid indexes come with their table, which is as SQL spells it.
    """

    has_schema: bool = False
    transfers: Mapping[int, tuple[int, int, str | None]] = field(default_factory=dict)
    strangers: int = 0
    prepared: tuple[str, ...] = ()
    invalid: tuple[tuple[str, str, str], ...] = ()

    @property
    def need_owners(self) -> bool:
        """Whether only the control database can say what of it is left over."""
        return self.has_schema or bool(self.transfers or self.strangers or self.prepared)


@dataclass(frozen=True)
class Owners:
    """What is under way: the shards of each open move, by its run; the open change and its shards; rollouts of all
    shards or none that may have something prepared, and whether somebody is at work on the set."""

    moves: Mapping[int, frozenset[str]] = field(default_factory=dict)
    change: int | None = None
    changed: frozenset[str] = frozenset()
    unsettled: frozenset[int] = frozenset()
    token: str | None = None
    at_work: bool = False

    def of(self, shard: str) -> set[int]:
        """The moves and the change that have something on that shard."""
        moves = {run for run, shards in self.moves.items() if shard in shards}
        return moves | ({self.change} if self.change is not None and shard in self.changed else set())


Kind = Literal["transfer", "schema", "trigger", "prepared transaction", "index"]


@dataclass(frozen=True)
class Leftover:
    """Something on a shard that nobody owns, and what takes it away; `run`: whose it was, where that is known."""

    shard: str
    kind: Kind
    name: str
    fact: str
    cure: str
    run: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return dict(vars(self))


def read_traces(connection: psycopg.Connection[Any]) -> Traces:
    """What is there; needs no privilege but CONNECT. Raises psycopg.Error."""
    transfers: dict[int, tuple[int, int, str | None]] = {}
    strangers, has_schema = 0, False
    for number, objects, triggers, table in connection.execute(_queries["objects"]).fetchall():
        if number is None:
            has_schema = has_schema or not triggers
            strangers += triggers
            continue
        before = transfers.get(number, (0, 0, None))
        transfers[number] = (before[0] + objects, before[1] + triggers, before[2] or table)
    prepared = tuple(row[0] for row in connection.execute(_queries["prepared"]))
    invalid = tuple((row[0], row[1], row[2]) for row in connection.execute(_queries["invalid_indexes"]))
    return Traces(has_schema, transfers, strangers, prepared, invalid)


def read_owners(control: psycopg.Connection[Any], shard_set: str, shards: Iterable[str]) -> Owners:
    """What is under way on any of `shards`; moves and changes name theirs themselves. Raises psycopg.Error."""
    ledger = Ledger(control, shard_set)
    change = Changes(control, shard_set).last()
    is_open = change is not None and change.is_open
    return Owners(
        {move.run: frozenset({move.source, move.target}) for move in Moves(control, shard_set).open()},
        change.run if change is not None and is_open else None,
        frozenset(shards) if is_open else frozenset(),
        frozenset(each.run for each in ledger.unsettled() if not each.again),
        ledger.known_token(),
        ledger.is_held(set_lock(shard_set)),
    )


def leftovers(shard: str, traces: Traces, owners: Owners) -> Iterator[Leftover]:
    """What of `traces` nothing owns that is under way."""
    owned = owners.of(shard)
    over = {number: has for number, has in traces.transfers.items() if number not in owned}
    cure = _drop_schema(shard) if not owned else None
    for number, (objects, triggers, table) in sorted(over.items()):
        has = [f"{_some(objects, 'object')} in schema shardwright"] if objects else []
        has += [f"{_some(triggers, 'trigger')} (on {table}{', …' if triggers > 1 else ''})"] if triggers else []
        fact = f"run {number} has left {' and '.join(has)}, and no open move or change has that number"
        yield Leftover(shard, "transfer", str(number), fact, cure or f"shardwright runs show {number}", number)
    if traces.has_schema and not traces.transfers and not owned:
        fact = "it has the schema shardwright, and no move or change is open there"
        yield Leftover(shard, "schema", "shardwright", fact, _drop_schema(shard))
    if traces.strangers and not owned:
        fact = f"{_some(traces.strangers, 'trigger')} into the schema shardwright, and no move or change is open there"
        yield Leftover(shard, "trigger", "shardwright", fact, _drop_schema(shard))
    yield from _prepared(shard, traces, owners)
    for schema, name, table in traces.invalid:
        index = sql.Identifier(schema, name).as_string()
        fact = f"index {schema}.{name} on {table} is invalid, as a broken CREATE INDEX CONCURRENTLY leaves it"
        yield Leftover(shard, "index", f"{schema}.{name}", fact, f"DROP INDEX CONCURRENTLY {index}; make it again")


def _some(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"


def _drop_schema(shard: str) -> str:
    return f"on {shard}, while no move or change is open there: DROP SCHEMA shardwright CASCADE"


def _prepared(shard: str, traces: Traces, owners: Owners) -> Iterator[Leftover]:
    for name in traces.prepared:
        found = _PREPARED.match(name)
        run = int(found["run"]) if found and found["token"] == owners.token else None
        if run in owners.unsettled and owners.at_work:
            continue
        cure = f"ROLLBACK PREPARED {sql.Literal(name).as_string(None)}, or COMMIT PREPARED where others have it"
        if run in owners.unsettled:
            cure = f"shardwright runs resume {run}"
        fact = f"prepared transaction {name} holds its locks, and nobody is at work on it"
        yield Leftover(shard, "prepared transaction", name, fact, cure, run)
