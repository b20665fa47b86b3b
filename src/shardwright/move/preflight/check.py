"""The preflight of a move: every check, and what they find together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import Final, Protocol, TypeVar

import psycopg

from shardwright.move.preflight.collisions import collisions
from shardwright.move.preflight.connection_room import connection_room
from shardwright.move.preflight.database_rights import database_rights
from shardwright.move.preflight.declare import Check
from shardwright.move.preflight.disk import disk
from shardwright.move.preflight.encoding import encoding
from shardwright.move.preflight.finding import SEVERITIES, Finding
from shardwright.move.preflight.foreign_partitions import foreign_partitions
from shardwright.move.preflight.generated_columns import generated_columns
from shardwright.move.preflight.ground import Ground
from shardwright.move.preflight.ignored_references import ignored_references
from shardwright.move.preflight.inheritance import inheritance
from shardwright.move.preflight.keys import keys
from shardwright.move.preflight.large_objects import large_objects
from shardwright.move.preflight.locale import locale
from shardwright.move.preflight.long_transactions import long_transactions
from shardwright.move.preflight.open_move import open_move
from shardwright.move.preflight.other_tenants import other_tenants
from shardwright.move.preflight.ownership import ownership
from shardwright.move.preflight.pooler import pooler
from shardwright.move.preflight.prepared_transactions import prepared_transactions
from shardwright.move.preflight.row_security import row_security
from shardwright.move.preflight.rows_of_nobody import rows_of_nobody
from shardwright.move.preflight.same_database import same_database
from shardwright.move.preflight.schema import schema
from shardwright.move.preflight.sequences import sequences
from shardwright.move.preflight.server_version import server_version
from shardwright.move.preflight.shared_rows import shared_rows
from shardwright.move.preflight.table_rights import table_rights
from shardwright.move.preflight.tables import tables
from shardwright.move.preflight.target_rows import target_rows
from shardwright.move.preflight.tenant import tenant
from shardwright.move.preflight.triggers import triggers
from shardwright.move.preflight.unlogged import unlogged
from shardwright.move.preflight.unvalidated import unvalidated
from shardwright.move.preflight.writable import writable
from shardwright.pg.faults import explain


class Breakable(Protocol):
    """What checks look at, through sessions that may be lost."""

    @property
    def is_broken(self) -> bool:
        """Whether nothing more can be asked."""


B = TypeVar("B", bound=Breakable)

# What is cheap and stands in the way of the rest comes first; those that read rows come last.
CHECKS: Final[tuple[Check[Ground], ...]] = (
    same_database,
    server_version,
    pooler,
    writable,
    encoding,
    locale,
    schema,
    tables,
    database_rights,
    ownership,
    table_rights,
    row_security,
    triggers,
    connection_room,
    prepared_transactions,
    long_transactions,
    open_move,
    foreign_partitions,
    unlogged,
    inheritance,
    generated_columns,
    large_objects,
    tenant,
    target_rows,
    keys,
    sequences,
    collisions,
    shared_rows,
    other_tenants,
    ignored_references,
    unvalidated,
    rows_of_nobody,
    disk,
)


def preflight(ground: Ground, allow: Collection[str] = ()) -> list[Finding]:
    """Everything that could make the move fail, errors first; reads only.

    `allow` names findings that are to be warnings instead of errors, by their `allow`. A check that a database error
    breaks off is an error itself, and the others go on.
    """
    return found_by(CHECKS, ground, allow)


def found_by(checks: Iterable[Check[B]], ground: B, allow: Collection[str] = ()) -> list[Finding]:
    """What these checks find, errors first; as `preflight`."""
    found: list[Finding] = []
    for check in checks:
        latest = list(_carried_out(check, ground))
        found += latest
        if ground.is_broken or (check.is_decisive and any(each.severity == "error" for each in latest)):
            break
    return sorted((_allowed(each, allow) for each in found), key=lambda each: SEVERITIES.index(each.severity))


def _carried_out(check: Check[B], ground: B) -> Iterator[Finding]:
    try:
        yield from check.find(ground)
    except psycopg.Error as error:
        fault = explain(error)
        yield Finding("error", check.name, f"this could not be looked at: {fault.reason}", fault.hint)


def _allowed(finding: Finding, allow: Collection[str]) -> Finding:
    return replace(finding, severity="warning") if finding.allow in allow else finding
