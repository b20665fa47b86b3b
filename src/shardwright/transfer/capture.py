"""Capture: triggers on a shard that let the tenant's writers pass or refuse them, and note the keys of changed rows.

The tenant is a constant in each trigger, since a list of moving tenants in a table would be read by a writer's old
snapshot. Everything is named with its schema, so that no search path can lead elsewhere, and none has to be set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
from psycopg import sql

from shardwright.pg import activity, retry
from shardwright.pg.queries import load
from shardwright.pg.tables import TableName
from shardwright.runs.kinds import Progress, StepContext
from shardwright.transfer import fence
from shardwright.transfer.graph import with_partitions
from shardwright.transfer.scope import SCHEMA, MovedTable, Scope
from shardwright.transfer.sessions import MARK, short_lock

_queries = load(__package__, "capture.sql")
_TELL_AFTER = 5
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
        fence.make(connection, scope, is_open=is_open)
        connection.execute(_refused(scope))
        if side == "target":
            connection.execute(sql.SQL(_COPIED).format(scope.copied))
        for table in scope.tables:
            functions = (_function(table, event, body) for event, body in _bodies(scope, table))
            connection.execute(sql.SQL("; ").join((_queue(table), *functions)))


_COPIED = """CREATE TABLE {} (
    tab integer, part bigint, rows bigint NOT NULL, bytes bigint NOT NULL, PRIMARY KEY (tab, part)
)"""


def install(
    connection: psycopg.Connection[Any], scope: Scope, side: str, context: StepContext, patience: timedelta
) -> None:
    """Every table of tenants has the transfer's triggers, one table in a transaction, in the way of nobody for longer
    than `patience`. Raises Stopped."""
    present = _installed(connection, scope)
    for done, table in enumerate(scope.tables):
        if table.name not in present:
            _insist(
                connection, context, table.name.identifier, patience, partial(_install, connection, scope, side, table)
            )
        context.report(Progress("capture", done + 1, len(scope.tables), "tables"))


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
        _insist(connection, context, table, patience, drop, readers=True)
    with connection.transaction():
        connection.execute(short_lock(_FIRM))
        for kind, name in connection.execute(_queries["objects"], {"pattern": f"^[a-z]+_{move}(_[0-9]+)?$"}).fetchall():
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


def has_schema(connection: psycopg.Connection[Any]) -> bool:
    """Whether the shard has our schema."""
    row = connection.execute(_queries["has_schema"]).fetchone()
    return bool(row and row[0])


def is_registered(connection: psycopg.Connection[Any], move: int) -> bool:
    """Whether the shard knows of the transfer."""
    if not has_schema(connection):
        return False
    return connection.execute(_queries["registered"], {"move": move}).fetchone() is not None


def trigger(scope: Scope, event: str) -> sql.Identifier:
    """The name of the transfer's trigger for `event` on each table."""
    return sql.Identifier(f"shardwright_{scope.move}_{event}")


# --- installing one table -----------------------------------------------------------------------


def _installed(connection: psycopg.Connection[Any], scope: Scope) -> set[Any]:
    values = {"trigger": f"shardwright_{scope.move}_truncate"}
    found = {tuple(row) for row in connection.execute(_queries["installed"], values)}
    return {table.name for table in scope.tables if (table.name.schema, table.name.name) in found}


def _install(connection: psycopg.Connection[Any], scope: Scope, side: str, table: MovedTable) -> None:
    connection.execute(sql.SQL("; ").join(_triggers(scope, side, table)))


def _triggers(scope: Scope, side: str, table: MovedTable) -> Iterator[sql.Composed]:
    for event in ("insert", "update", "delete"):
        name = trigger(scope, event)
        yield sql.SQL("CREATE TRIGGER {} AFTER {} ON {} FOR EACH ROW {} EXECUTE FUNCTION {}()").format(
            name, sql.SQL(event.upper()), table.name.identifier, _when(scope, side, table, event), table.capture(event)
        )
        yield _always(table.name.identifier, name)
    name = trigger(scope, "truncate")
    for each in with_partitions(table.placed):
        yield sql.SQL("CREATE TRIGGER {} BEFORE TRUNCATE ON {} FOR EACH STATEMENT EXECUTE FUNCTION {}()").format(
            name, each.name.identifier, table.capture("truncate")
        )
        yield _always(each.name.identifier, name)


def _always(table: sql.Composable, name: sql.Identifier) -> sql.Composed:
    """It fires for sessions that replicate, too."""
    return sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(table, name)


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
        conditions.append(sql.SQL("NOT ({})").format(_is_mover(scope)))
    return sql.SQL("WHEN ({})").format(sql.SQL(" AND ").join(conditions)) if conditions else sql.SQL("")


def _is_mover(scope: Scope) -> sql.Composed:
    return sql.SQL("coalesce(pg_catalog.current_setting({}, true), '') OPERATOR(pg_catalog.=) {}").format(
        sql.Literal(MARK), sql.Literal(str(scope.move))
    )


def _insist(
    connection: psycopg.Connection[Any],
    context: StepContext,
    table: sql.Identifier,
    patience: timedelta,
    act: Callable[[], None],
    *,
    readers: bool = False,
) -> None:
    """`act` is done in a transaction, tried until it gets the table's lock; who is in the way is told, with `readers`
    also somebody who only reads."""
    attempt = 0
    while True:
        context.raise_if_stopped()
        attempt += 1
        try:
            with connection.transaction():
                connection.execute(short_lock(patience))
                act()
            return
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            if attempt % _TELL_AFTER == 0:
                blocker = _in_the_way(connection, table, readers=readers)
                context.tell(f"{table.as_string(None)}: waits for its lock, try {attempt}{blocker}")
        context.rest(retry.pause(min(attempt, 3)).total_seconds())


def _in_the_way(connection: psycopg.Connection[Any], table: sql.Identifier, *, readers: bool) -> str:
    name = table.as_string(None)
    row = connection.execute(_queries["lock_holder"], {"table": name, "any": readers}).fetchone()
    return f"; in the way: {activity.Blocker.seen(name, *row)}" if row else ""


# --- SQL of one transfer ------------------------------------------------------------------------


def _queue(table: MovedTable) -> sql.Composed:
    """No unique index, or writers would wait for each other; logged, or a crash would empty it silently."""
    return sql.SQL(
        "CREATE TABLE {} AS SELECT pg_catalog.pg_current_xact_id() AS xid, pg_catalog.clock_timestamp() AS at{}{} "
        "FROM {} AS r WITH NO DATA"
    ).format(table.queue, sql.SQL(", " if table.key else ""), table.key_as_numbered("r"), table.table.source)


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
        scope.refused, sql.Literal(body.as_string(None)), _private(scope.refused)
    )


def _function(table: MovedTable, event: str, body: sql.Composed) -> sql.Composed:
    name = table.capture(event)
    return sql.SQL("CREATE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS {}; {}").format(
        name, sql.Literal(body.as_string(None)), _private(name)
    )


def _private(function: sql.Identifier) -> sql.Composed:
    return sql.SQL("REVOKE ALL ON FUNCTION {}() FROM PUBLIC").format(function)


def _bodies(scope: Scope, table: MovedTable) -> Iterator[tuple[str, sql.Composed]]:
    """A function for each event, with as few expressions in its usual course as can be: in each transaction plpgsql
    makes ready anew every one that it comes to."""
    way = table.placed.way
    ways = [name for step in (*way.steps, *way.climbs) for name in step.columns]
    tells_whose = list(dict.fromkeys(ways)) or [str(way.key)]
    key = [column.name for column in table.key]
    admit = sql.SQL("IF ({}) THEN PERFORM {}(); END IF;").format(fence.shuts_out(scope), scope.refused)
    parts = {
        "is_mover": _is_mover(scope),
        "admit": admit,
        "log_new": _log(table, "new"),
        "log_old": _log(table, "old"),
        "altered": _differ([*key, *tells_whose]),
        "changed": _differ(key),
        "moved": _differ(tells_whose),
        "whose_new": _whose(scope, table, "new"),
        "whose_old": _whose(scope, table, "old"),
        "no_change": _refusal(
            "SW003", f"the tenant of a row of {table.shown} can't change while tenant {scope.tenant!r} is being moved"
        ),
    }
    kind = _DIRECT if table.is_direct else _INDIRECT
    for event in ("insert", "update", "delete"):
        yield event, sql.SQL(kind[event]).format(**parts)
    refusal = _refusal("SW004", f"{table.shown} can't be truncated while tenant {scope.tenant!r} is being moved")
    yield "truncate", sql.SQL("BEGIN {} END").format(refusal)


def _whose(scope: Scope, table: MovedTable, row: str) -> sql.Composed:
    """The mover's own rows are passed by as another tenant's are."""
    return sql.SQL("CASE WHEN {} THEN false ELSE {} END").format(_is_mover(scope), table.whose(row))


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


def _log(table: MovedTable, row: str) -> sql.Composed:
    values = sql.SQL(", ").join(
        [
            sql.SQL("pg_catalog.pg_current_xact_id(), pg_catalog.clock_timestamp()"),
            *(sql.Identifier(row, column.name) for column in table.key),
        ]
    )
    return sql.SQL("INSERT INTO {} VALUES ({});").format(table.queue, values)


def _differ(columns: Sequence[str]) -> sql.Composable:
    """Byte by byte, so that no operator of the user's has a say in it."""
    if not columns:
        return sql.SQL("false")
    old, new = (sql.SQL(", ").join(sql.Identifier(row, name) for name in columns) for row in ("old", "new"))
    return sql.SQL("ROW({})::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW({})::pg_catalog.record").format(old, new)


def _refusal(code: str, message: str) -> sql.Composed:
    hint = "shardwright move status   shows which move it is, and how far"
    return sql.SQL("RAISE EXCEPTION USING ERRCODE = {}, MESSAGE = {}, HINT = {};").format(
        sql.Literal(code), sql.Literal(message), sql.Literal(hint)
    )
