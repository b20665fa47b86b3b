"""What a move leaves on two shards, for tests that have no mover: fences of one tenant, which are flipped by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from shardwright.catalog import placement
from shardwright.pg.locks import CLASS

MOVE = 1
OPEN, CLOSED = 1, 2

_SCHEMA = f"""
CREATE SCHEMA shardwright;
CREATE TABLE shardwright.move
    (move int PRIMARY KEY, side text, tenant text, runner int, gone_to text, epoch bigint);
CREATE SEQUENCE shardwright.fence_{MOVE};
CREATE FUNCTION shardwright.fence_{MOVE}() RETURNS trigger LANGUAGE plpgsql AS $fence$
DECLARE
    gone shardwright.move;
BEGIN
    IF current_setting('test.mover', true) = 'yes' THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock_shared({CLASS}, {MOVE});
    IF (SELECT last_value FROM shardwright.fence_{MOVE}) = {CLOSED} THEN
        SELECT * INTO gone FROM shardwright.move WHERE move = {MOVE};
        RAISE EXCEPTION USING
            ERRCODE = 'SW001',
            MESSAGE = format('tenant %L is not written on this shard', TG_ARGV[0]),
            DETAIL = CASE WHEN gone.epoch IS NULL THEN '' ELSE json_build_object(
                'tenant', gone.tenant, 'shard', gone.gone_to, 'epoch', gone.epoch)::text END;
    END IF;
    RETURN NULL;
END
$fence$;
"""


class Fences:
    """One tenant of a fleet, whose shards `a` and `b` have the fences of a move."""

    def __init__(
        self,
        control: str,
        shards: Mapping[str, str],
        tenant: str,
        tables: Sequence[tuple[str, str]],
        *,
        deferred: bool = False,
    ) -> None:
        """`tables`: each with its tenant key, parents first. `deferred`: writers are refused at COMMIT."""
        self.control, self.shards, self.tenant, self.tables = control, shards, tenant, tables
        self._stack = ExitStack()
        self._shard = {name: self._connect(url) for name, url in shards.items()}
        self._switcher = {name: self._connect(url) for name, url in shards.items()}
        self._catalog = self._connect(control)
        for name in shards:
            self._build(name, deferred)
        shard, epoch = self.placed()
        for name in set(shards) - {shard}:
            self.close_fence(name, shard, epoch)

    def _connect(self, url: str) -> psycopg.Connection[Any]:
        return self._stack.enter_context(
            psycopg.connect(url, autocommit=True, application_name="test", options="-c test.mover=yes")
        )

    def close(self) -> None:
        self._stack.close()

    def _build(self, name: str, deferred: bool) -> None:
        connection = self._shard[name]
        connection.execute(_SCHEMA)
        connection.execute("INSERT INTO shardwright.move VALUES (%s, 'source', %s, 1)", [MOVE, self.tenant])
        kind = SQL("CONSTRAINT TRIGGER" if deferred else "TRIGGER")
        when = SQL("DEFERRABLE INITIALLY DEFERRED") if deferred else SQL("")
        for table, key in self.tables:
            for event, row in (("INSERT OR UPDATE", "new"), ("DELETE", "old")):
                trigger = SQL(
                    "CREATE {kind} {trigger} AFTER {event} ON {table} {when} FOR EACH ROW"
                    " WHEN ({row}.{key}::text = {tenant}) EXECUTE FUNCTION shardwright.{function}({tenant})"
                ).format(
                    kind=kind,
                    trigger=Identifier(f"fence_{row}"),
                    event=SQL(event),
                    table=Identifier(table),
                    when=when,
                    row=SQL(row),
                    key=Identifier(key),
                    tenant=Literal(self.tenant),
                    function=Identifier(f"fence_{MOVE}"),
                )
                connection.execute(trigger)
                always = SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}")
                connection.execute(always.format(Identifier(table), Identifier(f"fence_{row}")))

    def placed(self) -> tuple[str, int]:
        """Where the catalog has the tenant, and its epoch."""
        found = placement.find(self._catalog, "main", self.tenant)
        assert found is not None
        return found.shard, found.epoch

    def close_fence(self, name: str, gone_to: str | None, epoch: int | None) -> None:
        """Writes on that shard are refused from now on, with this word."""
        statement = "UPDATE shardwright.move SET gone_to = %s, epoch = %s"
        self._shard[name].execute(statement, [gone_to, epoch])
        self._shard[name].execute(f"SELECT setval('shardwright.fence_{MOVE}', {CLOSED})")

    def open_fence(self, name: str) -> None:
        """Writes on that shard are let pass."""
        self._shard[name].execute(f"SELECT setval('shardwright.fence_{MOVE}', {OPEN})")

    @contextmanager
    def closing(self, name: str) -> Iterator[None]:
        """The write gap on that shard: no writer is inside, and those that come wait for the end of the block."""
        with self._switcher[name].transaction():
            self._switcher[name].execute("SELECT pg_advisory_xact_lock(%s, %s)", [CLASS, MOVE])
            yield

    def carry(self, source: str, target: str) -> None:
        """The tenant's rows on the target are those of the source."""
        for table, key in reversed(self.tables):
            delete = SQL("DELETE FROM {} WHERE {}::text = %s").format(Identifier(table), Identifier(key))
            self._shard[target].execute(delete, [self.tenant])
        for table, key in self.tables:
            select = SQL("SELECT * FROM {} WHERE {}::text = %s").format(Identifier(table), Identifier(key))
            rows = self._shard[source].execute(select, [self.tenant]).fetchall()
            for row in rows:
                places = SQL(", ").join(SQL("%s") for _ in row)
                insert = SQL("INSERT INTO {} VALUES ({})").format(Identifier(table), places)
                self._shard[target].execute(insert, row)

    def switch(self, *, detail: bool = True, aborted: bool = False) -> str:
        """The tenant is on the other shard, or with `aborted` is not after all; gives where it is."""
        source, epoch = self.placed()
        target = next(name for name in self.shards if name != source)
        with self.closing(source):
            self.carry(source, target)
            self.close_fence(source, target if detail else None, epoch + 1 if detail else None)
            if not aborted:
                self.move_placement(source, target, epoch)
                self.open_fence(target)
                return target
        self.open_fence(source)  # those who waited were refused meanwhile, and pointed to the target
        return source

    def move_placement(self, source: str, target: str, epoch: int) -> None:
        """The catalog says so, from `epoch` + 1 on."""
        placement.move_placement(
            self._catalog, "main", self.tenant, source, target, expected_epoch=epoch, changed_by="test"
        )
