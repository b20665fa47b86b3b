"""Statements that build or drop an index CONCURRENTLY, and the invalid index that a broken one leaves."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg import sql

from shardwright.pg.queries import load

_START = r"^(?:\s|--[^\n]*\n|/\*.*?\*/)*"  # a statement may have a comment before it
_CONCURRENTLY = re.compile(
    _START + r"(?:CREATE\s+(?:UNIQUE\s+)?INDEX|DROP\s+INDEX|REINDEX\b[^;]*?|REFRESH\s+MATERIALIZED\s+VIEW"
    r"|ALTER\s+TABLE\b[^;]*\bDETACH\s+PARTITION\b[^;]*?)\s+CONCURRENTLY\b",
    re.IGNORECASE | re.DOTALL,
)
_IDENTIFIER = r'(?:"(?:[^"]|"")+"|[A-Za-z_][\w$]*)'
_CREATE = re.compile(
    _START + rf"CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?(?P<index>{_IDENTIFIER})"
    rf"\s+ON\s+(?:ONLY\s+)?(?P<table>{_IDENTIFIER}(?:\.{_IDENTIFIER})?)",
    re.IGNORECASE | re.DOTALL,
)
_queries = load(__package__)


def waits_without_harm(statement: str) -> bool:
    """Whether `statement` is one of the CONCURRENTLY kind: nobody queues behind it, so it may wait for long.

    A short lock_timeout would only break it off half way and leave an invalid index.
    """
    return _CONCURRENTLY.match(statement) is not None


def index_to_be_built(statement: str) -> tuple[str, str] | None:
    """The index and the table, as the statement spells them, of a CREATE INDEX CONCURRENTLY; else None."""
    found = _CREATE.match(statement)
    return (found["index"], found["table"]) if found else None


def drop_if_invalid(connection: psycopg.Connection[Any], index: str, table: str) -> bool:
    """The invalid index of that name on `table` is gone; whether there was one. Needs autocommit.

    Names are given as SQL spells them. A valid index is left alone.
    """
    row = connection.execute(_queries["invalid_index"], {"index": _folded(index), "table": table}).fetchone()
    if row is None:
        return False
    connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(*row)))
    return True


def is_valid(connection: psycopg.Connection[Any], index: str, table: str) -> bool:
    """Whether `table` has a valid index of that name."""
    values = {"index": _folded(index), "table": table}
    return connection.execute(_queries["valid_index"], values).fetchone() is not None


def _folded(identifier: str) -> str:
    if identifier.startswith('"'):
        return identifier[1:-1].replace('""', '"')
    return identifier.lower()
