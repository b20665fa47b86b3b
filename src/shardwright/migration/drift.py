"""Whether the shards really are alike: their revisions, and within one revision their schemas. Reads only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from shardwright.catalog.ask import ask_each
from shardwright.config import FleetConfig
from shardwright.migration import status
from shardwright.migration.history import State
from shardwright.migration.versions import CONNECT_TIMEOUT, Reading, read_state
from shardwright.pg.connect import connect
from shardwright.pg.faults import Fault, explain
from shardwright.pg.fingerprint import Difference, Fingerprint, differences, fingerprint
from shardwright.runs.results import RunResult, revisions_text
from shardwright.shard import Shard, as_people_count

# As for a revision, but a schema of thousands of tables takes seconds to print.
_SETTINGS = {"lock_timeout": "2s", "statement_timeout": "60s"}
_AGAIN = "repeat it when nobody changes the schema there: shardwright check"
_MOVED = Fault("its revision changed while its schema was read", _AGAIN)


@dataclass(frozen=True)
class SchemaReading(Reading):
    """What one shard said: its state, its schema, and PostgreSQL's major version; or why it did not say all of it."""

    schema: Fingerprint | None = None
    major: int | None = None


@dataclass(frozen=True)
class SchemaGroup:
    """The shards at one revision, on one major version of PostgreSQL, with one schema."""

    state: State
    major: int
    schema: Fingerprint
    shards: tuple[str, ...]

    @property
    def revision(self) -> str:
        """The state as people write it."""
        return revisions_text(self.state) or "base"

    def as_dict(self) -> dict[str, Any]:
        """The group as `--json` prints it."""
        return {
            "revision": self.revision,
            "postgresql": self.major,
            "schema": self.schema.digest,
            "shards": list(self.shards),
        }


@dataclass(frozen=True)
class Drift:
    """What sets the shards of `odd` apart from those of `usual`; an object's left side is the odd one's.

    `is_even` where no schema has the most shards: then neither side is the right one.
    """

    odd: SchemaGroup
    usual: SchemaGroup
    objects: tuple[Difference, ...]
    is_even: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The drift as `--json` prints it."""
        return {
            **self.odd.as_dict(),
            "against": self.usual.schema.digest,
            "even": self.is_even,
            "objects": [
                {"kind": each.kind, "name": each.name, "here": each.left, "elsewhere": each.right}
                for each in self.objects
            ],
        }


@dataclass(frozen=True)
class Unread:
    """A shard whose schema is not known; its state may be."""

    shard: str
    state: State | None
    fault: Fault

    def as_dict(self) -> dict[str, Any]:
        """The shard as `--json` prints it."""
        return {
            "shard": self.shard,
            "revision": revisions_text(self.state),
            "error": self.fault.reason,
            "hint": self.fault.hint or None,
        }


@dataclass(frozen=True)
class Schemas:
    """The schemas of a fleet: the groups, largest first within a revision; what drifted; who did not answer."""

    groups: tuple[SchemaGroup, ...]
    drifts: tuple[Drift, ...]
    unread: tuple[Unread, ...]

    def __add__(self, other: Schemas) -> Schemas:
        """Both, neither compared with the other."""
        return Schemas(self.groups + other.groups, self.drifts + other.drifts, self.unread + other.unread)

    @property
    def revisions(self) -> dict[str, tuple[str, ...]]:
        """The shards at each revision, the one with the most shards first."""
        found: dict[State, list[str]] = defaultdict(list)
        for group in self.groups:
            found[group.state] += group.shards
        for shard in self.unread:
            if shard.state is not None:
                found[shard.state].append(shard.shard)
        ordered = sorted(found.items(), key=lambda each: (-len(each[1]), each[0]))
        return {
            revisions_text(state) or "base": tuple(sorted(shards, key=as_people_count)) for state, shards in ordered
        }

    @property
    def are_alike(self) -> bool:
        """Whether every shard answered, all are at one revision, and none drifted."""
        return not self.unread and not self.drifts and len(self.revisions) <= 1

    @property
    def exit_code(self) -> int:
        """0 all alike; 1 something differs, or a shard did not answer."""
        return 0 if self.are_alike else 1

    def as_dict(self) -> dict[str, Any]:
        """The schemas as `--json` prints them."""
        return {
            "alike": self.are_alike,
            "revisions": {revision: list(shards) for revision, shards in self.revisions.items()},
            "groups": [group.as_dict() for group in self.groups],
            "differences": [drift.as_dict() for drift in self.drifts],
            "unread": [shard.as_dict() for shard in self.unread],
        }


@dataclass(frozen=True)
class SchemaStatus:
    """Where every shard stands beside a target, and what its schema really is: one reading for both."""

    status: RunResult
    schemas: Schemas

    @property
    def exit_code(self) -> int:
        """0 all up to date and alike within each revision; else 1."""
        return max(self.status.exit_code, self.schemas.exit_code)

    def as_dict(self) -> dict[str, Any]:
        """Both, as `--json` prints them."""
        return {**self.status.as_dict(), **self.schemas.as_dict()}


def schema_status(fleet: FleetConfig, *, target: str = "heads", shards: str | None = None) -> SchemaStatus:
    """`status`, with the schemas. Raises what `status` raises."""
    readings = survey_schemas(fleet, fleet.select(shards))
    return SchemaStatus(status.status(fleet, target=target, shards=shards, readings=readings), compare(readings))


def survey_schemas(fleet: FleetConfig, shards: Iterable[Shard]) -> dict[str, SchemaReading]:
    """What every shard says by name, read concurrently within the budget of each host."""
    table, limit = fleet.config.fleet.version_table, fleet.config.limits.connections_per_host
    seen: dict[str, Fingerprint] = {}  # equal schemas are kept once: a thousand shards have a handful

    def read(shard: Shard) -> SchemaReading:
        with connect_to_read(shard) as connection:
            return read_schema(connection, table, seen)

    return ask_each(shards, read, connections_per_host=limit, failed=lambda _, error: unread(error))


def connect_to_read(shard: Shard) -> psycopg.Connection[Any]:
    """A connection that does not wait long for a migration elsewhere. Raises psycopg.Error."""
    return connect(shard.url, application_name="shardwright check", settings=_SETTINGS, connect_timeout=CONNECT_TIMEOUT)


def read_schema(connection: psycopg.Connection[Any], version_table: str, seen: dict[str, Fingerprint]) -> SchemaReading:
    """What the shard says; of equal schemas the one in `seen` is given. Raises nothing."""
    state = None
    try:
        state = read_state(connection, version_table)
        schema = fingerprint(connection)
        before, state = state, read_state(connection, version_table)
    except psycopg.Error as error:
        return unread(error, state)
    if before != state:  # else a migration under way would be told as drift of a revision
        return SchemaReading(state, _MOVED)
    major = connection.info.server_version // 10000
    return SchemaReading(state, schema=seen.setdefault(schema.digest, schema), major=major)


def unread(error: psycopg.Error, state: State | None = None) -> SchemaReading:
    """The reading of a shard that did not say its schema."""
    fault = explain(error)
    hint = fault.hint or ("shardwright shards check" if state is None else _AGAIN)
    return SchemaReading(state, Fault(fault.reason, hint, fault.sqlstate))


def compare(readings: Mapping[str, SchemaReading]) -> Schemas:
    """What differs in `readings`, whatever their order.

    Within a revision, and a major version (PostgreSQL 15 prints views in another way than 16 to 18), the schema
    with the most shards is the usual one.
    """
    alike: dict[tuple[State, int], dict[Fingerprint, list[str]]] = defaultdict(lambda: defaultdict(list))
    unread = []
    for name in sorted(readings, key=as_people_count):
        reading = readings[name]
        if reading.state is None or reading.schema is None or reading.major is None:
            fault = reading.fault or Fault("it did not say its schema")
            unread.append(Unread(name, reading.state, fault))
        else:
            alike[reading.state, reading.major][reading.schema].append(name)
    groups, drifts = [], []
    for (state, major), schemas in sorted(alike.items(), key=lambda each: each[0]):
        found = [SchemaGroup(state, major, schema, tuple(names)) for schema, names in schemas.items()]
        found.sort(key=lambda group: -len(group.shards))  # stable: the first shard's schema first among equals
        groups += found
        drifts += _drifts(found)
    return Schemas(tuple(groups), tuple(drifts), tuple(unread))


def _drifts(groups: Sequence[SchemaGroup]) -> list[Drift]:
    """What sets each group but the largest, which comes first, apart from it."""
    usual, *odd = groups
    is_even = bool(odd) and len(odd[0].shards) == len(usual.shards)
    return [Drift(each, usual, tuple(differences(each.schema, usual.schema)), is_even) for each in odd]
