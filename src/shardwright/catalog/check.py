"""Whether each shard is fit to be worked on: reachable, new enough, privileges, settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from shardwright.catalog import control
from shardwright.catalog.roots import find_table
from shardwright.config import FleetConfig
from shardwright.dsn import DatabaseUrl
from shardwright.pg.connect import connect
from shardwright.pg.faults import explain
from shardwright.pg.queries import load
from shardwright.shard import Shard

OLDEST_SERVER = 150000
CONTROL = "control"
_AT_ONCE = 16
# A migration may hold the tenants' table: nobody waits for it here. Text comes as text from SQL_ASCII, too.
_SETTINGS = {"lock_timeout": "2s", "statement_timeout": "10s", "client_encoding": "UTF8"}
_NAME = "shardwright check"
_queries = load(__package__)

Severity = Literal["error", "warning"]
Identity = tuple[str, str, int]


@dataclass(frozen=True)
class Finding:
    """Something about a shard that is, or may become, a problem; `cure` is SQL or a command."""

    severity: Severity
    fact: str
    cure: str = ""


@dataclass(frozen=True)
class ShardHealth:
    """What one shard says of itself; `facts` is empty where it can't be reached. `seconds` is how long it took.

    `identity` is equal for two that are one database, by whatever way they were reached.
    """

    shard: str
    facts: dict[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0
    identity: Identity | None = None

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


_INTERNAL = frozenset({"pid", "read_only_source"})


def check_shards(fleet: FleetConfig, shards: Sequence[Shard]) -> list[ShardHealth]:
    """The health of each of `shards`, in their order; every problem is named, none stops the others."""
    root = fleet.config.tenants.root if fleet.config.tenants else None
    budget = fleet.config.limits.connections_per_host
    if not shards:
        return []
    with ThreadPoolExecutor(min(_AT_ONCE, len(shards), budget), thread_name_prefix="check") as pool:
        healths = list(pool.map(lambda shard: _examine(shard, root, budget), shards))
    return _name_twins(healths, fleet, shards)


def check_control(fleet: FleetConfig) -> ShardHealth:
    """The health of the control database, under the name `control`; its schema is looked at and not made."""
    started = time.monotonic()
    try:
        with connect(fleet.control, application_name=_NAME, settings=_SETTINGS, connect_timeout=5) as connection:
            facts = _ask(connection)
            identity = _identity(connection)
            facts["schema_version"] = present = control.version(connection)
    except psycopg.Error as error:
        return ShardHealth(CONTROL, findings=(_unreachable(error),))
    findings = [finding for check in (_version, _writable) for finding in check(fleet.control, facts, 0)]
    known = control.versions()[-1].number
    if present > known:
        fact = f"its schema is at version {present}, this shardwright knows {known}"
        findings.append(Finding("error", fact, "pip install --upgrade shardwright"))
    elif not present and not facts["may_create_schemas"]:
        fact = f"role {facts['role']} may not create its schema"
        findings.append(Finding("error", fact, _grant(fleet.control, facts)))
    return ShardHealth(CONTROL, facts, tuple(findings), time.monotonic() - started, identity)


def identity_of(url: DatabaseUrl) -> Identity | None:
    """Which database `url` leads to, whatever it says; None where it can't be reached."""
    try:
        with connect(url, application_name=_NAME, settings=_SETTINGS, connect_timeout=5) as connection:
            return _identity(connection)
    except psycopg.Error:
        return None


def _examine(shard: Shard, root: str | None, budget: int) -> ShardHealth:
    started = time.monotonic()
    try:
        with connect(shard.url, application_name=_NAME, settings=_SETTINGS, connect_timeout=5) as connection:
            facts = _ask(connection)
            identity = _identity(connection)
            findings = [finding for check in _CHECKS for finding in check(shard.url, facts, budget)]
            findings += _pooler(connection, facts["pid"])
            facts["tenants"], uncounted = _count_tenants(connection, root)
    except psycopg.Error as error:
        return ShardHealth(shard.name, findings=(_unreachable(error),))
    return ShardHealth(shard.name, facts, (*findings, *uncounted), time.monotonic() - started, identity)


def _ask(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    with connection.cursor(row_factory=dict_row) as cursor:
        facts = cursor.execute(_queries["shard_facts"]).fetchone()
    assert facts is not None  # noqa: S101 a SELECT without FROM gives a row
    return dict(facts)


def _identity(connection: psycopg.Connection[Any]) -> Identity:
    row = connection.execute(_queries["identity"]).fetchone()
    assert row is not None  # noqa: S101 a SELECT without FROM gives a row
    return row[0], row[1], row[2]


def _count_tenants(connection: psycopg.Connection[Any], root: str | None) -> tuple[int | None, list[Finding]]:
    """How many tenants live there; None where there is no such table yet, or it can't be read now."""
    if root is None:
        return None, []
    try:
        table = find_table(connection, root)
        if table is None:
            return None, []
        counted = connection.execute(_queries["count_tenants"].format(table=table)).fetchone()
    except psycopg.Error as error:
        if connection.broken:
            raise
        return None, [Finding("warning", f"its tenants can't be counted: {explain(error).reason}")]
    return (counted[0] if counted else None), []


_POOLED = Finding(
    "error",
    "a connection pooler stands between: session locks and settings do not survive transaction pooling",
    "let the shard's URL name the PostgreSQL server itself",
)


def _unreachable(error: psycopg.Error) -> Finding:
    fault = explain(error)
    if "unsupported startup parameter" in fault.reason:  # PgBouncer's words for our session's settings
        return _POOLED
    return Finding("error", fault.reason, fault.hint)


def _pooler(connection: psycopg.Connection[Any], server_pid: int) -> list[Finding]:
    """A pooler tells its clients a number of its own, and not that of the server's process."""
    return [_POOLED] if connection.info.backend_pid != server_pid else []


Check = Callable[[DatabaseUrl, dict[str, Any], int], Iterator[Finding]]


def _version(url: DatabaseUrl, facts: dict[str, Any], budget: int) -> Iterator[Finding]:
    del url, budget
    if facts["version_number"] < OLDEST_SERVER:
        yield Finding("error", f"PostgreSQL {facts['version']} is older than 15", "upgrade the server")


def _writable(url: DatabaseUrl, facts: dict[str, Any], budget: int) -> Iterator[Finding]:
    del budget
    if facts["in_recovery"]:
        yield Finding("error", "it is a standby: nothing can be written", "point the URL at the primary")
    elif facts["read_only"]:
        yield Finding("error", "default_transaction_read_only is on", _make_writable(url, facts))


def _make_writable(url: DatabaseUrl, facts: dict[str, Any]) -> str:
    """Undoes the setting where it was made; elsewhere the same statement would change nothing."""
    setting, source = "default_transaction_read_only", facts["read_only_source"]
    role, database = _quoted(facts["role"]), _quoted(url.database)
    if source == "client":
        return f"take {setting} out of the URL's options"
    made_by = {
        "database": f"ALTER DATABASE {database} RESET {setting}",
        "user": f"ALTER ROLE {role} RESET {setting}",
        "database user": f"ALTER ROLE {role} IN DATABASE {database} RESET {setting}",
    }.get(source, f"ALTER SYSTEM RESET {setting}; SELECT pg_reload_conf()")
    return f"SET {setting} = off; {made_by}"  # or the session that mends it could not


def _privileges(url: DatabaseUrl, facts: dict[str, Any], budget: int) -> Iterator[Finding]:
    del budget
    role, schema = facts["role"], facts["schema"] or "public"
    if not facts["may_create_tables"]:
        cure = f"GRANT USAGE, CREATE ON SCHEMA {_quoted(schema)} TO {_quoted(role)}"
        yield Finding("error", f"role {role} may not create tables in schema {schema}", cure)
    if not facts["may_create_schemas"]:
        fact = f"role {role} may not create schemas in {url.database}: moves need it"
        yield Finding("warning", fact, _grant(url, facts))
    if facts["foreign_tables"]:
        names = ", ".join(facts["foreign_tables"])
        tables = (f"{_quoted(schema)}.{_quoted(table)}" for table in facts["foreign_tables"])
        cure = "; ".join(f"ALTER TABLE {table} OWNER TO {_quoted(role)}" for table in tables)
        yield Finding("error", f"role {role} does not own {names}: ALTER TABLE will fail", cure)


def _settings(url: DatabaseUrl, facts: dict[str, Any], budget: int) -> Iterator[Finding]:
    del url
    if facts["encoding"] != "UTF8":
        yield Finding("error", f"its encoding is {facts['encoding']}", "create it anew with ENCODING 'UTF8'")
    free = facts["max_connections"] - facts["reserved_connections"]
    if budget > free:
        fact = f"limits.connections_per_host = {budget}, but the server has {free} for all"
        yield Finding("warning", fact, "lower it, or raise max_connections")


_CHECKS: tuple[Check, ...] = (_version, _writable, _privileges, _settings)


def _grant(url: DatabaseUrl, facts: dict[str, Any]) -> str:
    return f"GRANT CREATE ON DATABASE {_quoted(url.database)} TO {_quoted(facts['role'])}"


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string()


def _name_twins(healths: list[ShardHealth], fleet: FleetConfig, shards: Sequence[Shard]) -> list[ShardHealth]:
    """Two names of one database, which the URLs did not show (localhost and 127.0.0.1, say)."""
    seen: dict[Identity, str] = {}
    if any(shard.url.database == fleet.control.database for shard in shards):  # else it can't be the same
        identity = identity_of(fleet.control)
        seen |= {identity: "the control database"} if identity else {}
    named = []
    for health in healths:
        other = seen.setdefault(health.identity, health.shard) if health.identity else health.shard
        twin = Finding("error", f"it is the same database as {other}", f"take {health.shard} out of the fleet")
        named.append(health if other == health.shard else replace(health, findings=(*health.findings, twin)))
    return named
