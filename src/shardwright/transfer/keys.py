"""The key by which the rows of a table are told apart while a tenant moves."""

from __future__ import annotations

from shardwright.pg.tables import Table, UniqueKey


def key_of(table: Table) -> UniqueKey | None:
    """The primary key, else the shortest unique key that no row can leave out; None where there is none."""
    fit = [key for key in table.uniques if key.is_primary or _tells_all_rows_apart(table, key)]
    return min(fit, key=lambda key: (not key.is_primary, len(key.columns), key.name), default=None)


def _tells_all_rows_apart(table: Table, key: UniqueKey) -> bool:
    is_plain = not (key.is_partial or key.is_deferrable or key.has_expressions)
    return is_plain and all(table.column(name).is_not_null for name in key.columns)
