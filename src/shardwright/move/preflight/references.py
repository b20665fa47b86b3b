"""One foreign key on the source, and its rows of which only one side is the tenant's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from psycopg import sql

from shardwright.move.preflight.ground import Ground
from shardwright.move.preflight.said import counted, listed
from shardwright.pg.tables import ForeignKey, Table
from shardwright.transfer.graph import columns_text
from shardwright.transfer.keys import key_of
from shardwright.transfer.rows import joined

_COUNTED: Final = 1_000


@dataclass(frozen=True)
class Crossing:
    """The rows that refer out of, or into, the tenant; `cure` is SQL where the reference may be null."""

    told: str
    cure: str


@dataclass(frozen=True)
class Reference:
    """A foreign key of `table` to a table of tenants."""

    ground: Ground
    table: Table
    key: ForeignKey

    def crossing(self, *, own_is_child: bool) -> Crossing | None:
        """The rows of the tenant that refer to rows of others, or else the rows of others that refer to the tenant's.

        None where there are none. What belongs to nobody is counted as another's.
        """
        query = sql.SQL("SELECT {} FROM {} AS child WHERE {} LIMIT {}").format(
            self._shown_key(), self.table.source, self._crosses(own_is_child=own_is_child), sql.Literal(_COUNTED + 1)
        )
        found = self.ground.source_side.ask(query)
        if not found:
            return None
        side = self.ground.source_side
        rows = f"{counted(len(found), 'row', _COUNTED)} of {side.shown(self.table.name)}"
        column, there = columns_text(self.key.columns), side.shown(self.key.table)
        examples = listed(row[0] for row in found)
        if own_is_child:
            told = f"{rows} of the tenant refer by {column} to another tenant's {there} ({examples})"
        else:
            told = f"{rows} that are not the tenant's refer by {column} to its {there} ({examples})"
        return Crossing(told, self._cure(own_is_child=own_is_child))

    def _crosses(self, *, own_is_child: bool) -> sql.Composed:
        """A condition on `child`."""
        child, there = self._child_is_own(), self.ground.is_of_tenant(self.key.table, "there")
        return sql.SQL("({} AND EXISTS (SELECT FROM {} AS there WHERE {} AND {}))").format(
            child if own_is_child else _is_not(child),
            self.ground.graph.catalog.by_name[self.key.table].source,
            joined(self.key, "there", "child"),
            _is_not(there) if own_is_child else there,
        )

    def _child_is_own(self) -> sql.Composable:
        placed = self.ground.graph[self.table.name]
        return self.ground.is_of_tenant(self.table.name, "child") if placed.is_of_tenants else sql.SQL("false")

    def _shown_key(self) -> sql.Composable:
        key = key_of(self.table)
        columns = key.columns if key is not None else ("ctid",)
        parts = (sql.SQL("{}::text").format(sql.Identifier("child", name)) for name in columns)
        return sql.SQL("concat_ws(' / ', {})").format(sql.SQL(", ").join(parts))

    def _cure(self, *, own_is_child: bool) -> str:
        condition = self._crosses(own_is_child=own_is_child)
        nullable = next((name for name in self.key.columns if not self.table.column(name).is_not_null), None)
        if nullable is None:
            query = sql.SQL("mend what this shows: SELECT * FROM {} AS child WHERE {}")
            return query.format(self.table.source, condition).as_string(self.ground.on_source)
        query = sql.SQL("UPDATE {} AS child SET {} = NULL WHERE {}")
        return query.format(self.table.source, sql.Identifier(nullable), condition).as_string(self.ground.on_source)


def _is_not(condition: sql.Composable) -> sql.Composable:
    return sql.SQL("({}) IS NOT TRUE").format(condition)
