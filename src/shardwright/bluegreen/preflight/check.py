"""The preflight of a change: every check, and what they find together."""

from __future__ import annotations

from typing import Final

from shardwright.bluegreen.preflight.blue_alike import blue_alike
from shardwright.bluegreen.preflight.collisions import collisions
from shardwright.bluegreen.preflight.connection_room import connection_room
from shardwright.bluegreen.preflight.directory import directory
from shardwright.bluegreen.preflight.disk import disk
from shardwright.bluegreen.preflight.grants import grants
from shardwright.bluegreen.preflight.green_creation import green_creation
from shardwright.bluegreen.preflight.green_empty import green_empty
from shardwright.bluegreen.preflight.green_fit import green_fit
from shardwright.bluegreen.preflight.green_revision import green_revision
from shardwright.bluegreen.preflight.ground import Ground
from shardwright.bluegreen.preflight.keys import keys
from shardwright.bluegreen.preflight.locks import locks
from shardwright.bluegreen.preflight.open_moves import open_moves
from shardwright.bluegreen.preflight.pins import pins
from shardwright.bluegreen.preflight.rows_of_nobody import rows_of_nobody
from shardwright.bluegreen.preflight.same_database import same_database
from shardwright.bluegreen.preflight.sequences import sequences
from shardwright.bluegreen.preflight.shapes import shapes
from shardwright.bluegreen.preflight.shared_rows import shared_rows
from shardwright.bluegreen.preflight.table_rights import table_rights
from shardwright.bluegreen.preflight.tables import tables
from shardwright.bluegreen.preflight.triggers import triggers
from shardwright.move.preflight.check import found_by
from shardwright.move.preflight.database_rights import database_rights
from shardwright.move.preflight.declare import Check
from shardwright.move.preflight.encoding import encoding
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.foreign_partitions import foreign_partitions
from shardwright.move.preflight.inheritance import inheritance
from shardwright.move.preflight.large_objects import large_objects
from shardwright.move.preflight.locale import locale
from shardwright.move.preflight.long_transactions import long_transactions
from shardwright.move.preflight.ownership import ownership
from shardwright.move.preflight.pooler import pooler
from shardwright.move.preflight.prepared_transactions import prepared_transactions
from shardwright.move.preflight.row_security import row_security
from shardwright.move.preflight.server_version import server_version
from shardwright.move.preflight.unlogged import unlogged
from shardwright.move.preflight.writable import writable

# What is cheap and stands in the way of the rest comes first; those that read rows come last.
CHECKS: Final[tuple[Check[Ground], ...]] = (
    same_database,
    server_version,
    pooler,
    writable,
    encoding,
    locale,
    database_rights,
    ownership,
    table_rights,
    blue_alike,
    tables,
    row_security,
    triggers,
    connection_room,
    prepared_transactions,
    long_transactions,
    open_moves,
    foreign_partitions,
    unlogged,
    inheritance,
    large_objects,
    green_fit,
    green_empty,
    directory,
    pins,
    locks,
    rows_of_nobody,
    disk,
    green_creation,
    green_revision,
    grants,
    shapes,
    keys,
    sequences,
    shared_rows,
    collisions,
)


def preflight(ground: Ground) -> list[Finding]:
    """Everything that could make the change fail, errors first; on the shards it changes nothing.

    A check that a database error breaks off is an error itself, and the others go on.
    """
    return found_by(CHECKS, ground, ground.allow)
