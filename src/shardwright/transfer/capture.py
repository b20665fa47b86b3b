"""Capture: triggers on a shard that let the tenant's writers pass or refuse them, and note the keys of changed rows.

The tenant is a constant in each trigger, since a list of moving tenants in a table would be read by a writer's old
snapshot. Everything is named with its schema, so that no search path can lead elsewhere, and none has to be set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
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
        start = fence.OPEN if is_open else fence.CLOSED
        connection.execute(sql.SQL("CREATE SEQUENCE {} START {}").format(scope.fence, sql.Literal(start)))
        connection.execute(_admission(scope))
        connection.execute(sql.SQL("REVOKE ALL ON FUNCTION {}() FROM PUBLIC").format(scope.admission))
        if side == "target":
            connection.execute(sql.SQL(_COPIED).format(scope.copied))
        for table in scope.tables:
            revoked = sql.SQL("REVOKE ALL ON FUNCTION {}() FROM PUBLIC").format(table.capture)
            connection.execute(sql.SQL("; ").join((_queue(table), _capture(scope, table), revoked)))


_COPIED = """CREATE TABLE {} (
    tab integer, part bigint, rows bigint NOT NULL, bytes bigint NOT NULL, PRIMARY KEY (tab, part)
)"""


def install(connection: psycopg.Connection[Any], scope: Scope, context: StepContext, patience: timedelta) -> None:
    """Every table of tenants has the transfer's triggers, one table in a transaction, in the way of nobody for longer
    than `patience`. Raises Stopped."""
    present = _installed(connection, scope)
    for done, table in enumerate(scope.tables):
        if table.name not in present:
            _insist(connection, context, table.name.identifier, patience, partial(_install, connection, scope, table))
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


def _install(connection: psycopg.Connection[Any], scope: Scope, table: MovedTable) -> None:
    connection.execute(sql.SQL("; ").join(_triggers(scope, table)))


def _triggers(scope: Scope, table: MovedTable) -> Iterator[sql.Composed]:
    for event, when in _whens(scope, table):
        name = trigger(scope, event)
        yield sql.SQL("CREATE TRIGGER {} AFTER {} ON {} FOR EACH ROW WHEN ({}) EXECUTE FUNCTION {}()").format(
            name, sql.SQL(event.upper()), table.name.identifier, when, table.capture
        )
        yield _always(table.name.identifier, name)
    name = trigger(scope, "truncate")
    for each in with_partitions(table.placed):
        yield sql.SQL("CREATE TRIGGER {} BEFORE TRUNCATE ON {} FOR EACH STATEMENT EXECUTE FUNCTION {}()").format(
            name, each.name.identifier, table.capture
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


def _whens(scope: Scope, table: MovedTable) -> Iterator[tuple[str, sql.Composable]]:
    """When each trigger fires at all: not for the mover's own writes, and on direct tables only for the tenant."""
    stranger = sql.SQL("coalesce(pg_catalog.current_setting({}, true), '') OPERATOR(pg_catalog.<>) {}").format(
        sql.Literal(MARK), sql.Literal(str(scope.move))
    )
    rows = {"insert": ("new",), "update": ("old", "new"), "delete": ("old",)}
    for event, sides in rows.items():
        if table.is_direct:
            mine = sql.SQL(" OR ").join(table.mine(side) for side in sides)
            yield event, sql.SQL("({}) AND {}").format(mine, stranger)
        else:
            yield event, stranger


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
    return f"; in the way: {activity.Blocker(name, *row)}" if row else ""


# --- SQL of one transfer ------------------------------------------------------------------------


def _queue(table: MovedTable) -> sql.Composed:
    """No unique index, or writers would wait for each other; logged, or a crash would empty it silently."""
    return sql.SQL(
        "CREATE TABLE {} AS SELECT pg_catalog.pg_current_xact_id() AS xid, pg_catalog.clock_timestamp() AS at{}{} "
        "FROM {} AS r WITH NO DATA"
    ).format(table.queue, sql.SQL(", " if table.key else ""), table.key_as_numbered("r"), table.table.source)


def _admission(scope: Scope) -> sql.Composed:
    body = sql.SQL(
        """
DECLARE whereabouts pg_catalog.text;
BEGIN
  PERFORM pg_catalog.pg_advisory_xact_lock_shared({lock_class}, {move});
  IF (SELECT last_value FROM {fence}) OPERATOR(pg_catalog.=) {open} THEN RETURN; END IF;
  SELECT pg_catalog.json_build_object('tenant', tenant, 'shard', gone_to, 'epoch', epoch)::pg_catalog.text
  INTO whereabouts FROM shardwright.move WHERE move OPERATOR(pg_catalog.=) {move};
  RAISE EXCEPTION USING ERRCODE = 'SW001', MESSAGE = {message}, DETAIL = coalesce(whereabouts, ''), HINT = {hint};
END
"""
    ).format(
        lock_class=sql.Literal(fence.LOCK_CLASS),
        move=sql.Literal(scope.move),
        fence=scope.fence,
        open=sql.Literal(fence.OPEN),
        message=sql.Literal(f"tenant {scope.tenant!r} is not written on this shard"),
        hint=sql.Literal("write to the shard that the detail names; see: shardwright tenants locate"),
    )
    return sql.SQL("CREATE FUNCTION {}() RETURNS void LANGUAGE plpgsql AS {}").format(
        scope.admission, sql.Literal(body.as_string(None))
    )


def _capture(scope: Scope, table: MovedTable) -> sql.Composed:
    steps = (*table.placed.way.steps, *table.placed.way.climbs)
    columns = list(dict.fromkeys(name for step in steps for name in step.columns)) or [str(table.placed.way.key)]
    body = sql.SQL(_DIRECT if table.is_direct else _INDIRECT).format(
        admit=scope.admission,
        log_new=_log(table, "new"),
        log_old=_log(table, "old"),
        changed=_differ(tuple(column.name for column in table.key)) if table.key else sql.SQL("false"),
        moved=_differ(tuple(columns)),
        mine_new=table.mine("new"),
        mine_old=table.mine("old"),
        known_new=table.known("new"),
        known_old=table.known("old"),
        no_truncate=_refusal("SW004", f"{table.shown} can't be truncated while tenant {scope.tenant!r} is being moved"),
        no_change=_refusal(
            "SW003", f"the tenant of a row of {table.shown} can't change while tenant {scope.tenant!r} is being moved"
        ),
    )
    return sql.SQL("CREATE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS {}").format(
        table.capture, sql.Literal(body.as_string(None))
    )


_DIRECT = """
BEGIN
  IF TG_OP OPERATOR(pg_catalog.=) 'TRUNCATE' THEN {no_truncate} END IF;
  PERFORM {admit}();
  IF TG_OP OPERATOR(pg_catalog.=) 'INSERT' THEN {log_new}
  ELSIF TG_OP OPERATOR(pg_catalog.=) 'DELETE' THEN {log_old}
  ELSE
    IF {moved} THEN {no_change} END IF;
    {log_new}
    IF {changed} THEN {log_old} END IF;
  END IF;
  RETURN NULL;
END
"""

# A row whose tenant can't be found any more is noted as well: its parent was deleted before it, by a cascade.
_INDIRECT = """
DECLARE was boolean; now_is boolean;
BEGIN
  IF TG_OP OPERATOR(pg_catalog.=) 'TRUNCATE' THEN {no_truncate} END IF;
  IF TG_OP OPERATOR(pg_catalog.=) 'INSERT' THEN
    IF {mine_new} THEN PERFORM {admit}(); {log_new}
    ELSIF NOT ({known_new}) THEN {log_new} END IF;
  ELSIF TG_OP OPERATOR(pg_catalog.=) 'DELETE' THEN
    IF {mine_old} THEN PERFORM {admit}(); {log_old}
    ELSIF NOT ({known_old}) THEN {log_old} END IF;
  ELSE
    was := {mine_old};
    now_is := was;
    IF {moved} THEN
      now_is := {mine_new};
      IF was IS DISTINCT FROM now_is AND (was OR {known_old}) THEN {no_change} END IF;
    END IF;
    IF now_is THEN PERFORM {admit}(); END IF;
    IF now_is OR NOT ({known_new}) THEN
      {log_new}
      IF {changed} THEN {log_old} END IF;
    END IF;
  END IF;
  RETURN NULL;
END
"""


def _log(table: MovedTable, row: str) -> sql.Composed:
    values = sql.SQL(", ").join(
        [
            sql.SQL("pg_catalog.pg_current_xact_id(), pg_catalog.clock_timestamp()"),
            *(sql.Identifier(row, column.name) for column in table.key),
        ]
    )
    return sql.SQL("INSERT INTO {} VALUES ({});").format(table.queue, values)


def _differ(columns: tuple[str, ...]) -> sql.Composed:
    """Byte by byte, so that no operator of the user's has a say in it."""
    old, new = (sql.SQL(", ").join(sql.Identifier(row, name) for name in columns) for row in ("old", "new"))
    return sql.SQL("ROW({})::record OPERATOR(pg_catalog.*<>) ROW({})::record").format(old, new)


def _refusal(code: str, message: str) -> sql.Composed:
    hint = "shardwright move status   shows which move it is, and how far"
    return sql.SQL("RAISE EXCEPTION USING ERRCODE = {}, MESSAGE = {}, HINT = {};").format(
        sql.Literal(code), sql.Literal(message), sql.Literal(hint)
    )
