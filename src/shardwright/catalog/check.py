"""Whether each shard is fit to be worked on: reachable, new enough, privileges, settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import psycopg
from psycopg.rows import dict_row

from shardwright.config import FleetConfig, Shard
from shardwright.pg.connect import connect
from shardwright.pg.faults import explain
from shardwright.pg.queries import load

OLDEST_SERVER = 150000
_AT_ONCE = 16
_queries = load(__package__)

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """Something about a shard that is, or may become, a problem; `cure` is SQL or a command."""

    severity: Severity
    fact: str
    cure: str = ""


@dataclass(frozen=True)
class ShardHealth:
    """What one shard says of itself; `facts` is empty where it can't be reached. `seconds` is how long it took."""

    shard: str
    facts: dict[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0

    @property
    def is_well(self) -> bool:
        """Whether nothing worse than a warning was found."""
        return all(finding.severity != "error" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """The health as `--json` prints it."""
        return {
            "shard": self.shard,
            "well": self.is_well,
            "seconds": round(self.seconds, 3),
            **{key: value for key, value in self.facts.items() if key not in _INTERNAL},
            "findings": [{"severity": f.severity, "fact": f.fact, "cure": f.cure} for f in self.findings],
        }


_INTERNAL = frozenset({"system", "oid", "tenants_table"})


def check_shards(fleet: FleetConfig, shards: Sequence[Shard]) -> list[ShardHealth]:
    """The health of each of `shards`, in their order; every problem is named, none stops the others."""
    root = fleet.config.tenants.root if fleet.config.tenants else None
    budget = fleet.config.limits.connections_per_host
    if not shards:
        return []
    with ThreadPoolExecutor(min(_AT_ONCE, len(shards), budget), thread_name_prefix="check") as pool:
        healths = list(pool.map(lambda shard: _examine(shard, root, budget), shards))
    return _name_twins(healths)


def _examine(shard: Shard, root: str | None, budget: int) -> ShardHealth:
    started = time.monotonic()
    try:
        with connect(shard.url, application_name="shardwright check", connect_timeout=5) as connection:
            facts = _ask(connection, root)
            pooled = connection.info.backend_pid != facts.pop("pid")
    except psycopg.Error as error:
        fault = explain(error)
        return ShardHealth(shard.name, findings=(Finding("error", fault.reason, fault.hint),))
    findings = [finding for check in _CHECKS for finding in check(shard, facts, budget)]
    if pooled:
        findings.append(_POOLED)
    return ShardHealth(shard.name, facts, tuple(findings), time.monotonic() - started)


def _ask(connection: psycopg.Connection[Any], root: str | None) -> dict[str, Any]:
    with connection.cursor(row_factory=dict_row) as cursor:
        facts = cursor.execute(_queries["shard_facts"], {"root": root}).fetchone()
        assert facts is not None  # noqa: S101 a SELECT without FROM gives a row
        facts["tenants"] = None
        if facts["tenants_table"] is not None:
            table = psycopg.sql.SQL(facts["tenants_table"])  # regclass quotes it
            counted = connection.execute(_queries["count_tenants"].format(table=table)).fetchone()
            facts["tenants"] = counted[0] if counted else None
    return dict(facts)


_POOLED = Finding(
    "error",
    "a connection pooler stands between: session locks and settings do not survive transaction pooling",
    "let the shard's URL name the PostgreSQL server itself",
)
Check = Callable[[Shard, dict[str, Any], int], Iterator[Finding]]


def _version(shard: Shard, facts: dict[str, Any], budget: int) -> Iterator[Finding]:
    del shard, budget
    if facts["version_number"] < OLDEST_SERVER:
        yield Finding("error", f"PostgreSQL {facts['version']} is older than 15", "upgrade the server")


def _writable(shard: Shard, facts: dict[str, Any], budget: int) -> Iterator[Finding]:
    del budget
    if facts["in_recovery"]:
        yield Finding("error", "it is a standby: nothing can be written", "point the URL at the primary")
    elif facts["read_only"]:
        cure = f'ALTER DATABASE "{shard.url.database}" RESET default_transaction_read_only'
        yield Finding("error", "default_transaction_read_only is on", cure)


def _privileges(shard: Shard, facts: dict[str, Any], budget: int) -> Iterator[Finding]:
    del budget
    role, database = facts["role"], shard.url.database
    if not facts["may_create_tables"]:
        schema = facts["schema"] or "public"
        cure = f'GRANT USAGE, CREATE ON SCHEMA "{schema}" TO "{role}"'
        yield Finding("error", f"role {role} may not create tables in schema {schema}", cure)
    if not facts["may_create_schemas"]:
        cure = f'GRANT CREATE ON DATABASE "{database}" TO "{role}"'
        yield Finding("warning", f"role {role} may not create schemas in {database}: moves need it", cure)
    if facts["foreign_tables"]:
        names = ", ".join(facts["foreign_tables"])
        cure = f'ALTER TABLE … OWNER TO "{role}"'
        yield Finding("error", f"role {role} does not own {names}: ALTER TABLE will fail", cure)


def _settings(shard: Shard, facts: dict[str, Any], budget: int) -> Iterator[Finding]:
    del shard
    if facts["encoding"] != "UTF8":
        yield Finding("error", f"its encoding is {facts['encoding']}", "create it anew with ENCODING 'UTF8'")
    free = facts["max_connections"] - facts["reserved_connections"]
    if budget > free:
        fact = f"limits.connections_per_host = {budget}, but the server has {free} for all"
        yield Finding("warning", fact, "lower it, or raise max_connections")


_CHECKS: tuple[Check, ...] = (_version, _writable, _privileges, _settings)


def _name_twins(healths: list[ShardHealth]) -> list[ShardHealth]:
    """Two names of one database, which the URLs did not show (localhost and 127.0.0.1, say)."""
    seen: dict[Any, str] = {}
    named = []
    for health in healths:
        other = seen.setdefault((health.facts["system"], health.facts["oid"]), health.shard) if health.facts else None
        if other not in (None, health.shard):
            twin = Finding("error", f"it is the same database as {other}", f"take {health.shard} out of the fleet")
            named.append(ShardHealth(health.shard, health.facts, (*health.findings, twin), health.seconds))
        else:
            named.append(health)
    return named
