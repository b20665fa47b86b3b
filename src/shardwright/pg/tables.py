"""The tables of a database as its catalogs tell them: columns, keys, references, partitions, sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from shardwright.pg.queries import load

_QUERIES: Final = load("shardwright.pg", "tables.sql")
_FINGERPRINT: Final = load("shardwright.pg", "fingerprint.sql")
_SETTINGS: Final = {"search_path": "pg_catalog, pg_temp", "quote_all_identifiers": "off", "jit": "off"}

Action: TypeAlias = Literal["no action", "restrict", "cascade", "set null", "set default"]


@dataclass(frozen=True, order=True)
class TableName:
    """Schema and name, exactly as the catalog has them."""

    schema: str
    name: str

    @property
    def identifier(self) -> sql.Identifier:
        """Quoted for SQL, with its schema."""
        return sql.Identifier(self.schema, self.name)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Column:
    """One column; `collation` only where it is not its type's own, types and expressions with their schemas.

    `equality` is the operator by which its values are the same, with its schema. `is_portable`: the binary form of a
    value means the same in every database.
    """

    name: str
    type: str
    is_not_null: bool = False
    generated: Literal["stored", "virtual"] | None = None
    identity: Literal["always", "by default"] | None = None
    default: str | None = None
    expression: str | None = None
    collation: str | None = None
    equality: str = "OPERATOR(pg_catalog.=)"
    is_portable: bool = True


@dataclass(frozen=True)
class UniqueKey:
    """A primary key, a unique constraint or a unique index; expressions are not among its columns."""

    name: str
    columns: tuple[str, ...]
    is_primary: bool = False
    is_constraint: bool = True
    is_deferrable: bool = False
    is_partial: bool = False
    has_expressions: bool = False
    nulls_are_equal: bool = False


@dataclass(frozen=True)
class ForeignKey:
    """Columns of one table that name a row of another by its columns.

    `operators` compare a referenced column (left) with its own (right), written with their schemas. One that is not
    validated, or not enforced, may have rows that break it.
    """

    name: str
    columns: tuple[str, ...]
    table: TableName
    referenced_columns: tuple[str, ...]
    operators: tuple[str, ...] = ()
    on_delete: Action = "no action"
    on_update: Action = "no action"
    is_deferrable: bool = False
    is_validated: bool = True


@dataclass(frozen=True)
class OwnedSequence:
    """A sequence that belongs to a column: serial, identity, OWNED BY."""

    name: TableName
    column: str


@dataclass(frozen=True)
class Table:
    """One table. `rows` is an estimate; `bytes` has its indexes and TOAST, and nothing of its partitions.

    `image` is a SELECT that gives its rows in a database where it is not, or not in this shape.
    """

    name: TableName
    columns: tuple[Column, ...] = ()
    uniques: tuple[UniqueKey, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    sequences: tuple[OwnedSequence, ...] = ()
    triggers: tuple[str, ...] = ()
    storage: Literal["ordinary", "partitioned", "foreign"] = "ordinary"
    partition_of: TableName | None = None
    partition_key: str | None = None
    inherits: tuple[TableName, ...] = ()
    replica_identity: Literal["default", "nothing", "full", "index"] = "default"
    has_row_security: bool = False
    forces_row_security: bool = False
    is_unlogged: bool = False
    rows: int = 0
    bytes: int = 0
    image: sql.Composable | None = field(default=None, hash=False)

    @property
    def primary_key(self) -> tuple[Column, ...]:
        """Its columns in the key's order; empty where there is none."""
        keys = (key.columns for key in self.uniques if key.is_primary)
        return tuple(self.column(name) for columns in keys for name in columns)

    @property
    def source(self) -> sql.Composable:
        """What to write after FROM: with ONLY, since tables that inherit from it have rows of their own."""
        if self.image is not None:
            return sql.SQL("({})").format(self.image)
        if self.storage == "partitioned":
            return self.name.identifier
        return sql.SQL("ONLY {}").format(self.name.identifier)

    def has(self, column: str) -> bool:
        """Whether it has a column of that name."""
        return any(each.name == column for each in self.columns)

    def column(self, name: str) -> Column:
        """The column of that name. Raises LookupError where there is none."""
        for each in self.columns:
            if each.name == name:
                return each
        raise LookupError(f"{self.name} has no column {name}")


@dataclass(frozen=True)
class Tables:
    """All tables of one database, sorted by name, and the schemas that an unqualified name is looked for in."""

    tables: tuple[Table, ...] = ()
    search_path: tuple[str, ...] = ("public",)

    @cached_property
    def by_name(self) -> Mapping[TableName, Table]:
        """Each table under its name."""
        return {table.name: table for table in self.tables}

    def shown(self, name: TableName) -> str:
        """`tasks` where the search path leads to it, else `billing.bills`."""
        found = next((schema for schema in self.search_path if TableName(schema, name.name) in self.by_name), None)
        return name.name if found == name.schema else str(name)


def read_tables(connection: psycopg.Connection[Any], version_table: str = "alembic_version") -> Tables:
    """Every ordinary and partitioned table of the user's, partitions too; none of ours, an extension's, or Alembic's.

    `version_table` is `table` or `schema.table`. Changes nothing, needs no privilege but CONNECT, waits for DDL that
    runs on a table: give the session a `lock_timeout`. Raises psycopg.Error.
    """
    with connection.transaction(force_rollback=True), connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(_QUERIES["search_path"], prepare=False).fetchone()
        search_path = tuple(found["current_schemas"]) if found else ()
        cursor.execute(_FINGERPRINT["fix_settings"], (Jsonb(_SETTINGS),), prepare=False)
        rows = cursor.execute(_QUERIES["tables"], {}, prepare=False).fetchall()
    tables = sorted((_table(row) for row in rows), key=lambda table: table.name)
    revisions = _resolved(version_table, search_path)
    return Tables(tuple(table for table in tables if table.name not in revisions), search_path)


def _resolved(version_table: str, search_path: tuple[str, ...]) -> set[TableName]:
    schema, dot, name = version_table.rpartition(".")
    return {TableName(schema, name)} if dot else {TableName(each, name) for each in search_path}


def _table(row: dict[str, Any]) -> Table:
    parents = tuple(TableName(each["schema"], each["name"]) for each in row["parents"])
    is_partition = row["is_partition"]
    return Table(
        name=TableName(row["nspname"], row["relname"]),
        columns=tuple(Column(**each) for each in row["columns"]),
        uniques=tuple(UniqueKey(**each | {"columns": tuple(each["columns"])}) for each in row["uniques"]),
        foreign_keys=tuple(_foreign_key(each) for each in row["foreign_keys"]),
        sequences=tuple(
            OwnedSequence(TableName(each["schema"], each["name"]), each["column"]) for each in row["sequences"]
        ),
        triggers=tuple(row["triggers"]),
        storage=row["storage"],
        partition_of=parents[0] if is_partition else None,
        partition_key=row["partition_key"],
        inherits=() if is_partition else parents,
        replica_identity=row["replica_identity"],
        has_row_security=row["has_row_security"],
        forces_row_security=row["forces_row_security"],
        is_unlogged=row["is_unlogged"],
        rows=row["rows"] or 0,
        bytes=row["bytes"],
    )


def _foreign_key(found: dict[str, Any]) -> ForeignKey:
    lists = {key: tuple(found[key]) for key in ("columns", "referenced_columns", "operators")}
    table = TableName(found.pop("schema"), found.pop("table"))
    return ForeignKey(**found | lists | {"table": table})
