"""Whose rows a transfer moves: one tenant's, or those of all tenants that are between two shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from psycopg import sql

from shardwright.pg.tables import Column

SCHEMA = "shardwright"
EVERYBODY = ""  # stands for shared rows, and for tenants that nobody has told us of yet; no tenant's id is empty


class Whose(Protocol):
    """Says of a tenant key whether its rows are meant; and whether shared ones are."""

    def has(self, key: sql.Composable, column: Column) -> sql.Composable:
        """A condition on the tenant key of a row."""

    def has_shared(self) -> sql.Composable:
        """A condition: the rows of shared tables are meant."""


@dataclass(frozen=True)
class OneTenant:
    """The rows of one tenant, by a constant."""

    tenant: str

    def has(self, key: sql.Composable, column: Column) -> sql.Composable:
        """See Whose."""
        return sql.SQL("{} {} {}").format(key, sql.SQL(column.equality), sql.Literal(self.tenant))

    def has_shared(self) -> sql.Composable:
        """See Whose."""
        return sql.SQL("false")


@dataclass(frozen=True)
class Between:
    """The rows of all tenants between `blue` and `green` in change `number` that are at one of them, by the table of
    tenants that both shards have. The mover writes that table, and nobody else goes by it."""

    number: int
    blue: str
    green: str
    at_green: bool

    def has(self, key: sql.Composable, column: Column) -> sql.Composable:
        """See Whose."""
        return sql.SQL("{} {} ANY (SELECT tenant::{} FROM {} WHERE {} AND tenant OPERATOR(pg_catalog.<>) {})").format(
            key, sql.SQL(column.equality), sql.SQL(column.type), tenants_of(self.number), self._who(),
            sql.Literal(EVERYBODY),
        )  # fmt: skip

    def has_shared(self) -> sql.Composable:
        """See Whose."""
        return sql.SQL("EXISTS (SELECT FROM {} WHERE {} AND tenant OPERATOR(pg_catalog.=) {})").format(
            tenants_of(self.number), self._who(), sql.Literal(EVERYBODY)
        )

    def _who(self) -> sql.Composable:
        is_elsewhere = sql.SQL("at_green" if self.at_green else "NOT at_green")
        return sql.SQL("blue OPERATOR(pg_catalog.=) {} AND green OPERATOR(pg_catalog.=) {} AND {}").format(
            sql.Literal(self.blue), sql.Literal(self.green), is_elsewhere
        )


def tenants_of(number: int) -> sql.Identifier:
    """The table, on each shard of change `number`, of the tenants that are between it and others."""
    return sql.Identifier(SCHEMA, f"tenants_{number}")
