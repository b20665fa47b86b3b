"""Two shards and a tenant that is moved between them while its rows change, for tests of what the rows are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from kit import Project, create_database, drop_databases
from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster
from shardwright.move.status import MoveStatus
from shardwright.runs.board import Board
from shardwright.transfer.copy import Copy
from shardwright.transfer.switch import Switch

# What rows look like must not depend on the session, and nothing of the product is asked for it.
_SPELLING = "-c search_path= -c TimeZone=UTC -c extra_float_digits=3 -c lc_monetary=C"
_LEFT = """SELECT to_regnamespace('shardwright')::text,
    (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'shardwright%')"""


class Pair:
    """A fleet of the shards `home` and `there`; its tenants begin at home. `role` is who moves them, else a superuser,
    as who asks and writes here always is."""

    def __init__(self, path: Path, cluster: Cluster, tenants: str, *, role: str = "postgres") -> None:
        self.cluster = cluster
        self.shards = {name: create_database(cluster) for name in ("home", "there")}
        self.project = Project(
            path,
            as_role(create_database(cluster), role),
            {name: as_role(url, role) for name, url in self.shards.items()},
            limits={"keep": '"1h"'},
            extra=f"[tenants]\n{tenants}",
        )
        self.project.write()

    def drop(self) -> None:
        """The databases are gone."""
        for url in (*self.shards.values(), self.project.control):
            drop_databases(self.cluster, [url])

    # --- asking

    def run(self, shard: str, *statements: str) -> list[tuple[Any, ...]]:
        """What the last statement gives; all are one transaction."""
        with psycopg.connect(self.shards[shard]) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def database(self, shard: str) -> str:
        """The name of a shard's database."""
        return DatabaseUrl.parse(self.shards[shard]).database

    def both(self, *statements: str) -> None:
        """The same on both shards."""
        for shard in self.shards:
            self.run(shard, *statements)

    def rows(self, shard: str, where: str = "true") -> dict[str, list[str]]:
        """All rows of each table as PostgreSQL writes them, sorted; `where` is a condition on every table."""
        found = {}
        with psycopg.connect(self.shards[shard], options=_SPELLING) as connection:
            for schema, table, columns in connection.execute(_TABLES).fetchall():
                query = sql.SQL("COPY (SELECT {} FROM ONLY {} AS r WHERE {}) TO STDOUT").format(
                    sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(schema, table), sql.SQL(where)
                )
                with connection.cursor().copy(query) as copy:
                    found[f"{schema}.{table}"] = sorted(bytes(row).decode() for row in copy)
        return {table: rows for table, rows in found.items() if rows}

    @contextmanager
    def silently(self, shard: str, tenant: str) -> Iterator[psycopg.Connection[Any]]:
        """A session whose writes no trigger notices: somebody who changes rows behind a move's back."""
        run = self.project.fleet().move_status(tenant).run.id
        options = f"-c session_replication_role=replica -c shardwright.mover={run}"
        with psycopg.connect(self.shards[shard], autocommit=True, options=options) as connection:
            yield connection

    def leaves_nothing(self) -> None:
        """Neither shard knows of a move."""
        for shard in self.shards:
            assert self.run(shard, _LEFT) == [(None, 0)], shard

    # --- moving

    def move(self, tenant: str, to: str = "there", **options: Any) -> MoveStatus:
        """The tenant is there, and the way back open."""
        status = self.project.fleet().move(tenant, to, **options)
        assert (status.run.state, status.move.phase) == ("waiting", "switched"), self.story(status.run.id)
        assert status.move.certificate is not None
        assert status.move.certificate["equal"]
        return status

    def undo(self, tenant: str) -> None:
        """The tenant is at home again."""
        status = self.project.fleet().undo_move(tenant)
        assert (status.run.state, status.move.phase) == ("cancelled", "undone"), self.story(status.run.id)

    def finish(self, tenant: str) -> None:
        """The source is cleaned."""
        status = self.project.fleet().finish_move(tenant)
        assert (status.run.state, status.move.phase) == ("finished", "kept"), self.story(status.run.id)

    def story(self, run: int) -> str:
        """What the run has told."""
        with psycopg.connect(self.project.control, autocommit=True) as connection:
            board = Board(connection, self.project.fleet().resolved.shard_set)
            return "\n".join(str(event.data) for event in board.events(run))


def as_role(url: str, role: str) -> str:
    """The same database for another role."""
    return DatabaseUrl(**{**vars(DatabaseUrl.parse(url)), "user": role}).conninfo


_TABLES = """SELECT nspname, relname, array_agg(attname::text ORDER BY attname)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
WHERE relkind = 'r' AND nspname NOT IN ('pg_catalog', 'information_schema', 'shardwright')
    AND NOT starts_with(nspname, 'pg_')
GROUP BY 1, 2"""


@contextmanager
def meanwhile(
    *,
    copied: Sequence[Callable[[], object]] = (),
    last: Sequence[Callable[[], object]] = (),
) -> Iterator[None]:
    """What is done, once, while a move is under way: after all is copied, and before the last drain."""

    def copy_then(self: Copy) -> Any:
        brought = copy(self)
        while after_copy:
            after_copy.pop(0)()
        return brought

    def settle_then(self: Switch, *arguments: Any) -> None:
        settle(self, *arguments)
        while before_last:
            before_last.pop(0)()

    after_copy, before_last = list(copied), list(last)
    copy, settle = Copy.copy, Switch._settle
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Copy, "copy", copy_then)
        patch.setattr(Switch, "_settle", settle_then)
        yield
