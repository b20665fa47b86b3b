"""Capture: triggers on a shard that let the tenant's writers pass or refuse them, and note the keys of changed rows.

The tenant is a constant in each trigger, since a list of moving tenants in a table would be read by a writer's old
snapshot. Everything is named with its schema, so that no search path can lead elsewhere, and none has to be set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
from psycopg import sql

from shardwright.pg.queries import load
from shardwright.pg.tables import TableName
from shardwright.runs.kinds import StepContext
from shardwright.transfer import fence
from shardwright.transfer.scope import MovedTable, Scope
from shardwright.transfer.sessions import Sessions, short_lock
from shardwright.transfer.triggers import (
    ROW_EVENTS,
    Guard,
    differ,
    function,
    insist,
    is_mover,
    ledger,
    log,
    private,
    queue,
    refusal,
)
from shardwright.transfer.triggers import install as make_triggers
from shardwright.transfer.whose import SCHEMA

_queries = load(__package__, "capture.sql")
_HINT = "shardwright move status   shows which move it is, and how far"
_AT_ONCE = 500  # each takes a place in the server's table of locks
_FIRM = timedelta(seconds=10)  # for what nobody else has any business with


def make_schema(connection: psycopg.Connection[Any]) -> None:
    """The shard has our schema and its table of transfers. To be called under the shard's lock."""
    with connection.transaction():
        connection.execute(_queries["make_schema"])


def register(
    connection: psycopg.Connection[Any],
    scope: Scope,
    *,
    side: str,
    is_open: bool,
    gone_to: str | None,
    epoch: int | None,
    runner: int,
) -> None:
    """The shard knows of the transfer, and has its fence and queues; as they are where it had them already.

    Raises psycopg.Error. To be called under the shard's lock.
    """
    with connection.transaction():
        values = {
            "move": scope.move, "side": side, "tenant": scope.tenant,
            "runner": runner, "gone_to": gone_to, "epoch": epoch,
        }  # fmt: skip
        if connection.execute(_queries["register"], values).fetchone() is None:
            return
        fence.make(connection, scope.fence, is_open=is_open)
        connection.execute(_refused(scope))
        if side == "target":
            connection.execute(ledger(scope.copied))
        for table in scope.tables:
            functions = (function(table.capture(event), body) for event, body in _bodies(scope, table))
            connection.execute(sql.SQL("; ").join((queue(table, table.queue), *functions)))


def install(
    connection: psycopg.Connection[Any], scope: Scope, side: str, context: StepContext, patience: timedelta
) -> None:
    """Every table of tenants has the transfer's triggers, one table in a transaction, in the way of nobody for longer
    than `patience`. Raises Stopped."""
    guards = [
        Guard(
            table.placed,
            {event: table.capture(event) for event in (*ROW_EVENTS, "truncate")},
            {event: _when(scope, side, table, event) for event in ROW_EVENTS},
        )
        for table in scope.tables
    ]
    make_triggers(connection, scope.move, guards, context, patience)


def remove(connection: psycopg.Connection[Any], move: int, context: StepContext, patience: timedelta) -> None:
    """Nothing of the transfer is left on the shard but its line; found by names, whatever became of the tables since.

    Raises Stopped.
    """
    triggers: dict[TableName, list[sql.Identifier]] = defaultdict(list)
    for schema, name, trigger_name in connection.execute(
        _queries["triggers"], {"prefix": _like(f"shardwright_{move}_")}
    ):
        triggers[TableName(schema, name)].append(sql.Identifier(trigger_name))
    for table, names in ((each.identifier, names) for each, names in triggers.items()):
        drop = partial(_drop_triggers, connection, table, names)
        insist(connection, context, table, patience, drop, readers=True)
    objects = connection.execute(_queries["objects"], {"pattern": f"^[a-z]+_{move}(_[0-9a-z]+)*$"}).fetchall()
    for start in range(0, len(objects), _AT_ONCE):
        with connection.transaction():
            connection.execute(short_lock(_FIRM))
            for kind, name in objects[start : start + _AT_ONCE]:
                connection.execute(sql.SQL("DROP {} {}").format(sql.SQL(kind), sql.Identifier(SCHEMA, name)))


def forget(connection: psycopg.Connection[Any], move: int) -> None:
    """The shard does not know of the transfer any more; our schema is gone with the last one.

    To be called under the shard's lock.
    """
    with connection.transaction():
        connection.execute(_queries["forget"], {"move": move})
        row = connection.execute(_queries["is_unused"]).fetchone()
        if row and row[0]:
            connection.execute(_queries["drop_schema"])


def take_away(
    connection: psycopg.Connection[Any], sessions: Sessions, context: StepContext, patience: timedelta
) -> None:
    """Nothing of the transfer is left on the shard, and nobody else at work for it; as it was where it is not known.

    To be called under the shard's lock. Raises Stopped, Superseded.
    """
    if not has_schema(connection):
        return
    if is_registered(connection, context.run):
        sessions.take_over()
    remove(connection, context.run, context, patience)
    forget(connection, context.run)


def has_schema(connection: psycopg.Connection[Any]) -> bool:
    """Whether the shard has our schema."""
    row = connection.execute(_queries["has_schema"]).fetchone()
    return bool(row and row[0])


def is_registered(connection: psycopg.Connection[Any], move: int) -> bool:
    """Whether the shard knows of the transfer."""
    if not has_schema(connection):
        return False
    return connection.execute(_queries["registered"], {"move": move}).fetchone() is not None


# --- the triggers themselves ----------------------------------------------------------------------


def _drop_triggers(connection: psycopg.Connection[Any], table: sql.Identifier, names: list[sql.Identifier]) -> None:
    for name in names:
        connection.execute(sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(name, table))


def _like(text: str) -> str:
    return text.replace("_", "\\_") + "%"


def _when(scope: Scope, side: str, table: MovedTable, event: str) -> sql.Composable:
    """When the trigger fires at all: on direct tables for the tenant alone, and not for each row of the copy.

    Every statement of everybody makes these conditions ready anew, so what can be asked in the function is asked there.
    """
    conditions = []
    if table.is_direct:
        rows = {"insert": ("new",), "update": ("old", "new"), "delete": ("old",)}[event]
        conditions.append(sql.SQL("({})").format(sql.SQL(" OR ").join(table.mine(row) for row in rows)))
    if side == "target" and event == "insert":
        conditions.append(sql.SQL("NOT ({})").format(is_mover(scope.move)))
    return sql.SQL("WHEN ({})").format(sql.SQL(" AND ").join(conditions)) if conditions else sql.SQL("")


# --- SQL of one transfer ------------------------------------------------------------------------


def _refused(scope: Scope) -> sql.Composed:
    body = sql.SQL(
        """
DECLARE whereabouts pg_catalog.text;
BEGIN
  SELECT pg_catalog.json_build_object('tenant', tenant, 'shard', gone_to, 'epoch', epoch)::pg_catalog.text
  INTO whereabouts FROM shardwright.move WHERE move OPERATOR(pg_catalog.=) {move};
  RAISE EXCEPTION USING ERRCODE = 'SW001', MESSAGE = {message}, DETAIL = coalesce(whereabouts, ''), HINT = {hint};
END
"""
    ).format(
        move=sql.Literal(scope.move),
        message=sql.Literal(f"tenant {scope.tenant!r} is not written on this shard"),
        hint=sql.Literal("write to the shard that the detail names; see: shardwright tenants locate"),
    )
    return sql.SQL("CREATE FUNCTION {0}() RETURNS void LANGUAGE plpgsql AS {1}; {2}").format(
        scope.refused, sql.Literal(body.as_string(None)), private(scope.refused)
    )


def _bodies(scope: Scope, table: MovedTable) -> Iterator[tuple[str, sql.Composed]]:
    """A function for each event, with as few expressions in its usual course as can be: in each transaction plpgsql
    makes ready anew every one that it comes to."""
    way = table.placed.way
    ways = [name for step in (*way.steps, *way.climbs) for name in step.columns]
    tells_whose = list(dict.fromkeys(ways)) or [str(way.key)]
    key = [column.name for column in table.key]
    admit = sql.SQL("IF ({}) THEN PERFORM {}(); END IF;").format(fence.shuts_out(scope.fence), scope.refused)
    parts = {
        "is_mover": is_mover(scope.move),
        "admit": admit,
        "log_new": log(table.queue, key, "new"),
        "log_old": log(table.queue, key, "old"),
        "altered": differ([*key, *tells_whose]),
        "changed": differ(key),
        "moved": differ(tells_whose),
        "whose_new": _whose(scope, table, "new"),
        "whose_old": _whose(scope, table, "old"),
        "no_change": refusal(
            "SW003",
            f"the tenant of a row of {table.shown} can't change while tenant {scope.tenant!r} is being moved",
            _HINT,
        ),
    }
    kind = _DIRECT if table.is_direct else _INDIRECT
    for event in ROW_EVENTS:
        yield event, sql.SQL(kind[event]).format(**parts)
    message = f"{table.shown} can't be truncated while tenant {scope.tenant!r} is being moved"
    yield "truncate", sql.SQL("BEGIN {} END").format(refusal("SW004", message, _HINT))


def _whose(scope: Scope, table: MovedTable, row: str) -> sql.Composed:
    """The mover's own rows are passed by as another tenant's are."""
    return sql.SQL("CASE WHEN {} THEN false ELSE {} END").format(is_mover(scope.move), table.answer(row))


_DIRECT = {
    "insert": """
BEGIN
  IF {is_mover} THEN RETURN NULL; END IF;
  {admit}
  {log_new}
  RETURN NULL;
END
""",
    "delete": """
BEGIN
  IF {is_mover} THEN RETURN NULL; END IF;
  {admit}
  {log_old}
  RETURN NULL;
END
""",
    "update": """
BEGIN
  IF {is_mover} THEN RETURN NULL; END IF;
  {admit}
  IF {altered} THEN
    IF {moved} THEN {no_change} END IF;
    IF {changed} THEN {log_old} END IF;
  END IF;
  {log_new}
  RETURN NULL;
END
""",
}

# A row whose tenant can't be found any more is noted as well: its parent was deleted before it, by a cascade. The
# mover deletes many rows, and is not to wait for a look at each; what else it writes here is little.
_INDIRECT = {
    "insert": """
DECLARE mine boolean;
BEGIN
  mine := {whose_new};
  IF NOT mine THEN RETURN NULL; END IF;
  IF mine THEN {admit} END IF;
  {log_new}
  RETURN NULL;
END
""",
    "delete": """
DECLARE mine boolean;
BEGIN
  IF {is_mover} THEN RETURN NULL; END IF;
  mine := {whose_old};
  IF NOT mine THEN RETURN NULL; END IF;
  IF mine THEN {admit} END IF;
  {log_old}
  RETURN NULL;
END
""",
    "update": """
DECLARE was boolean; mine boolean;
BEGIN
  mine := {whose_new};
  IF {altered} THEN
    IF {moved} THEN
      was := {whose_old};
      IF was AND mine IS NOT TRUE OR NOT was AND mine THEN {no_change} END IF;
    END IF;
    IF mine IS NOT FALSE AND {changed} THEN {log_old} END IF;
  END IF;
  IF NOT mine THEN RETURN NULL; END IF;
  IF mine THEN {admit} END IF;
  {log_new}
  RETURN NULL;
END
""",
}
