"""Capture of all tenants of a shard at once: every change is noted, whoever's row it is; each tenant has his own flag.

The flag is a sequence, as in a move, and for the same reason. It is found by its name, which is made of the tenant's
id: names are looked up without the writer's snapshot, a list of tenants in a table would be read with it. Who has no
flag, since nobody has heard of him yet, goes by one flag for the rest, and so do the rows of shared tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg
from psycopg import sql

from shardwright.pg.queries import load
from shardwright.pg.tables import TableName
from shardwright.runs.kinds import StepContext
from shardwright.transfer import fence
from shardwright.transfer.graph import PlacedTable, TableGraph
from shardwright.transfer.rows import owner, rows_below
from shardwright.transfer.scope import MovedTable
from shardwright.transfer.triggers import (
    ROW_EVENTS,
    Guard,
    differ,
    function,
    is_mover,
    ledger,
    log,
    private,
    queue,
    refusal,
)
from shardwright.transfer.triggers import install as make_triggers
from shardwright.transfer.whose import EVERYBODY, SCHEMA, tenants_of

_queries = load(__package__, "everyone.sql")
AT_ONCE = 500  # objects in one transaction; each takes a place in the server's table of locks
_HINT = "shardwright bluegreen status   shows which change it is, and how far"


@dataclass(frozen=True)
class Note:
    """Where a change of a row is noted, and by which of its columns."""

    queue: sql.Identifier
    key: tuple[str, ...]


@dataclass(frozen=True)
class Watched:
    """A table of the shard, in its own graph, and where its changes are noted."""

    number: int
    placed: PlacedTable
    notes: tuple[Note, ...]

    @property
    def name(self) -> TableName:
        """Its name."""
        return self.placed.table.name


@dataclass(frozen=True)
class Watch:
    """What shard `shard` notes in change `number`. `queues` are what it gives to others, `changed` what is noted of its
    own rows beside, where these go by other keys; `lanes` the numbers of those by which it is filled."""

    number: int
    graph: TableGraph = field(repr=False)
    tables: tuple[Watched, ...] = field(repr=False)
    queues: tuple[MovedTable, ...] = field(repr=False)
    changed: tuple[MovedTable, ...] = field(default=(), repr=False)
    lanes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Tenant:
    """A tenant between two shards, as both have it written down."""

    tenant: str
    blue: str
    green: str
    at_green: bool

    @property
    def shard(self) -> str:
        """Where its writes go."""
        return self.green if self.at_green else self.blue


def register(connection: psycopg.Connection[Any], watch: Watch, *, side: str, is_open: bool, runner: int) -> None:
    """The shard knows of the change, and has its queues and functions; as they are where it had them already.

    `is_open`: tenants nobody has heard of are written here. Raises psycopg.Error. To be called under the shard's lock.
    """
    with connection.transaction():
        values = {"move": watch.number, "side": side, "runner": runner}
        if connection.execute(_queries["register"], values).fetchone() is None:
            return
        rest = fence.of_everybody(watch.number)
        connection.execute(sql.SQL(_TENANTS).format(tenants_of(watch.number)))
        fence.make(connection, rest, is_open=is_open)
        connection.execute(_refuse(watch.number))
        for lane in watch.lanes:
            connection.execute(ledger(sql.Identifier(SCHEMA, f"copied_{watch.number}_{lane}")))
        for table in watch.queues:
            connection.execute(queue(table.here, table.queue))
        for table in watch.changed:
            connection.execute(queue(table, table.changed))
        for each in watch.tables:
            connection.execute(sql.SQL("; ").join(_functions(watch, each)))


_TENANTS = """CREATE TABLE {} (
    tenant text COLLATE "C", blue text, green text, at_green boolean NOT NULL, gone_to text, epoch bigint,
    PRIMARY KEY (tenant, blue, green)
)"""


def install(connection: psycopg.Connection[Any], watch: Watch, context: StepContext, patience: timedelta) -> None:
    """Every watched table has its triggers, one table in a transaction, in the way of nobody for longer than
    `patience`. Raises Stopped."""
    new = sql.SQL("WHEN (NOT ({}))").format(is_mover(watch.number))  # not for each row of the copy
    guards = [
        Guard(
            table.placed,
            {event: _name(watch.number, table, event) for event in (*ROW_EVENTS, "truncate")},
            {"insert": new},
        )
        for table in watch.tables
    ]
    make_triggers(connection, watch.number, guards, context, patience)


def add_tenants(
    connection: psycopg.Connection[Any],
    number: int,
    tenants: Iterable[Tenant],
    *,
    is_blue: bool,
    note: Callable[[Tenant], Iterable[sql.Composed]] | None = None,
) -> None:
    """The shard has these tenants written down, each with a flag that is open where his writes go.

    Those it has already stay as they are. What `note` gives for a new one is done in the same transaction.
    """
    everyone = list(tenants)
    for start in range(0, len(everyone), AT_ONCE):
        some = everyone[start : start + AT_ONCE]
        with connection.transaction():
            query = sql.SQL("SELECT tenant, blue, green FROM {} WHERE tenant = ANY (%s)").format(tenants_of(number))
            known = set(connection.execute(query, [[each.tenant for each in some]]))
            for each in some:
                if (each.tenant, each.blue, each.green) not in known:
                    addition = [*_addition(number, each, is_blue=is_blue), *(note(each) if note else ())]
                    connection.execute(sql.SQL("; ").join(addition))


def _addition(number: int, tenant: Tenant, *, is_blue: bool) -> Iterator[sql.Composed]:
    if tenant.tenant != EVERYBODY:
        yield fence.making(fence.of_tenant(number, tenant.tenant), is_open=tenant.at_green != is_blue)
    values = (tenant.tenant, tenant.blue, tenant.green, tenant.at_green)
    yield sql.SQL("INSERT INTO {} VALUES ({})").format(tenants_of(number), sql.SQL(", ").join(map(sql.Literal, values)))


def note_all(table: MovedTable) -> sql.Composed:
    """Every row of the table's tenant is noted as changed."""
    here = table.here
    key = sql.SQL(", {}").format(here.key_of("r")) if here.key else sql.SQL("")
    return sql.SQL(
        "INSERT INTO {} SELECT pg_catalog.pg_current_xact_id(), pg_catalog.clock_timestamp(){} FROM {} AS r WHERE {}"
    ).format(table.queue, key, here.table.source, here.mine())


def place(connection: psycopg.Connection[Any], number: int, tenants: Sequence[Tenant]) -> None:
    """The shard has it written down on which side each of these is, durably."""
    connection.execute(
        sql.SQL(_PLACE).format(tenants_of(number)),
        {
            "tenants": [each.tenant for each in tenants],
            "blues": [each.blue for each in tenants],
            "greens": [each.green for each in tenants],
            "at_green": [each.at_green for each in tenants],
        },
    )


_PLACE = """UPDATE {} AS t SET at_green = n.at_green
FROM unnest(%(tenants)s::text[], %(blues)s::text[], %(greens)s::text[], %(at_green)s::boolean[])
     AS n (tenant, blue, green, at_green)
WHERE t.tenant = n.tenant AND t.blue = n.blue AND t.green = n.green AND t.at_green <> n.at_green"""


def flags(connection: psycopg.Connection[Any], number: int) -> Mapping[str, bool]:
    """Of every tenant that the shard has written down, whether it takes his writes."""
    query = sql.SQL("SELECT DISTINCT tenant, {} FROM {} WHERE tenant <> {}").format(
        fence.flag_of(number, sql.SQL("tenant")), tenants_of(number), sql.Literal(EVERYBODY)
    )
    return {tenant: value == fence.OPEN for tenant, value in connection.execute(query)}


# --- SQL of one change --------------------------------------------------------------------------


def _refuse(number: int) -> sql.Composed:
    """Tells a writer where his tenant went, as far as his snapshot sees it."""
    name = _refuse_name(number)
    body = sql.SQL(
        """
DECLARE whereabouts pg_catalog.text;
BEGIN
  SELECT pg_catalog.json_build_object('tenant', tenant, 'shard', gone_to, 'epoch', epoch)::pg_catalog.text
  INTO whereabouts FROM {tenants} WHERE tenant OPERATOR(pg_catalog.=) owner AND gone_to IS NOT NULL LIMIT 1;
  RAISE EXCEPTION USING ERRCODE = 'SW001', DETAIL = coalesce(whereabouts, ''), HINT = {hint},
    MESSAGE = CASE WHEN owner OPERATOR(pg_catalog.=) {everybody} THEN {shared}
      ELSE pg_catalog.format('tenant %L is not written on this shard', owner) END;
END
"""
    ).format(
        tenants=tenants_of(number),
        hint=sql.Literal("write to the shard that the detail names; see: shardwright tenants locate"),
        everybody=sql.Literal(EVERYBODY),
        shared=sql.Literal("shared rows are not written on this shard"),
    )
    return sql.SQL("CREATE FUNCTION {0}(owner pg_catalog.text) RETURNS void LANGUAGE plpgsql AS {1}; {2}").format(
        name, sql.Literal(body.as_string(None)), private(name, "pg_catalog.text")
    )


def _refuse_name(number: int) -> sql.Identifier:
    return sql.Identifier(SCHEMA, f"refuse_{number}")


def _name(number: int, table: Watched, event: str) -> sql.Identifier:
    return sql.Identifier(SCHEMA, f"{event}_{number}_{table.number}")


def _functions(watch: Watch, table: Watched) -> Iterator[sql.Composed]:
    way = table.placed.way
    tells_whose = list(dict.fromkeys([*filter(None, [way.key]), *(
        name for step in (*way.steps, *way.climbs) for name in step.columns
    )]))  # fmt: skip
    keys = list(dict.fromkeys(name for note in table.notes for name in note.key))
    parts: dict[str, sql.Composable] = {
        "is_mover": is_mover(watch.number),
        "owner_new": _owner(watch, table, "new"),
        "owner_old": _owner(watch, table, "old"),
        "admit": sql.SQL("IF ({}) THEN PERFORM {}(owner); END IF;").format(
            fence.shuts_out_owner(watch.number, sql.SQL("owner")), _refuse_name(watch.number)
        ),
        "log_new": sql.SQL(" ").join(log(note.queue, note.key, "new") for note in table.notes),
        "log_old": sql.SQL(" ").join(log(note.queue, note.key, "old") for note in table.notes),
        "altered": differ([*keys, *tells_whose]),
        "changed": differ(keys),
        "moved": differ(tells_whose),
        "log_below": sql.SQL(" ").join(_log_below(watch, table)),
    }
    shown = watch.graph.catalog.shown(table.name)
    refused = refusal("SW004", f"{shown} can't be truncated during a blue-green change", _HINT)
    bodies = {
        "insert": sql.SQL(_ROW).format(**parts, owner=parts["owner_new"], log=parts["log_new"]),
        "delete": sql.SQL(_ROW).format(**parts, owner=parts["owner_old"], log=parts["log_old"]),
        "update": sql.SQL(_UPDATE).format(**parts),
        "truncate": sql.SQL("BEGIN IF {} THEN RETURN NULL; END IF; {} END").format(parts["is_mover"], refused),
    }
    yield from (function(_name(watch.number, table, event), body) for event, body in bodies.items())


def _log_below(watch: Watch, table: Watched) -> Iterator[sql.Composed]:
    """The keys of rows that go to another tenant together with `new`, though nothing of themselves changes."""
    for each in watch.tables:
        if not (each.placed.is_of_tenants and table.placed.is_of_tenants):
            continue
        below = rows_below(watch.graph, each.name, table.name, "new")
        for note in each.notes if below is not None else ():
            key = sql.SQL("").join(sql.SQL(", {}").format(sql.Identifier("r", name)) for name in note.key)
            yield sql.SQL(
                "INSERT INTO {} SELECT pg_catalog.pg_current_xact_id(), pg_catalog.clock_timestamp(){} "
                "FROM {} AS r WHERE {};"
            ).format(note.queue, key, each.placed.table.source, below)


def _owner(watch: Watch, table: Watched, row: str) -> sql.Composable:
    if table.placed.kind == "shared":
        return sql.Literal(EVERYBODY)
    return owner(watch.graph, table.name, row=row)


# A row whose tenant can't be found any more is noted as well: its parent was deleted before it, by a cascade.
_ROW = """
DECLARE owner pg_catalog.text;
BEGIN
  IF {is_mover} THEN RETURN NULL; END IF;
  owner := {owner};
  IF owner IS NOT NULL THEN {admit} END IF;
  {log}
  RETURN NULL;
END
"""

_UPDATE = """
DECLARE owner pg_catalog.text;
BEGIN
  IF {is_mover} THEN RETURN NULL; END IF;
  IF {altered} THEN
    IF {moved} THEN
      owner := {owner_old};
      IF owner IS NOT NULL THEN {admit} END IF;
      {log_below}
    END IF;
    IF {changed} THEN {log_old} END IF;
  END IF;
  owner := {owner_new};
  IF owner IS NOT NULL THEN {admit} END IF;
  {log_new}
  RETURN NULL;
END
"""
